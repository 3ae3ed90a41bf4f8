use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::{ExitCode, Termination};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Exit code that a shell reports for a program ended by Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// Whether the user has requested an end.
pub(crate) static END_REQUESTED: AtomicBool = AtomicBool::new(false);

/// How often a waiting thread checks whether an end was requested, and how long it goes on waiting after that.
const LOOK: Duration = Duration::from_millis(100);
const GRACE: Duration = Duration::from_millis(500);

/// The reason why a program ends before its work is done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A message to the user, including what to do about it.
    Message(String),
    /// An output cannot be written. The work itself succeeded.
    Output(String),
    /// The user requested an end, or standard output has no reader any more. The text follows "interrupted".
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

/// Converts an error of standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => {
                Self::Interrupted(", because standard output was closed".to_owned())
            }
            io::ErrorKind::Interrupted => {
                Self::Interrupted(", while nobody read standard output".to_owned())
            }
            _ => Self::Output(format!(
                "cannot write to standard output: {error}; check what it is redirected to"
            )),
        }
    }
}

/// Writes texts on a separate thread. Thus a reader that stops reading does not keep the program from ending when it is
/// interrupted.
#[derive(Debug)]
pub(crate) struct Stream {
    texts: Sender<Vec<u8>>,
    written: Receiver<io::Result<()>>,
}

impl Stream {
    pub(crate) fn new(mut to: impl Write + Send + 'static) -> io::Result<Self> {
        let (texts, queue) = mpsc::channel::<Vec<u8>>();
        let (done, written) = mpsc::channel();
        let writer = move || {
            let mut results = queue
                .into_iter()
                .map(|text| to.write_all(&text).and_then(|()| to.flush()));
            while results
                .next()
                .is_some_and(|result| done.send(result).is_ok())
            {}
        };
        thread::Builder::new().spawn(writer)?;
        Ok(Self { texts, written })
    }

    /// Waits until the text is written. Fails with [`io::ErrorKind::Interrupted`] if an end was requested and nothing
    /// reads the output: nothing more can be written then.
    pub(crate) fn write(&self, text: Vec<u8>) -> io::Result<()> {
        let interrupted = || Err(io::ErrorKind::Interrupted.into());
        match self.texts.send(text) {
            Ok(()) => answer(&self.written, Duration::MAX).unwrap_or_else(interrupted),
            Err(_) => interrupted(),
        }
    }
}

/// Waits for an answer of the thread, at most for `within`. Gives up early if an end is requested.
pub(crate) fn answer<T>(thread: &Receiver<T>, within: Duration) -> Option<T> {
    let started = Instant::now();
    let mut late = Duration::ZERO;
    while late < GRACE && started.elapsed() < within {
        match thread.recv_timeout(LOOK) {
            Ok(answer) => return Some(answer),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) if END_REQUESTED.load(Ordering::Relaxed) => late += LOOK,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    None
}

/// Prints a line on standard output. Unlike `println`, it does not panic if standard output is closed.
pub(crate) fn line(text: impl fmt::Display) -> Result<(), Failure> {
    static STDOUT: Mutex<Option<Stream>> = Mutex::new(None);

    let mut stdout = STDOUT.lock().unwrap_or_else(PoisonError::into_inner);
    let stream = match &mut *stdout {
        Some(stream) => stream,
        none => none.insert(open_stdout()?),
    };
    Ok(stream.write(format!("{text}\n").into_bytes())?)
}

fn open_stdout() -> io::Result<Stream> {
    // The standard library ignores write errors of a file that is open for reading only.
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{OFlags, fcntl_getfl};

        let mode = fcntl_getfl(io::stdout())? & OFlags::RWMODE;
        if mode == OFlags::RDONLY {
            return Err(io::Error::other("it is opened only for reading"));
        }
    }
    Stream::new(io::stdout())
}

/// Prints a line on standard error. If it is closed or nothing reads it, only the exit code tells of the failure.
pub(crate) fn complain(text: &str) {
    let line = format!("{}\n", escaped(text)).into_bytes();
    let _ = Stream::new(io::stderr()).and_then(|stderr| stderr.write(line));
}

/// Runs a program. If it fails, prints one line on standard error and returns exit code 1, or 130 if it was
/// interrupted.
pub(crate) fn run<T: Termination, E: Into<Failure>>(
    program: impl FnOnce() -> Result<T, E>,
) -> ExitCode {
    let failure = match program() {
        Ok(done) => return done.report(),
        Err(error) => error.into(),
    };
    complain(&failure.to_string());
    match failure {
        Failure::Interrupted(_) => ExitCode::from(INTERRUPTED),
        _ => ExitCode::FAILURE,
    }
}

/// Escapes control characters, for example in file names: they could add lines or move the cursor.
pub(crate) fn escaped(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}
