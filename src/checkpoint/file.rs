use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::{CheckpointError, header};
use crate::files;

/// Writes a file whole: see [`files`].
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    files::write(path, bytes).map_err(CheckpointError::Write)
}

/// Reads a file of at most `most` bytes.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>, CheckpointError> {
    let failed = |reason: String| CheckpointError::Read {
        path: path.to_owned(),
        reason,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > most {
        // What it is says more than its size, if it is of another kind.
        header::check_kind(&bytes)?;
        return Err(failed(format!(
            "it is larger than {most} bytes, far more than this network needs"
        )));
    }
    Ok(bytes)
}
