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
    /// Steps taken before it.
    pub(crate) step: usize,
    /// Mean loss of the steps since the last evaluation, if there were any.
    pub(crate) loss: Option<f64>,
    pub(crate) train: Evaluation,
    pub(crate) test: Evaluation,
    /// Seconds that the steps of this run have taken so far.
    pub(crate) seconds: f64,
}

impl Record {
    /// The line printed for the user.
    pub(crate) fn line(&self) -> String {
        format!(
            "step {:>7}  loss {:>7}  train accuracy {}  test accuracy {}",
            self.step,
            decimals(self.loss),
            decimals(self.train.accuracy),
            decimals(self.test.accuracy)
        )
    }

    /// The line of the log file.
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

/// The number with four decimals, or `-`.
pub(crate) fn decimals(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.4}"))
}

/// The number in JSON, or `null` for infinity and NaN, which JSON does not have.
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
    /// The step of the last line.
    last: Option<usize>,
}

impl LogFile {
    /// Fails if the file cannot be written. Its contents stay until the first [`add`](Self::add).
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let output = Output::new(path, "log", "--log")?;
        Ok(Self {
            lines: Lines::new(output, FORM),
            last: None,
        })
    }

    /// Prepares the file for evaluations after `steps` steps or more: see [`Lines::begin`]. Fails if earlier
    /// evaluations are missing: the file lacks the one due at the last multiple of `every` steps (0 for none), and the
    /// gap would be wider than all gaps in the file.
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

    /// Adds a line and stores it immediately. Skips an evaluation that the file already has from before a resume.
    pub(crate) fn add(&mut self, record: &Record) -> Result<(), Failure> {
        if self.last == Some(record.step) {
            return Ok(());
        }
        self.last = Some(record.step);
        self.lines.add(record.json() + "\n", record.step)
    }
}
