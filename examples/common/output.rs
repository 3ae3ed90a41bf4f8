use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::{ExitCode, Termination};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Exit code of an interrupted program. A shell reports the same code for a program that Ctrl-C has ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// Whether the user has asked the program to end, for example by Ctrl-C.
pub(crate) static END_REQUESTED: AtomicBool = AtomicBool::new(false);

/// Interval at which a waiting thread checks [`END_REQUESTED`], and the time for which it continues to wait after that
/// flag is set.
const LOOK: Duration = Duration::from_millis(100);
const GRACE: Duration = Duration::from_millis(500);

/// The reason why a program ends before its work is done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A message to the user, which says what to do about the failure.
    Message(String),
    /// An output could not be written, although the computation succeeded. The text is a message to the user.
    Output(String),
    /// The user asked the program to end, or nothing reads standard output any more. The text is printed right after
    /// the word "interrupted".
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

/// Converts an error of writing to standard output.
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

/// Writes texts to an output on a separate thread. Writing to a pipe blocks while the pipe's reader does not read. On a
/// separate thread, such a write does not prevent the program from ending when it is interrupted.
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

    /// Writes a text and waits until it is written. Fails with [`io::ErrorKind::Interrupted`] if the program was asked
    /// to end while nothing reads the output. After that, the stream can write nothing more.
    pub(crate) fn write(&self, text: Vec<u8>) -> io::Result<()> {
        let interrupted = || Err(io::ErrorKind::Interrupted.into());
        match self.texts.send(text) {
            Ok(()) => answer(&self.written, Duration::MAX).unwrap_or_else(interrupted),
            Err(_) => interrupted(),
        }
    }
}

/// Waits for a message from a thread, at most for the time `within`. Returns `None` if no message arrives in time, if
/// the thread has ended, or soon after the program was asked to end.
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

/// Prints a line on standard output. Returns an error if standard output is closed, where `println` would panic.
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
    // The standard library ignores errors of writing to a standard output that is open only for reading. So check the
    // mode.
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

/// Prints a line on standard error. Ignores errors: if standard error is closed or nothing reads it, only the exit code
/// shows the failure.
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

/// Escapes control characters, for example in file names. In a terminal, they could start new lines or move the cursor.
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
