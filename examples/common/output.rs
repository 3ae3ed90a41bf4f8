use std::io::{self, Write};
use std::process::{ExitCode, Termination};

/// Why a program ends before its work is done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something to tell the user, with what to do about it.
    Message(String),
    /// Whoever read standard output wants no more of it.
    OutputClosed,
}

impl From<wgrad::Error> for Failure {
    fn from(error: wgrad::Error) -> Self {
        Self::Message(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Message(format!(
                "cannot write to standard output: {error}; check what it is redirected to"
            )),
        }
    }
}

/// Prints a line on standard output; unlike `println`, without a panic when that is closed.
pub(crate) fn line(text: impl std::fmt::Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    Ok(stdout.flush()?)
}

/// Runs a program: its failure is one paragraph on standard error and the exit code 1.
pub(crate) fn run<T: Termination>(program: impl FnOnce() -> Result<T, Failure>) -> ExitCode {
    match program() {
        Ok(done) => done.report(),
        Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(Failure::Message(message)) => {
            let words: Vec<_> = message.split_whitespace().collect();
            // When standard error is closed too, the exit code must do.
            let _ = writeln!(io::stderr(), "error: {}", words.join(" "));
            ExitCode::FAILURE
        }
    }
}
