use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::{ExitCode, Termination};

/// What a shell gives for a program that Ctrl-C has ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// Why a program ends before its work is done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something to tell the user, with what to do about it.
    Message(String),
    /// The same of an output that cannot be written: the work itself is sound.
    Output(String),
    /// An end that was asked for, or came as nobody reads standard output any more. The text follows
    /// "interrupted".
    Interrupted(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) | Self::Output(message) => write!(f, "error: {message}"),
            Self::Interrupted(text) => write!(f, "interrupted{text}"),
        }
    }
}

impl Error for Failure {}

impl From<wgrad::Error> for Failure {
    fn from(error: wgrad::Error) -> Self {
        Self::Message(error.to_string())
    }
}

impl From<Box<dyn Error>> for Failure {
    fn from(error: Box<dyn Error>) -> Self {
        match error.downcast() {
            Ok(failure) => *failure,
            Err(error) => Self::Message(error.to_string()),
        }
    }
}

/// Of standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => {
                Self::Interrupted(", as standard output was closed".to_owned())
            }
            _ => Self::Output(format!(
                "cannot write to standard output: {error}; check what it is redirected to"
            )),
        }
    }
}

/// Prints a line on standard output; unlike `println`, without a panic when that is closed.
pub(crate) fn line(text: impl fmt::Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    Ok(stdout.flush()?)
}

/// Runs a program: its failure is one line on standard error, and the exit code 1, or 130 when it was
/// interrupted.
pub(crate) fn run<T: Termination, E: Into<Failure>>(
    program: impl FnOnce() -> Result<T, E>,
) -> ExitCode {
    let failure = match program() {
        Ok(done) => return done.report(),
        Err(error) => error.into(),
    };
    // When standard error is closed too, the exit code must do.
    let _ = writeln!(io::stderr(), "{}", escaped(&failure.to_string()));
    match failure {
        Failure::Interrupted(_) => ExitCode::from(INTERRUPTED),
        _ => ExitCode::FAILURE,
    }
}

/// Names of files may hold control characters, which would make more lines, or move the cursor.
fn escaped(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => line.extend(character.escape_default()),
            false => line.push(character),
        }
    }
    line
}
