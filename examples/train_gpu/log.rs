use std::path::Path;

use serde_json::Value;
use wgrad::Evaluation;

use crate::common::Failure;
use crate::outputs::{Lines, Output};

/// What an evaluation found.
#[derive(Debug)]
pub(crate) struct Record {
    /// Steps taken before it.
    pub(crate) step: usize,
    /// Mean of the losses of the steps since the evaluation before, if there were any.
    pub(crate) loss: Option<f64>,
    pub(crate) train: Evaluation,
    pub(crate) test: Evaluation,
    /// What the steps of this run have taken so far.
    pub(crate) seconds: f64,
}

impl Record {
    /// For people.
    pub(crate) fn line(&self) -> String {
        format!(
            "step {:>7}  loss {:>7}  train accuracy {}  test accuracy {}",
            self.step,
            decimals(self.loss),
            decimals(self.train.accuracy),
            decimals(self.test.accuracy)
        )
    }

    /// For programs.
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

/// Four of them, where there is a number.
pub(crate) fn decimals(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.4}"))
}

/// JSON has neither infinity nor NaN.
fn number(value: Option<f64>) -> String {
    match value.filter(|value| value.is_finite()) {
        Some(value) => value.to_string(),
        None => "null".to_owned(),
    }
}

/// A file with a JSON object for every evaluation, one a line.
#[derive(Debug)]
pub(crate) struct LogFile {
    lines: Lines,
    /// The last step that is there.
    last: Option<usize>,
}

impl LogFile {
    /// Fails where it could not be written. What it holds stays until [`begin`](Self::begin).
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let output = Output::new(path, "log", "--log")?;
        let step_of = |line: &str| {
            let record: Value = serde_json::from_str(line).ok()?;
            usize::try_from(record.get("step")?.as_u64()?).ok()
        };
        Ok(Self {
            lines: Lines::new(output, step_of),
            last: None,
        })
    }

    /// The next evaluation is that after so many steps, or a later one: see [`Lines::begin`].
    pub(crate) fn begin(&mut self, steps: usize) -> Result<(), Failure> {
        self.last = self.lines.begin(steps)?;
        Ok(())
    }

    /// Adds a line, and stores it at once; none for the step at which a training was resumed that has one.
    pub(crate) fn add(&mut self, record: &Record) -> Result<(), Failure> {
        if self.last == Some(record.step) {
            return Ok(());
        }
        self.last = Some(record.step);
        self.lines.add([record.json()])
    }
}
