use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::{CheckpointError, header};
use crate::error::Error;
use crate::files;

/// Writes a file whole: see [`files`].
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    files::write(path, bytes).map_err(CheckpointError::Write)
}

/// Reads a file of at most `most` bytes and takes what it holds. Errors name the file.
pub(crate) fn read(
    path: &Path,
    most: u64,
    take: impl FnOnce(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let bytes = bytes(path, most).map_err(|error| CheckpointError::Read {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    let taken = if bytes.len() as u64 > most {
        // What it is says more than its size, if it is of another kind.
        header::check_kind(&bytes)
            .and(Err(CheckpointError::TooLarge { most }))
            .map_err(Error::from)
    } else {
        take(&bytes)
    };
    taken.map_err(|error| match error {
        Error::Checkpoint(cause) => Error::Checkpoint(CheckpointError::File {
            path: path.to_owned(),
            cause: Box::new(cause),
        }),
        other => other,
    })
}

/// One more than `most` of a file that is larger.
fn bytes(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
