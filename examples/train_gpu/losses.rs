use std::fmt::Write as _;
use std::path::Path;

use crate::common::Failure;
use crate::lines::{Form, Lines};
use crate::outputs::Output;

const FORM: Form = Form {
    expected: "`step,loss` in numbers",
    step_of: |line| {
        let (step, loss) = line.split_once(',')?;
        loss.parse::<f32>().ok()?;
        step.parse().ok()
    },
    may_begin: |line| {
        let (step, loss) = line.split_once(',').unwrap_or((line, ""));
        let is_of_loss = |c: char| c.is_ascii_digit() || "+-.eENaInf".contains(c);
        step.bytes().all(|digit| digit.is_ascii_digit()) && loss.chars().all(is_of_loss)
    },
};

/// A file with a line `step,loss` for every step, counted from 1.
#[derive(Debug)]
pub(crate) struct LossFile {
    lines: Lines,
    steps: usize,
}

impl LossFile {
    /// Checks that the file can be written, but does not change it before the first [`add`](Self::add).
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let output = Output::new(path, "losses", "--losses")?;
        Ok(Self {
            lines: Lines::new(output, FORM),
            steps: 0,
        })
    }

    /// Opens the file for a run that starts after `steps` steps: see [`Lines::begin`]. Fails if the last line that the
    /// run keeps has a step before `steps`, because losses would be missing.
    pub(crate) fn begin(&mut self, steps: usize) -> Result<(), Failure> {
        self.steps = steps;
        match self.lines.begin(steps)?.last {
            Some(last) if last < steps => Err(self.lines.gap(last, steps + 1)),
            _ => Ok(()),
        }
    }

    /// Adds the losses of the next steps, and writes them immediately.
    pub(crate) fn add(&mut self, losses: &[f32]) -> Result<(), Failure> {
        let mut lines = String::new();
        for loss in losses {
            self.steps += 1;
            // Ignore the result, because writing to a `String` never fails.
            let _ = writeln!(lines, "{},{loss}", self.steps);
        }
        self.lines.add(lines, self.steps)
    }

    /// Returns the step of the last line, if the losses of later steps could not be written. A resumed run cannot
    /// append to such a file.
    pub(crate) fn is_behind(&self) -> Option<usize> {
        self.lines.last().filter(|&last| last < self.steps)
    }
}
