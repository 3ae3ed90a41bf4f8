use std::path::Path;

use crate::common::Failure;
use crate::outputs::{Lines, Output};

/// A file with a line `step,loss` for every step, counted from 1.
#[derive(Debug)]
pub(crate) struct LossFile {
    lines: Lines,
    steps: usize,
}

impl LossFile {
    /// Fails where it could not be written. What it holds stays until [`begin`](Self::begin).
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let output = Output::new(path, "losses", "--losses")?;
        let step_of = |line: &str| {
            let (step, loss) = line.split_once(',')?;
            loss.parse::<f32>().ok()?;
            step.parse().ok()
        };
        Ok(Self {
            lines: Lines::new(output, step_of),
            steps: 0,
        })
    }

    /// The next loss is that of the step after so many: see [`Lines::begin`].
    pub(crate) fn begin(&mut self, steps: usize) -> Result<(), Failure> {
        self.steps = steps;
        self.lines.begin(steps).map(|_| ())
    }

    /// Adds the losses of the next steps, and stores them at once.
    pub(crate) fn add(&mut self, losses: &[f32]) -> Result<(), Failure> {
        let first = self.steps + 1;
        self.steps += losses.len();
        let lines = losses.iter().zip(first..);
        self.lines
            .add(lines.map(|(loss, step)| format!("{step},{loss}")))
    }
}
