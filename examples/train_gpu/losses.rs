use std::path::Path;

use crate::common::Failure;
use crate::output_file::OutputFile;

/// A file with a line `step,loss` for every step, counted from 1.
#[derive(Debug)]
pub(crate) struct LossFile {
    file: OutputFile,
    steps: usize,
}

impl LossFile {
    /// Opens the file for writing; what it holds stays until [`begin`](Self::begin).
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        Ok(Self {
            file: OutputFile::open(path, "losses", "--losses")?,
            steps: 0,
        })
    }

    /// The next loss is that of the step after so many; without any before it, the file is emptied.
    pub(crate) fn begin(&mut self, steps: usize) -> Result<(), Failure> {
        self.steps = steps;
        self.file.begin(steps > 0)
    }

    /// Adds the losses of the next steps, and stores them at once.
    pub(crate) fn add(&mut self, losses: &[f32]) -> Result<(), Failure> {
        let first = self.steps + 1;
        self.steps += losses.len();
        let lines = losses.iter().zip(first..);
        self.file
            .add(lines.map(|(loss, step)| format!("{step},{loss}")))
    }
}
