//! Files that are written whole: at every moment, whatever ends the process, either the old one is there
//! or the new one.
//!
//! The new file is written beside the old, and takes its name once it is on the disk. On Linux it has no name
//! until it is whole, and one of its own for the instant in which it replaces another. Elsewhere, and on file
//! systems that have no such files, it is called `.wgrad-….tmp`. What a process that was killed has left, the
//! next [`check`] in that directory removes.
//!
//! A link stays, and what it points to is written, be it there or not. Permissions and owner stay as they
//! are. Where a file can be written to but not replaced (its directory is read-only, it is mounted by itself,
//! or it is somebody else's) it is written in place: then a crash in the middle can leave a part of both.

mod scratch;

use std::fmt;
use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use scratch::{Old, Scratch};

/// Why a file cannot be written.
#[derive(thiserror::Error)]
#[non_exhaustive]
#[error("cannot write {}: {source}. {}", path.display(), remedy(source.kind()))]
pub struct FileError {
    /// The file, as it was named.
    pub path: PathBuf,
    /// What the system says, or what it is instead of a regular file.
    pub source: io::Error,
}

fn remedy(error: io::ErrorKind) -> &'static str {
    match error {
        io::ErrorKind::WouldBlock => "Wait for it, or name another file",
        io::ErrorKind::InvalidInput => "Name another file",
        _ => "Name a file in a directory that exists, can be written to and has room",
    }
}

/// The message, which says what to do: a `main` that returns an error prints this.
impl fmt::Debug for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Links are followed at most so many times, as the system does.
const MOST_LINKS: usize = 40;

/// Whether [`write()`] can write a file there, before the hours of work that it would hold. A file that is
/// there stays as it is, and none is made.
///
/// ```
/// use wgrad::files;
///
/// let directory = tempfile::tempdir()?;
/// files::check(directory.path().join("model.safetensors"))?;
/// assert!(files::check(directory.path().join("absent/model.safetensors")).is_err());
/// assert!(files::check(directory.path()).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`FileError`] when it is a directory, a device, a pipe or a socket, may not be written to, another program
/// keeps a lock on it, or the directory in which it would be new is not there or may not be written to.
pub fn check(path: impl AsRef<Path>) -> Result<(), FileError> {
    let path = path.as_ref();
    named(path, || {
        let target = Target::of(path)?;
        scratch::sweep(target.directory());
        match &target.old {
            // At worst it is written in place.
            Some(old) => wait_for_others(&old.file),
            None => scratch::probe(target.directory()),
        }
    })
}

/// Writes a whole file, in place of the one that is there.
///
/// ```
/// use wgrad::files;
///
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("losses.csv");
/// files::write(&path, b"1,2.3026\n")?;
/// files::write(&path, b"1,2.3026\n2,2.2981\n")?;
/// assert_eq!(std::fs::read(&path)?, b"1,2.3026\n2,2.2981\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`check`], but for locks, or [`FileError`] when there is no room: the old file is still there then.
pub fn write(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), FileError> {
    let path = path.as_ref();
    named(path, || {
        let target = Target::of(path)?;
        match (target.replace(bytes), &target.old) {
            (Err(error), Some(old)) if forbids_replacing(&error) => {
                Target::write_in_place(&old.file, bytes)
            }
            (replaced, _) => replaced,
        }
    })
}

/// Whether two names are of one file: the same spelled in two ways, a link, or a second name of its contents.
///
/// ```
/// use wgrad::files;
///
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("model.safetensors");
/// let around = directory.path().join(".").join("model.safetensors");
/// assert!(files::are_same(&path, &around));
/// assert!(!files::are_same(&path, directory.path().join("losses.csv")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn are_same(one: impl AsRef<Path>, other: impl AsRef<Path>) -> bool {
    let [one, other] = [one.as_ref(), other.as_ref()].map(|path| {
        let path = follow(path).unwrap_or_else(|_| path.to_owned());
        let contents = fs::metadata(&path).ok().and_then(|old| identity(&old));
        (contents, absolute(&path))
    });
    one.1 == other.1 || one.0.is_some() && one.0 == other.0
}

fn named(path: &Path, write: impl FnOnce() -> io::Result<()>) -> Result<(), FileError> {
    write().map_err(|source| FileError {
        path: path.to_owned(),
        source,
    })
}

/// Where a file is to be written.
#[derive(Debug)]
struct Target {
    /// No link.
    path: PathBuf,
    /// The file that is there.
    old: Option<Old>,
}

impl Target {
    /// Of a file that is new, or regular and may be written to.
    fn of(path: &Path) -> io::Result<Self> {
        let ends_in_separator = path.as_os_str().as_encoded_bytes().last();
        let is_directory =
            ends_in_separator.is_some_and(|&last| std::path::is_separator(last.into()));
        if path.file_name().is_none() || is_directory {
            return Err(io::Error::new(
                io::ErrorKind::IsADirectory,
                "it is not the name of a file",
            ));
        }
        match fs::metadata(path) {
            Ok(metadata) => {
                check_regular(&metadata)?;
                // Who protects a file from writing does not want it replaced, either.
                let file = File::options().write(true).open(path)?;
                Ok(Self {
                    path: follow(path)?,
                    old: Some(Old { file, metadata }),
                })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self {
                path: follow(path)?,
                old: None,
            }),
            Err(error) => Err(error),
        }
    }

    fn directory(&self) -> &Path {
        directory(&self.path)
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let directory = self.directory();
        let is_written = match &self.old {
            None => scratch::write_new(&self.path, directory, bytes)?,
            // A file that is open here may have lost its name, or given it to another.
            Some(old) if !self.is_named(old) => return Err(io::ErrorKind::ResourceBusy.into()),
            Some(_) => false,
        };
        if !is_written {
            let write = || Scratch::new(directory, self.old.as_ref(), bytes)?.persist(&self.path);
            match write() {
                // Swept by another machine that knows nothing of our locks.
                Err(error) if error.kind() == io::ErrorKind::NotFound && directory.is_dir() => {
                    write()?;
                }
                written => written?,
            }
        }
        // The name itself; where directories cannot be opened, the system sees to it.
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
        Ok(())
    }

    fn is_named(&self, old: &Old) -> bool {
        fs::metadata(&self.path).is_ok_and(|named| identity(&named) == identity(&old.metadata))
    }

    fn write_in_place(mut file: &File, bytes: &[u8]) -> io::Result<()> {
        // Against another process that does the same; not all file systems have locks.
        let _ = file.lock();
        let written = overwrite(&mut file, bytes);
        let _ = file.unlock();
        written
    }
}

fn overwrite(file: &mut &File, bytes: &[u8]) -> io::Result<()> {
    let old = file.metadata()?.len();
    let most = usize::try_from(old).unwrap_or(usize::MAX).min(bytes.len());
    // What is longer than the old file first: should there be no room for it, that one is whole still.
    let (head, tail) = bytes.split_at(most);
    file.seek(SeekFrom::Start(most as u64))?;
    if let Err(error) = file.write_all(tail).and_then(|()| file.sync_all()) {
        let _ = file.set_len(old);
        return Err(error);
    }
    file.seek(SeekFrom::Start(0))?;
    file.write_all(head)?;
    file.set_len(bytes.len() as u64)?;
    file.sync_all()
}

/// Another process that writes such a file in place is done soon; one that keeps it, as it adds to it, is not.
fn wait_for_others(file: &File) -> io::Result<()> {
    for _ in 0..20 {
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(50)),
            // Not all file systems have locks.
            Err(TryLockError::Error(_)) => return Ok(()),
            Ok(()) => return file.unlock(),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::WouldBlock,
        "another program is writing to it",
    ))
}

/// Whether it is for want of a right, not of room, that a file was not replaced.
fn forbids_replacing(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, ReadOnlyFilesystem, ResourceBusy};
    let kinds = [
        PermissionDenied,
        ReadOnlyFilesystem,
        ResourceBusy,
        CrossesDevices,
    ];
    kinds.contains(&error.kind())
}

/// What a link points to in the end, be it there or not; of a file, itself.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            Ok(to) => path = directory(&path).join(to),
            Err(_) => return Ok(path),
        }
    }
    // A circle of links has an error of the system's own.
    fs::metadata(&path).map(|_| path)
}

fn directory(path: &Path) -> &Path {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// The same for all spellings of a name, also of a file that is not there yet.
fn absolute(path: &Path) -> PathBuf {
    let whole = fs::canonicalize(path).ok();
    let in_directory = || {
        let directory = fs::canonicalize(directory(path)).ok()?;
        Some(directory.join(path.file_name()?))
    };
    whole
        .or_else(in_directory)
        .unwrap_or_else(|| path.to_owned())
}

#[cfg(unix)]
fn identity(file: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;

    Some((file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<(u64, u64)> {
    None
}

fn check_regular(file: &Metadata) -> io::Result<()> {
    let found = match file.file_type() {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        kind => special(kind),
    };
    let message = format!("it is {found}, which cannot hold a file");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

#[cfg(unix)]
fn special(kind: fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;

    if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(not(unix))]
fn special(_: fs::FileType) -> &'static str {
    "a device"
}

#[cfg(test)]
mod tests;
