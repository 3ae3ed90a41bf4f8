use std::path::Path;

use wgrad::checkpoint::CheckpointError;
use wgrad::{Error, files};

use crate::args::Args;
use crate::common::Failure;
use crate::engine::Engine;

/// Whether a training can be saved there. What the file holds stays.
pub(crate) fn check(path: &Path) -> Result<(), Failure> {
    files::check(path).map_err(|error| {
        let advice = "(here: with --save, or leave it out)";
        Failure::Message(format!("cannot save the training: {error} {advice}"))
    })
}

/// Goes on where `--resume` says; returns how many steps were taken before.
pub(crate) fn resume(engine: &mut dyn Engine, args: &Args) -> Result<usize, Failure> {
    let Some(path) = &args.resume else {
        return Ok(0);
    };
    let shown = path.display();
    let options = match args.optimizer.is_bound_to_steps() {
        true => {
            "use the options it was saved with, --steps among them, at which --schedule cosine ends; \
             when it has taken all of them, start anew, without --resume"
        }
        false => "use the options it was saved with, or leave out --resume",
    };
    let taken = engine.resume(path).map_err(|error| {
        use CheckpointError::{Data, File, Network, Training};

        let advice = match &error {
            Error::Checkpoint(File { cause, .. }) => match **cause {
                Network { .. } | Training { .. } | Data { .. } => format!(" (here: {options})"),
                _ => String::new(),
            },
            _ => String::new(),
        };
        Failure::Message(format!("cannot resume: {error}{advice}"))
    })?;
    match usize::try_from(taken) {
        Ok(taken) if taken < args.steps => Ok(taken),
        _ if args.optimizer.is_bound_to_steps() => Err(Failure::Message(format!(
            "nothing is left to do: {shown} has all {taken} steps, at which its --schedule cosine ends; start \
             anew, without --resume, with more --steps"
        ))),
        _ => Err(Failure::Message(format!(
            "nothing is left to do: --steps is {}, of which {shown} already has {taken}; raise \
             --steps above {taken}, or leave out --resume",
            args.steps
        ))),
    }
}
