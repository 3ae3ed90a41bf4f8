//! Writes files atomically: after a crash at any time, the path names either the complete old file or the complete new
//! file.
//!
//! The new file is written to the same directory, and gets its final name when all its bytes are on the disk. On Linux,
//! the file has no name while it is written. It gets a temporary name only for the moment in which it replaces another
//! file. On other systems, and on file systems that do not support unnamed files, it is called `.wgrad-….tmp` while it
//! is written. If a process was killed, the next [`check`] in that directory removes its temporary file.
//!
//! If the path is a link, the link's target is written, whether it exists or not, and the link is kept. Permissions and
//! owner of the file are kept.
//!
//! Some files can be written to but not replaced: the directory is read-only, the file is a mount point, or it belongs
//! to another user. Such a file is overwritten in place. A crash during this write can leave a mixture of the old and
//! the new contents.

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
    /// The error of the operating system, or an error that says what the path is instead of a regular file.
    pub source: io::Error,
}

fn remedy(error: io::ErrorKind) -> &'static str {
    match error {
        io::ErrorKind::WouldBlock => "Wait for it, or name another file",
        io::ErrorKind::InvalidInput => "Name another file",
        _ => "Name a file in a directory that exists, is writable and has free space",
    }
}

/// Prints the same message as `Display`, because a `main` that returns an error prints `Debug`.
impl fmt::Debug for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The most links that are followed for one path. Linux has the same limit.
const MOST_LINKS: usize = 40;

/// Checks that [`write()`] can write a file at `path`. Call it before a long computation whose result is then written.
/// An existing file stays unchanged, and no file is created.
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
/// [`FileError`] when the path is a directory, a device, a pipe or a socket; when the process has no permission to
/// write to the file, or another program holds a lock on it; or when the directory of a new file does not exist or is
/// not writable.
pub fn check(path: impl AsRef<Path>) -> Result<(), FileError> {
    let path = path.as_ref();
    named(path, || {
        let target = Target::of(path)?;
        scratch::sweep(target.directory());
        match &target.old {
            // The file was opened for writing, so `write` can at least overwrite it in place.
            Some(old) => wait_for_others(&old.file),
            None => scratch::probe(target.directory()),
        }
    })
}

/// Writes `bytes` as the complete contents of a file, and replaces an existing file.
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
/// The errors of [`check`], except that a lock of another program is no error. [`FileError`] also when the disk is
/// full; the old file is then unchanged.
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

/// Whether two paths name the same file: different spellings of one path, a symbolic link and its target, or two hard
/// links.
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

/// The file that is to be written.
#[derive(Debug)]
struct Target {
    /// The path after following links.
    path: PathBuf,
    /// The existing file, if any.
    old: Option<Old>,
}

impl Target {
    /// Returns the file that a write to `path` would create or replace. Fails unless the path is unused, or names a
    /// regular file that can be written to.
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
                // Open the file for writing: a read-only file should not be replaced either.
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
            // Meanwhile, the open file may have been removed, or another file may have got its name.
            Some(old) if !self.is_named(old) => return Err(io::ErrorKind::ResourceBusy.into()),
            Some(_) => false,
        };
        if !is_written {
            let write = || Scratch::new(directory, self.old.as_ref(), bytes)?.persist(&self.path);
            match write() {
                // On a shared file system, another machine that does not see the lock may have removed the temporary
                // file. Try once more.
                Err(error) if error.kind() == io::ErrorKind::NotFound && directory.is_dir() => {
                    write()?;
                }
                written => written?,
            }
        }
        // Write the new name to the disk as well. On systems where directories cannot be opened, this is not necessary.
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
        Ok(())
    }

    fn is_named(&self, old: &Old) -> bool {
        fs::metadata(&self.path).is_ok_and(|named| identity(&named) == identity(&old.metadata))
    }

    fn write_in_place(mut file: &File, bytes: &[u8]) -> io::Result<()> {
        // The lock keeps out other processes that write in place. Ignore an error: some file systems have no locks.
        let _ = file.lock();
        let written = overwrite(&mut file, bytes);
        let _ = file.unlock();
        written
    }
}

fn overwrite(file: &mut &File, bytes: &[u8]) -> io::Result<()> {
    let old = file.metadata()?.len();
    let most = usize::try_from(old).unwrap_or(usize::MAX).min(bytes.len());
    // First write the part beyond the old length. If the disk is full, the old contents are still complete.
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

/// Waits up to a second for other processes that write the file in place. Fails if another process holds a lock on the
/// file for longer, for example to append to the file.
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

/// Whether the error means that the process is not allowed to replace the file. Other errors, such as a full disk, must
/// not lead to a write in place.
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

/// Follows links to the final target, whether it exists or not. Returns a path that is not a link unchanged.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            Ok(to) => path = directory(&path).join(to),
            Err(_) => return Ok(path),
        }
    }
    // There are too many links, for example in a circle. Return the system's error for this.
    fs::metadata(&path).map(|_| path)
}

fn directory(path: &Path) -> &Path {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Returns the same absolute path for all spellings of a path, even if the file does not exist yet.
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
