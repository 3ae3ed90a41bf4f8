use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::common::Failure;

/// A file with a line `step,loss` for every step, counted from 1.
#[derive(Debug)]
pub(crate) struct LossFile {
    path: PathBuf,
    file: BufWriter<File>,
    steps: usize,
}

impl LossFile {
    /// Opens the file for writing; what it holds stays until [`begin`](Self::begin).
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let mut options = File::options();
        let opened = options.write(true).create(true).truncate(false).open(path);
        let file = opened.map_err(|error| failure(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
            steps: 0,
        })
    }

    /// Empties the file, unless it is something like a terminal; the next loss is that of the step
    /// after so many.
    pub(crate) fn begin(&mut self, steps: usize) -> Result<(), Failure> {
        self.steps = steps;
        let file = self.file.get_ref();
        let emptied = file
            .metadata()
            .and_then(|metadata| match metadata.is_file() {
                true => file.set_len(0),
                false => Ok(()),
            });
        emptied.map_err(|error| failure(&self.path, &error))
    }

    /// Adds the losses of the next steps, and stores them at once.
    pub(crate) fn add(&mut self, losses: &[f32]) -> Result<(), Failure> {
        let written = losses.iter().try_for_each(|loss| {
            self.steps += 1;
            writeln!(self.file, "{},{loss}", self.steps)
        });
        written
            .and_then(|()| self.file.flush())
            .map_err(|error| failure(&self.path, &error))
    }
}

fn failure(path: &Path, error: &io::Error) -> Failure {
    Failure::Message(format!(
        "cannot write the losses to {}: {error}; name a file in a directory that exists and can \
         be written to with --losses, or leave it out",
        path.display()
    ))
}
