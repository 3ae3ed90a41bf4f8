use std::path::Path;

use serde_json::Value;
use wgrad::Evaluation;

use crate::common::Failure;
use crate::lines::{Form, Lines};
use crate::outputs::Output;

const BEGINNING: &str = "{\"step\":";

const FORM: Form = Form {
    expected: "a JSON object with a `step`",
    step_of: |line| {
        let record: Value = serde_json::from_str(line).ok()?;
        usize::try_from(record.get("step")?.as_u64()?).ok()
    },
    may_begin: |line| BEGINNING.starts_with(line) || line.starts_with(BEGINNING),
};

/// The result of an evaluation.
#[derive(Debug)]
pub(crate) struct Record {
    /// Steps taken before this evaluation.
    pub(crate) step: usize,
    /// Mean loss of the steps since the previous evaluation. `None` if there was no step.
    pub(crate) loss: Option<f64>,
    pub(crate) train: Evaluation,
    pub(crate) test: Evaluation,
    /// Seconds that the steps of this run have taken so far.
    pub(crate) seconds: f64,
}

impl Record {
    /// Formats the result as the line that the user sees.
    pub(crate) fn line(&self) -> String {
        format!(
            "step {:>7}  loss {:>7}  train accuracy {}  test accuracy {}",
            self.step,
            decimals(self.loss),
            decimals(self.train.accuracy),
            decimals(self.test.accuracy)
        )
    }

    /// Formats the result as a line of the log file.
    fn json(&self) -> String {
        format!(
            "{{\"step\":{},\"loss\":{},\"train_loss\":{},\"train_accuracy\":{},\"test_loss\":{},\
             \"test_accuracy\":{},\"seconds\":{}}}",
            self.step,
            number(self.loss),
            number(Some(self.train.loss)),
            number(self.train.accuracy),
            number(Some(self.test.loss)),
            number(self.test.accuracy),
            number(Some(self.seconds))
        )
    }
}

/// Formats a number with four decimals, or returns `-` for `None`.
pub(crate) fn decimals(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.4}"))
}

/// Formats a number in JSON. Returns `null` for infinity and NaN, because JSON has no such numbers.
fn number(value: Option<f64>) -> String {
    match value.filter(|value| value.is_finite()) {
        Some(value) => value.to_string(),
        None => "null".to_owned(),
    }
}

/// A file with one JSON object per line, one for every evaluation.
#[derive(Debug)]
pub(crate) struct LogFile {
    lines: Lines,
    /// The step of the last line in the file.
    last: Option<usize>,
}

impl LogFile {
    /// Checks that the file can be written, but does not change it before the first [`add`](Self::add).
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let output = Output::new(path, "log", "--log")?;
        Ok(Self {
            lines: Lines::new(output, FORM),
            last: None,
        })
    }

    /// Opens the file for a run that starts after `steps` steps and evaluates every `every` steps (0: only at the end).
    /// See [`Lines::begin`]. Fails if evaluations of earlier steps are missing. This is the case if the last line
    /// comes before the last multiple of `every` below `steps`, and the gap from that line to `steps` is also wider
    /// than every gap between two lines. A file with fewer than two lines has no such gaps and does not fail.
    pub(crate) fn begin(&mut self, steps: usize, every: usize) -> Result<(), Failure> {
        let kept = self.lines.begin(steps)?;
        self.last = kept.last;
        let due = steps.saturating_sub(1).checked_div(every);
        let due = due.map_or(0, |evaluations| evaluations * every);
        let is_missing =
            |&last: &usize| last < due && kept.widest > 0 && last + kept.widest < steps;
        match kept.last.filter(is_missing) {
            Some(last) => Err(self.lines.gap(last, steps)),
            None => Ok(()),
        }
    }

    /// Adds a line and writes it immediately. Does nothing if the file already has the line: a resumed run repeats the
    /// last evaluation of the earlier run.
    pub(crate) fn add(&mut self, record: &Record) -> Result<(), Failure> {
        if self.last == Some(record.step) {
            return Ok(());
        }
        self.last = Some(record.step);
        self.lines.add(record.json() + "\n", record.step)
    }
}
