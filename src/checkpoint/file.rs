use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::CheckpointError;

/// Writes a file so that at every moment, whatever ends the process, either the whole old one or the
/// whole new one is there under its name.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    // A link stays, and what it points to is replaced.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    write_beside(&real, bytes).map_err(|error| not_written(path, &error))
}

/// Whether a checkpoint can be written to `path`, before the hours of training that it would hold; a
/// file that is there stays as it is.
///
/// ```
/// use wgrad::checkpoint;
///
/// let directory = tempfile::tempdir()?;
/// checkpoint::check_path(directory.path().join("model.safetensors"))?;
/// assert!(checkpoint::check_path(directory.path().join("absent/model.safetensors")).is_err());
/// assert!(checkpoint::check_path(directory.path()).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`CheckpointError::File`] when it cannot.
pub fn check_path(path: impl AsRef<Path>) -> Result<(), CheckpointError> {
    let path = path.as_ref();
    make_beside(path).map_err(|error| not_written(path, &error))
}

/// Makes a file beside `path`, as [`write_beside`] does, and removes it.
fn make_beside(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let beside = beside(path);
    File::create(&beside)?;
    fs::remove_file(&beside)
}

fn not_written(path: &Path, error: &io::Error) -> CheckpointError {
    CheckpointError::File {
        doing: "write",
        path: path.to_owned(),
        reason: error.to_string(),
        remedy: "Name a file in a directory that exists, can be written to and has room",
    }
}

fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = beside(path);
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        // Or the name might reach the disk before the bytes.
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&beside, path)) {
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    // The name itself; where directories cannot be opened, the system sees to it.
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    if let Ok(directory) = File::open(directory.unwrap_or(Path::new("."))) {
        let _ = directory.sync_all();
    }
    Ok(())
}

/// Always the same, so that what a killed process has left is overwritten by the next.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".tmp");
    name.into()
}

/// Reads a file of at most `most` bytes.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>, CheckpointError> {
    let failed = |reason: String| CheckpointError::File {
        doing: "read",
        path: path.to_owned(),
        reason,
        remedy: "Name a file that was saved from this network",
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > most {
        return Err(failed(format!(
            "it is larger than {most} bytes, far more than this network needs"
        )));
    }
    Ok(bytes)
}
