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
    /// Fails where it could not be written. What it holds stays until the first [`add`](Self::add).
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let output = Output::new(path, "log", "--log")?;
        Ok(Self {
            lines: Lines::new(output, FORM),
            last: None,
        })
    }

    /// The next evaluation is that after so many steps, or a later one: see [`Lines::begin`]. A file from which
    /// evaluations before are missing is not gone on with: one after every `every` steps (0 for none), and no more
    /// seldom than the others there.
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

    /// Adds a line, and stores it at once; none for the step at which a training was resumed that has one.
    pub(crate) fn add(&mut self, record: &Record) -> Result<(), Failure> {
        if self.last == Some(record.step) {
            return Ok(());
        }
        self.last = Some(record.step);
        self.lines.add(record.json() + "\n", record.step)
    }
}
