use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use wgrad::Error;
use wgrad::checkpoint::CheckpointError;

use crate::args::Args;
use crate::common::Failure;
use crate::engine::Engine;

/// Whether a training can be saved there. What the file holds stays.
pub(crate) fn check(path: &Path) -> Result<(), Failure> {
    probe(path).map_err(|error| {
        Failure::Message(format!(
            "cannot save the training to {}: {error}; name a file in a directory that exists and can \
             be written to with --save, or leave it out",
            path.display()
        ))
    })
}

/// Saving makes a file of this name and renames it, so that it must be possible to make one.
fn probe(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut beside = OsString::from(path);
    beside.push(".tmp");
    File::create(&beside)?;
    fs::remove_file(&beside)
}

/// Goes on where `--resume` says; returns how many steps were taken before.
pub(crate) fn resume(engine: &mut dyn Engine, args: &Args) -> Result<usize, Failure> {
    let Some(path) = &args.resume else {
        return Ok(0);
    };
    let shown = path.display();
    let taken = engine.resume(path).map_err(|error| match error {
        // Names the file itself.
        Error::Checkpoint(CheckpointError::File { .. }) => error.into(),
        _ => Failure::Message(format!(
            "cannot resume from {shown}: {error} (here: use the options it was saved with, or leave \
             out --resume)"
        )),
    })?;
    match usize::try_from(taken) {
        Ok(taken) if taken < args.steps => Ok(taken),
        _ => Err(Failure::Message(format!(
            "nothing is left to do: --steps is {}, of which {shown} already has {taken}; raise \
             --steps above {taken}, or leave out --resume",
            args.steps
        ))),
    }
}
