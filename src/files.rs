//! Writes files atomically: whenever the process ends, and for whatever reason, either the old file is there or the new
//! one.
//!
//! The new file is written beside the old one, and gets its name once it is on the disk. On Linux it has no name while
//! it is written, and a temporary name only for the instant in which it replaces another file. Elsewhere, and on file
//! systems without unnamed files, it is called `.wgrad-….tmp` while it is written. If a process was killed, the next
//! [`check`] in that directory removes what it left behind.
//!
//! A link stays a link: its target is written, whether the target exists or not. Permissions and owner stay the same. A
//! file that can be written to but not replaced is written in place (its directory is read-only, the file is a mount
//! point, or it belongs to another user). A crash during such a write can leave a mixture of both files.

mod scratch;

use std::fmt;
use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use scratch::{Old, Scratch};

/// The reason why a file cannot be written.
#[derive(thiserror::Error)]
#[non_exhaustive]
#[error("cannot write {}: {source}. {}", path.display(), remedy(source.kind()))]
pub struct FileError {
    /// The path as the caller gave it.
    pub path: PathBuf,
    /// The system's error, or what the path is instead of a regular file.
    pub source: io::Error,
}

fn remedy(error: io::ErrorKind) -> &'static str {
    match error {
        io::ErrorKind::WouldBlock => "Wait for it, or name another file",
        io::ErrorKind::InvalidInput => "Name another file",
        _ => "Name a file in a directory that exists, can be written to and has room",
    }
}

/// Prints the message, which says what to do: a `main` that returns an error prints this.
impl fmt::Debug for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The most links that are followed, as in the system.
const MOST_LINKS: usize = 40;

/// Checks that [`write()`] can write a file there, before hours of work depend on it. An existing file stays unchanged,
/// and no file is created.
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
/// [`FileError`] when the path is a directory, a device, a pipe or a socket; when the file may not be written to, or
/// another program keeps a lock on it; or when the directory of a new file does not exist or may not be written to.
pub fn check(path: impl AsRef<Path>) -> Result<(), FileError> {
    let path = path.as_ref();
    named(path, || {
        let target = Target::of(path)?;
        scratch::sweep(target.directory());
        match &target.old {
            // At worst the file is written in place.
            Some(old) => wait_for_others(&old.file),
            None => scratch::probe(target.directory()),
        }
    })
}

/// Writes a whole file, and replaces the existing one.
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
/// The errors of [`check`], except for locks; [`FileError`] also when there is no room: then the old file is still
/// there.
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

/// Whether two paths name the same file: the same path spelled in two ways, a link, or a second name of its contents.
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

/// The place where a file is to be written.
#[derive(Debug)]
struct Target {
    /// The path after following links.
    path: PathBuf,
    /// The existing file, if any.
    old: Option<Old>,
}

impl Target {
    /// The target for a path, if it is new, or a regular file that may be written to.
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
                // A file that is protected from writing should not be replaced either.
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
            // The open file may have been removed, or another file may have its name now.
            Some(old) if !self.is_named(old) => return Err(io::ErrorKind::ResourceBusy.into()),
            Some(_) => false,
        };
        if !is_written {
            let write = || Scratch::new(directory, self.old.as_ref(), bytes)?.persist(&self.path);
            match write() {
                // The temporary file was removed by another machine, which does not see our locks.
                Err(error) if error.kind() == io::ErrorKind::NotFound && directory.is_dir() => {
                    write()?;
                }
                written => written?,
            }
        }
        // Flushes the new name too; where directories cannot be opened, the system takes care of it.
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
        Ok(())
    }

    fn is_named(&self, old: &Old) -> bool {
        fs::metadata(&self.path).is_ok_and(|named| identity(&named) == identity(&old.metadata))
    }

    fn write_in_place(mut file: &File, bytes: &[u8]) -> io::Result<()> {
        // Guards against another process that does the same; some file systems have no locks.
        let _ = file.lock();
        let written = overwrite(&mut file, bytes);
        let _ = file.unlock();
        written
    }
}

fn overwrite(file: &mut &File, bytes: &[u8]) -> io::Result<()> {
    let old = file.metadata()?.len();
    let most = usize::try_from(old).unwrap_or(usize::MAX).min(bytes.len());
    // The part beyond the old length is written first: if there is no room for it, the old file is still whole.
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

/// Waits for another process that writes the file in place: that takes only a moment. A process that keeps its lock,
/// for example to append to the file, is an error.
fn wait_for_others(file: &File) -> io::Result<()> {
    for _ in 0..20 {
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(50)),
            // Some file systems have no locks.
            Err(TryLockError::Error(_)) => return Ok(()),
            Ok(()) => return file.unlock(),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::WouldBlock,
        "another program is writing to it",
    ))
}

/// Whether a file was not replaced because the process may not replace it, and not because there is no room.
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

/// The final target of a link, whether it exists or not; a file that is no link is its own target.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            Ok(to) => path = directory(&path).join(to),
            Err(_) => return Ok(path),
        }
    }
    // For a circle of links the system has its own error.
    fs::metadata(&path).map(|_| path)
}

fn directory(path: &Path) -> &Path {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// A path that is the same for all spellings of a name, even for a file that does not exist yet.
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
