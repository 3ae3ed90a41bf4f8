//! The command-line program.

mod args;
mod contents;
mod file;
mod job;
mod list;
mod listing;
mod names;

pub(crate) use args::Args;
use job::Job;

/// A mistake of the user: the message says what is wrong and how to correct it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Mistake(String);

impl Mistake {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl From<wgsl_sanitizer::Error> for Mistake {
    fn from(error: wgsl_sanitizer::Error) -> Self {
        Self(error.to_string())
    }
}

/// Runs the program with these arguments. Returns true if the shader has no findings.
pub(crate) fn run(args: Args) -> Result<bool, Mistake> {
    let lists = args.list;
    let blocks = args.blocks;
    let job = Job::new(args)?;
    if lists {
        listing::list(&job)?;
        return Ok(true);
    }
    job.run(blocks)
}
