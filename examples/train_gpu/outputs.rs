//! The output files that the user names by options.

use std::fmt;
use std::fs::{self, File, FileType};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use wgrad::files;

use crate::common::Failure;
use crate::common::output::{END_REQUESTED, Stream, answer};

/// How long a run waits until another process opens the other end of a named pipe. A process that was started at the
/// same time as this run opens its end much sooner.
pub(crate) const OTHER_END: Duration = Duration::from_secs(10);

/// An output file. A regular file is replaced atomically: see [`files`]. A device or a pipe is written to directly.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) path: PathBuf,
    /// The kind of contents, and the option that names the file, for error messages.
    holds: &'static str,
    option: &'static str,
}

impl Output {
    /// Checks that the file can be written, but does not change it.
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
        let checked = match stream_type(path) {
            Some(stream) => check_stream(path, stream),
            None => files::check(path).map_err(|error| error.source),
        };
        checked.map_err(|error| output.failure(&error))?;
        Ok(output)
    }

    /// Replaces the contents of the file.
    pub(crate) fn write(&self, contents: Vec<u8>) -> Result<(), Failure> {
        let written = match self.stream() {
            Some(stream) => stream.and_then(|stream| stream.write(contents)),
            None => files::write(&self.path, &contents).map_err(|error| error.source),
        };
        written.map_err(|error| self.failure(&error))
    }

    /// Opens the file if it is a device or a pipe. Returns `None` otherwise.
    pub(crate) fn stream(&self) -> Option<io::Result<Stream>> {
        stream_type(&self.path).map(|_| open_stream(&self.path).and_then(Stream::new))
    }

    /// Returns the failure for an error of writing this file, with advice to the user.
    pub(crate) fn failure(&self, error: &io::Error) -> Failure {
        use io::ErrorKind::{
            Interrupted, IsADirectory, NotADirectory, NotFound, PermissionDenied,
            ReadOnlyFilesystem, WouldBlock,
        };

        match error.kind() {
            Interrupted => {
                Failure::Interrupted(format!(", while nobody read {}", self.path.display()))
            }
            IsADirectory | NotADirectory | NotFound | PermissionDenied | ReadOnlyFilesystem => {
                self.refusal(error, "name a file in an existing, writable directory")
            }
            WouldBlock => self.refusal(error, "wait for it, or name another file"),
            _ => self.refusal(error, "name another file"),
        }
    }

    /// Returns the failure for a reason in words. In the message, the option's name follows `advice`.
    pub(crate) fn refusal(&self, reason: impl fmt::Display, advice: &str) -> Failure {
        let Self {
            path,
            holds,
            option,
        } = self;
        Failure::Output(format!(
            "cannot write the {holds} to {}: {reason}; {advice} with {option}, or leave {option} out",
            path.display()
        ))
    }
}

/// Whether the path is a device, a pipe or a socket: it exists, and is neither a regular file nor a directory.
pub(crate) fn is_stream(path: &Path) -> bool {
    stream_type(path).is_some()
}

fn stream_type(path: &Path) -> Option<FileType> {
    let found = fs::metadata(path).ok()?.file_type();
    (!found.is_file() && !found.is_dir()).then_some(found)
}

/// Checks that the device or pipe can be written to, as far as possible without writing data.
fn check_stream(path: &Path, stream: FileType) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;

        if stream.is_socket() {
            let message = "it is a socket, which cannot be opened as a file";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        // Do not open the pipe: when it is closed again, its reader would see the end of the data.
        if stream.is_fifo() {
            return check_permission(path);
        }
    }
    let _ = stream;
    // Opening shows most errors. The empty write succeeds even on a device that is full, such as `/dev/full`.
    open_stream(path)?.write(&[]).map(drop)
}

#[cfg(target_os = "linux")]
fn check_permission(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(path, rustix::fs::Access::WRITE_OK)?)
}

#[cfg(all(unix, not(target_os = "linux")))]
fn check_permission(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Opens a device or a pipe. Opening a pipe blocks until another process reads from it. This function waits at most
/// [`OTHER_END`].
fn open_stream(path: &Path) -> io::Result<File> {
    let (sender, opened) = mpsc::channel();
    let path = path.to_owned();
    let open = move || sender.send(File::options().write(true).open(path));
    thread::Builder::new().spawn(open)?;
    answer(&opened, OTHER_END).unwrap_or_else(|| {
        if END_REQUESTED.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let message = format!("nobody reads from it within {} s", OTHER_END.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, message))
    })
}
