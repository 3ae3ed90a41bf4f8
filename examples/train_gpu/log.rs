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
        let loss = match self.loss {
            None => "-".to_owned(),
            Some(loss) => format!("{loss:.4}"),
        };
        format!(
            "step {:>7}  loss {loss:>7}  train accuracy {:.4}  test accuracy {:.4}",
            self.step, self.train.accuracy, self.test.accuracy
        )
    }

    /// For programs.
    fn json(&self) -> String {
        format!(
            "{{\"step\":{},\"loss\":{},\"train_loss\":{},\"train_accuracy\":{},\"test_loss\":{},\
             \"test_accuracy\":{},\"seconds\":{}}}",
            self.step,
            number(self.loss.unwrap_or(f64::NAN)),
            number(self.train.loss),
            number(self.train.accuracy),
            number(self.test.loss),
            number(self.test.accuracy),
            number(self.seconds)
        )
    }
}

/// JSON has neither infinity nor NaN.
fn number(value: f64) -> String {
    match value.is_finite() {
        true => value.to_string(),
        false => "null".to_owned(),
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

    /// Empties the file.
    pub(crate) fn begin(&self) -> Result<(), Failure> {
        self.0.begin()
    }

    /// Adds a line, and stores it at once.
    pub(crate) fn add(&mut self, record: &Record) -> Result<(), Failure> {
        self.0.add([record.json()])
    }
}
