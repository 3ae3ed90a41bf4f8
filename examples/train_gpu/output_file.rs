use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::common::Failure;

/// A file that grows line by line while a training runs, or is written at its end.
#[derive(Debug)]
pub(crate) struct OutputFile {
    path: PathBuf,
    file: BufWriter<File>,
    /// What it holds, and the option that names it, for errors.
    holds: &'static str,
    option: &'static str,
}

impl OutputFile {
    /// Opens the file for writing; what it holds stays until [`begin`](Self::begin).
    pub(crate) fn open(
        path: &Path,
        holds: &'static str,
        option: &'static str,
    ) -> Result<Self, Failure> {
        let mut options = File::options();
        let opened = options.write(true).create(true).truncate(false).open(path);
        let file = opened.map_err(|error| failure(path, holds, option, &error))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
            holds,
            option,
        })
    }

    /// Goes on at the end of the file, or else empties it, unless it is something like a terminal.
    pub(crate) fn begin(&self, goes_on: bool) -> Result<(), Failure> {
        let mut file = self.file.get_ref();
        let begun = file
            .metadata()
            .and_then(|metadata| match metadata.is_file() {
                true if goes_on => file.seek(SeekFrom::End(0)).map(|_| ()),
                true => file.set_len(0),
                false => Ok(()),
            });
        begun.map_err(|error| self.failure(&error))
    }

    /// Adds lines, and stores them at once.
    pub(crate) fn add(&mut self, lines: impl IntoIterator<Item = String>) -> Result<(), Failure> {
        let mut lines = lines.into_iter();
        let written = lines.try_for_each(|line| writeln!(self.file, "{line}"));
        self.store(written)
    }

    /// Stores these contents instead of all others.
    pub(crate) fn replace(&mut self, contents: &[u8]) -> Result<(), Failure> {
        self.begin(false)?;
        let written = self.file.write_all(contents);
        self.store(written)
    }

    fn store(&mut self, written: io::Result<()>) -> Result<(), Failure> {
        written
            .and_then(|()| self.file.flush())
            .map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &io::Error) -> Failure {
        failure(&self.path, self.holds, self.option, error)
    }
}

fn failure(path: &Path, holds: &str, option: &str, error: &io::Error) -> Failure {
    Failure::Output(format!(
        "cannot write the {holds} to {}: {error}; name a file in a directory that exists and can \
         be written to with {option}, or leave it out",
        path.display()
    ))
}
