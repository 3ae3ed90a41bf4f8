use std::fs::{File, TryLockError};
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};

use crate::common::Failure;
use crate::common::output::Stream;
use crate::outputs::Output;

/// Maximum number of bytes of an invalid line that an error message shows.
const SHOWN: usize = 60;

/// The format of a file's lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    /// Description of a valid line, for error messages.
    pub(crate) expected: &'static str,
    /// Returns the step at the beginning of a line, or `None` if the line does not have this format.
    pub(crate) step_of: fn(&str) -> Option<usize>,
    /// Whether the text could be the beginning of a valid line that was not written completely.
    pub(crate) may_begin: fn(&str) -> bool,
}

/// A file of lines that each begin with the number of a step. Lines are written to the file as soon as they are added.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) output: Output,
    form: Form,
    to: Option<To>,
}

#[derive(Debug)]
enum To {
    Stream(Stream),
    File {
        file: File,
        /// Length in bytes of the valid lines of the file. The next line is written at this position.
        length: u64,
        /// The step of the last valid line.
        last: Option<usize>,
    },
}

/// Describes the existing lines of a file that this run keeps: those of the steps before the run.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    length: u64,
    /// The step of the last line that this run keeps.
    pub(crate) last: Option<usize>,
    /// The largest number of steps between two successive lines.
    pub(crate) widest: usize,
}

impl Lines {
    /// Does not open the file yet: see [`begin`](Self::begin).
    pub(crate) fn new(output: Output, form: Form) -> Self {
        Self {
            output,
            form,
            to: None,
        }
    }

    /// Opens the file for a run that starts after `taken` steps. Keeps the lines of the first `taken` steps, and
    /// returns their description; if `taken` is 0, keeps no line. Other lines come from a run that was killed. They
    /// stay in the file until the first line is added, and are then cut off.
    pub(crate) fn begin(&mut self, taken: usize) -> Result<Kept, Failure> {
        if let Some(stream) = self.output.stream() {
            let stream = stream.map_err(|error| self.output.failure(&error))?;
            self.to = Some(To::Stream(stream));
            return Ok(Kept::default());
        }
        let mut options = File::options();
        // Do not open the file for appending: on Windows, such a file cannot be truncated.
        let file = options.read(true).write(true).create(true).truncate(false);
        let file = file.open(&self.output.path);
        let file = file.map_err(|error| self.output.failure(&error))?;
        // Ignore other errors: on a file system without locks, another run that writes to the file is not detected.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            let reason = "another program is writing to it";
            return Err(self
                .output
                .refusal(reason, "wait for it, or name another file"));
        }
        let kept = match taken {
            0 => Kept::default(),
            _ => self.kept(&file, taken)?,
        };
        self.to = Some(To::File {
            file,
            length: kept.length,
            last: kept.last,
        });
        Ok(kept)
    }

    /// Adds lines, the last of which is the line of `step`, and writes them immediately. If writing fails, none of the
    /// lines stays in the file.
    pub(crate) fn add(&mut self, lines: String, step: usize) -> Result<(), Failure> {
        let written = match &mut self.to {
            Some(To::Stream(stream)) => stream.write(lines.into_bytes()),
            Some(To::File { file, length, last }) => {
                let written = file
                    .set_len(*length)
                    .and_then(|()| file.seek(SeekFrom::Start(*length)))
                    .and_then(|_| file.write_all(lines.as_bytes()));
                match written {
                    Ok(()) => {
                        *length += lines.len() as u64;
                        *last = Some(step);
                        Ok(())
                    }
                    Err(error) => file.set_len(*length).and(Err(error)),
                }
            }
            None => unreachable!("begun before the first step"),
        };
        written.map_err(|error| self.output.failure(&error))
    }

    /// The step of the last valid line in the file. `None` if there is no line, or if the output is a device or a pipe.
    pub(crate) fn last(&self) -> Option<usize> {
        match self.to {
            Some(To::File { last, .. }) => last,
            _ => None,
        }
    }

    fn kept(&self, file: &File, taken: usize) -> Result<Kept, Failure> {
        let mut lines = BufReader::new(file);
        let mut kept = Kept::default();
        let mut is_past = false;
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let read = lines.read_until(b'\n', &mut line);
            let read = read.map_err(|error| self.output.failure(&error))? as u64;
            let is_whole = line.pop_if(|end| *end == b'\n').is_some();
            line.pop_if(|end| *end == b'\r');
            let text = str::from_utf8(&line).ok();
            // The last line of a killed run may be incomplete.
            if read == 0 || !is_whole && text.is_some_and(self.form.may_begin) {
                break;
            }
            let Some(step) = text.filter(|_| is_whole).and_then(self.form.step_of) else {
                return Err(self.not_a_line(number, &line));
            };
            is_past |= step > taken;
            if !is_past {
                kept.length += read;
                let distance = kept.last.map_or(0, |last| step.saturating_sub(last));
                kept.widest = kept.widest.max(distance);
                kept.last = Some(step);
            }
        }
        Ok(kept)
    }

    fn not_a_line(&self, number: usize, line: &[u8]) -> Failure {
        let shown = String::from_utf8_lossy(&line[..line.len().min(SHOWN)]);
        let more = if line.len() > SHOWN { "…" } else { "" };
        let expected = self.form.expected;
        self.output.refusal(
            format!("line {number} of it is \"{shown}{more}\", expected {expected}"),
            "take that line out, or name another file",
        )
    }

    /// Returns the failure of a run that would leave a gap in the file: the last line has step `last`, and the first
    /// line of the run would have step `next`.
    pub(crate) fn gap(&self, last: usize, next: usize) -> Failure {
        self.output.refusal(
            format!("its last line is for step {last}, but this run starts with step {next}"),
            &format!(
                "resume a file that was saved after step {last} or before, or name another file"
            ),
        )
    }
}
