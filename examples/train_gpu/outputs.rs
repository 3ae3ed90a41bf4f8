//! Where options have something written.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use wgrad::files;

use crate::common::Failure;

/// For how long the reader of a pipe may keep a run waiting: one that was started beside it comes by then.
const READER: Duration = Duration::from_secs(10);

/// What is written once, and whole: see [`files`]. A device or a pipe is written to as it is.
#[derive(Debug)]
pub(crate) struct Output {
    path: PathBuf,
    /// What it holds, and the option that names it, for errors.
    holds: &'static str,
    option: &'static str,
}

impl Output {
    /// Fails where it could not be written. What is there stays.
    pub(crate) fn new(
        path: &Path,
        holds: &'static str,
        option: &'static str,
    ) -> Result<Self, Failure> {
        let output = Self {
            path: path.to_owned(),
            holds,
            option,
        };
        if !is_stream(path) {
            files::check(path).map_err(|error| output.failure(&error.source))?;
        }
        Ok(output)
    }

    /// Stores these contents instead of all others.
    pub(crate) fn write(&self, contents: &[u8]) -> Result<(), Failure> {
        let written = if is_stream(&self.path) {
            open_stream(&self.path).and_then(|mut stream| stream.write_all(contents))
        } else {
            files::write(&self.path, contents).map_err(|error| error.source)
        };
        written.map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &io::Error) -> Failure {
        let Self {
            path,
            holds,
            option,
        } = self;
        Failure::Output(format!(
            "cannot write the {holds} to {}: {error}; name a file in a directory that exists and can \
             be written to with {option}, or leave it out",
            path.display()
        ))
    }
}

/// Lines that begin with a step, and are stored as they come.
#[derive(Debug)]
pub(crate) struct Lines {
    output: Output,
    /// The step of a line, if it is one.
    step_of: fn(&str) -> Option<usize>,
    file: Option<BufWriter<File>>,
}

impl Lines {
    /// Fails where they could not be written. What is there stays until [`begin`](Self::begin).
    pub(crate) fn new(output: Output, step_of: fn(&str) -> Option<usize>) -> Self {
        Self {
            output,
            step_of,
            file: None,
        }
    }

    /// Goes on behind the lines of the first `taken` steps, and cuts off what a run that was killed has
    /// written behind them; returns the last step that is there. Without any steps, the file is emptied.
    pub(crate) fn begin(&mut self, taken: usize) -> Result<Option<usize>, Failure> {
        let path = &self.output.path;
        if is_stream(path) {
            let stream = open_stream(path).map_err(|error| self.output.failure(&error))?;
            self.file = Some(BufWriter::new(stream));
            return Ok(None);
        }
        let begun = self.cut(taken);
        let (file, last) = begun.map_err(|error| self.output.failure(&error))?;
        self.file = Some(BufWriter::new(file));
        Ok(last)
    }

    fn cut(&self, taken: usize) -> io::Result<(File, Option<usize>)> {
        let mut options = File::options();
        let file = options.read(true).append(true).create(true);
        let file = file.open(&self.output.path)?;
        // A file system without locks has no other run to tell of.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(io::Error::other("another run is writing to it"));
        }
        let (length, last) = match taken {
            0 => (0, None),
            _ => kept(&file, taken, self.step_of)?,
        };
        file.set_len(length)?;
        Ok((file, last))
    }

    /// Adds lines, and stores them at once.
    pub(crate) fn add(&mut self, lines: impl IntoIterator<Item = String>) -> Result<(), Failure> {
        let Some(file) = &mut self.file else {
            unreachable!("begun before the first step");
        };
        let mut lines = lines.into_iter();
        let written = lines.try_for_each(|line| writeln!(file, "{line}"));
        written
            .and_then(|()| file.flush())
            .map_err(|error| self.output.failure(&error))
    }
}

/// Length of the lines of the first `taken` steps, and the last of those steps.
fn kept(
    file: &File,
    taken: usize,
    step_of: fn(&str) -> Option<usize>,
) -> io::Result<(u64, Option<usize>)> {
    let mut lines = BufReader::new(file);
    let (mut length, mut last, mut is_past) = (0, None, false);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = lines.read_until(b'\n', &mut line)?;
        let is_whole = line.pop_if(|end| *end == b'\n').is_some();
        // Only behind other lines can one have been cut off.
        if read == 0 || !is_whole && number > 1 {
            break;
        }
        let step = str::from_utf8(&line)
            .ok()
            .and_then(step_of)
            .filter(|_| is_whole);
        let Some(step) = step else {
            let message =
                format!("its line {number} was not written by a run that can go on there");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        };
        is_past |= step > taken;
        if !is_past {
            length += read as u64;
            last = Some(step);
        }
    }
    Ok((length, last))
}

/// Whether it is there, and no regular file.
pub(crate) fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// A pipe opens once somebody reads from it.
fn open_stream(path: &Path) -> io::Result<File> {
    let (sender, opened) = mpsc::channel();
    let path = path.to_owned();
    thread::spawn(move || sender.send(File::options().write(true).open(path)));
    opened.recv_timeout(READER).unwrap_or_else(|_| {
        let message = format!("nobody reads from it within {} s", READER.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, message))
    })
}
