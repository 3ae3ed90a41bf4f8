use std::borrow::Cow;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use wgrad::checkpoint::{Changes, CheckpointError};
use wgrad::{Error, Train, files};

use crate::args::Args;
use crate::common::Failure;
use crate::outputs::OTHER_END;

/// Checks that a training can be saved to this file, but does not change the file.
pub(crate) fn check(path: &Path) -> Result<(), Failure> {
    files::check(path).map_err(|error| {
        let advice = "(here: with --save, or leave --save out)";
        Failure::Message(format!("cannot save the training: {error} {advice}"))
    })
}

/// Loads the file of `--resume`, if given, into the engine. Returns the number of steps that the training has taken so
/// far.
pub(crate) fn resume(engine: &mut dyn Train, args: &Args) -> Result<usize, Failure> {
    let Some(path) = &args.resume else {
        return Ok(0);
    };
    let shown = path.display();
    let options = match args.optimizer.is_bound_to_steps() {
        true => {
            "use the options it was saved with, including --steps, the end of --schedule cosine; if it has taken all \
             these steps, start again without --resume"
        }
        false if cfg!(feature = "mpi") => {
            "use the options it was saved with, including --mpi and --shards, or leave out --resume"
        }
        false => "use the options it was saved with, or leave out --resume",
    };
    let (resumed, was_ended) = with_an_end(path, || {
        engine.resume_with(path, Changes::new())?;
        Ok(engine.steps_taken())
    });
    let taken = resumed.map_err(|error| {
        use CheckpointError::{Data, File, Network, Training};

        let advice = match &error {
            Error::Checkpoint(File { cause, .. }) => match **cause {
                Network { .. } | Training { .. } | Data { .. } => format!(" (here: {options})"),
                _ => String::new(),
            },
            _ => String::new(),
        };
        let waited = if was_ended {
            format!(
                " (no process wrote to this pipe for {} s)",
                OTHER_END.as_secs()
            )
        } else {
            String::new()
        };
        Failure::Message(format!("cannot resume: {error}{advice}{waited}"))
    })?;
    match usize::try_from(taken) {
        Ok(taken) if taken < args.steps() => Ok(taken),
        _ if args.optimizer.is_bound_to_steps() => Err(Failure::Message(format!(
            "nothing is left to do: {shown} has taken all {taken} steps of its --schedule cosine; start again without \
             --resume and with more --steps"
        ))),
        _ => Err(Failure::Message(format!(
            "nothing is left to do: --steps is {}, and {shown} already has {taken} steps; raise --steps above {taken}, \
             or leave out --resume",
            args.steps()
        ))),
    }
}

/// Calls `read`, which reads a file that may be a named pipe. If nothing writes to the pipe, `read` would wait forever.
/// So after [`OTHER_END`], this function opens the pipe for writing and closes it again. Then `read` sees the end of
/// the data, unless another process writes to the pipe. Also returns whether this function opened the pipe.
fn with_an_end<T>(path: &Path, read: impl FnOnce() -> T) -> (T, bool) {
    if !is_pipe(path) {
        return (read(), false);
    }
    let (done, is_done) = mpsc::channel::<()>();
    let path = path.to_owned();
    let was_ended = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&was_ended);
    let end = move || {
        if is_done.recv_timeout(OTHER_END) == Err(RecvTimeoutError::Timeout) {
            ends.store(true, Ordering::Relaxed);
            let _ = File::options().write(true).open(path);
        }
    };
    // If the thread cannot be started, `read` may wait forever.
    let _ = thread::Builder::new().spawn(end);
    let read = read();
    drop(done);
    (read, was_ended.load(Ordering::Relaxed))
}

#[cfg(unix)]
fn is_pipe(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;

    path.metadata().is_ok_and(|file| file.file_type().is_fifo())
}

#[cfg(not(unix))]
fn is_pipe(_: &Path) -> bool {
    false
}

/// Quotes a file name, so that it can be an argument of a shell command.
pub(crate) fn quoted(path: &Path) -> Cow<'_, str> {
    let name = path.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || !c.is_ascii() || "_-./:,+@%=".contains(c);
    if !name.is_empty() && name.chars().all(is_plain) {
        name
    } else {
        format!("'{}'", name.replace('\'', r"'\''")).into()
    }
}
