use std::path::Path;

use wgrad::Evaluation;

use crate::common::Failure;
use crate::output_file::OutputFile;

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
pub(crate) struct LogFile(OutputFile);

impl LogFile {
    /// Opens the file for writing; what it holds stays until [`begin`](Self::begin).
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        Ok(Self(OutputFile::open(path, "log", "--log")?))
    }

    /// Goes on at the end of the file, or else empties it.
    pub(crate) fn begin(&self, goes_on: bool) -> Result<(), Failure> {
        self.0.begin(goes_on)
    }

    /// Adds a line, and stores it at once.
    pub(crate) fn add(&mut self, record: &Record) -> Result<(), Failure> {
        self.0.add([record.json()])
    }
}
