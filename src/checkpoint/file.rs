use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::{CheckpointError, header};
use crate::error::Error;
use crate::files;
use crate::memory;

/// Writes a file atomically: see [`files`].
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    files::write(path, bytes).map_err(CheckpointError::Write)
}

/// Reads a file of at most `most` bytes and passes its contents to `take`. Errors contain the path of the file.
pub(crate) fn read<T>(
    path: &Path,
    most: u64,
    take: impl FnOnce(&[u8]) -> Result<T, Error>,
) -> Result<T, Error> {
    let bytes = bytes(path, most).map_err(|error| unread(path, &error))?;
    let taken = if bytes.len() as u64 > most {
        // If the file is not a safetensors file, report this, because it is more helpful than the size.
        header::check_kind(&bytes)
            .and(Err(CheckpointError::TooLarge { most }))
            .map_err(Error::from)
    } else {
        take(&bytes)
    };
    named(path, taken)
}

/// Adds the path of the file to checkpoint errors.
fn named<T>(path: &Path, taken: Result<T, Error>) -> Result<T, Error> {
    taken.map_err(|error| match error {
        Error::Checkpoint(cause) => Error::Checkpoint(CheckpointError::File {
            path: path.to_owned(),
            cause: Box::new(cause),
        }),
        other => other,
    })
}

fn unread(path: &Path, error: &io::Error) -> CheckpointError {
    CheckpointError::Read {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// Reads a whole file and passes its contents to `take`. The largest allowed size is the size that the header states,
/// because the network of the file is not known yet.
pub(crate) fn read_whole<T>(
    path: &Path,
    take: impl FnOnce(&[u8]) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut file = File::open(path).map_err(|error| unread(path, &error))?;
    let mut start = Vec::new();
    let mut read = |most: u64, bytes: &mut Vec<u8>| {
        let read = (&mut file).take(most).read_to_end(bytes);
        read.map_err(|error| unread(path, &error))
    };
    read(header::LARGEST as u64, &mut start)?;
    let most = header::bytes_of_file(&start).unwrap_or(start.len() as u64);
    let what = || format!("the file {}", path.display());
    memory::check(what, most)?;
    // Try to read one byte more than the header states, so that extra bytes are noticed.
    read((most + 1).saturating_sub(start.len() as u64), &mut start)?;
    named(path, take(&start))
}

/// Reads the first `most + 1` bytes of a file, or the whole file if it is shorter.
fn bytes(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
