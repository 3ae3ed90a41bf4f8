use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::common::output::{END_REQUESTED, INTERRUPTED, complain};

/// End of the message that is printed when the program ends at once. It says which file has the training, if any.
static KEPT: Mutex<String> = Mutex::new(String::new());

/// Whether the program prints nothing when it ends at once.
static IS_SILENT: AtomicBool = AtomicBool::new(false);

/// Minimum time between a first and a second request to end. A signal that arrives earlier counts as part of the first
/// request, because `timeout`, a terminal that is closed, and some batch systems send a signal twice.
const ONCE: Duration = Duration::from_secs(1);

/// Whether the program was asked to end.
pub(crate) fn is_requested() -> bool {
    END_REQUESTED.load(Ordering::Relaxed)
}

/// Sets the text about the saved training that is printed if the program ends at once.
pub(crate) fn remember(kept: String) {
    *KEPT.lock().unwrap_or_else(PoisonError::into_inner) = kept;
}

/// Makes this process print nothing if it ends at once, because the first process prints the message.
#[cfg(all(feature = "mpi", unix))]
pub(crate) fn be_silent() {
    IS_SILENT.store(true, Ordering::Relaxed);
}

/// Prints the message for a program that ends at once. Returns the exit code.
fn end_at_once() -> i32 {
    if !IS_SILENT.load(Ordering::Relaxed) {
        let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        complain(&format!("interrupted at once{kept}"));
    }
    INTERRUPTED.into()
}

/// The requests to end the program so far.
#[derive(Debug, Default)]
struct Requests {
    first: Option<Instant>,
}

impl Requests {
    /// Records a request to end. Returns whether it is a second request, after which the program ends at once.
    fn hear(&mut self) -> bool {
        END_REQUESTED.store(true, Ordering::Relaxed);
        self.first.get_or_insert_with(Instant::now).elapsed() > ONCE
    }
}

/// Changes the effect of Ctrl-C and similar signals: the first signal asks the program to save and end, and a second
/// signal ends the program at once.
#[cfg(unix)]
pub(crate) fn listen() {
    use std::sync::mpsc;
    use std::thread;

    let (ready, is_ready) = mpsc::channel();
    // If the thread or the signal handlers cannot be set up, a signal ends the program as if `listen` was not called.
    let listener = move || {
        let mut signals = unix::signals();
        let _ = ready.send(());
        let mut requests = Requests::default();
        for signal in signals.iter_mut().flat_map(|signals| signals.forever()) {
            if requests.hear() && unix::ENDS.contains(&signal) {
                signal_hook::low_level::exit(end_at_once());
            }
        }
    };
    if thread::Builder::new().spawn(listener).is_ok() {
        let _ = is_ready.recv();
    }
}

/// Makes a file that exceeds the size limit of `ulimit -f` cause a write error. Without this call, the system would end
/// the process.
#[cfg(unix)]
pub(crate) fn survive_size_limit() {
    // If the handler cannot be set up, the limit still ends the process.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Default::default());
}

#[cfg(unix)]
mod unix {
    use std::io;
    use std::process::{Command, Stdio};

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU};
    use signal_hook::iterator::Signals;

    /// Signals by which users, terminals and operating systems end a program.
    pub(super) const ENDS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];
    /// Signals by which batch systems announce the end of a job's time; some systems repeat them every second. By
    /// default, they would end the program.
    const ANNOUNCES: [i32; 3] = [SIGUSR1, SIGUSR2, SIGXCPU];

    /// Returns a stream of those signals that were not ignored when the program started. For example, `nohup` and `&`
    /// in a script ignore signals; these stay ignored.
    pub(super) fn signals() -> io::Result<Signals> {
        let all = [ENDS, ANNOUNCES].concat();
        let ignored = ignored(&all);
        Signals::new(all.into_iter().filter(|signal| !ignored.contains(signal)))
    }

    fn ignored(signals: &[i32]) -> Vec<i32> {
        let Some(mask) = ignored_mask() else {
            return ignored_by_a_shell(signals);
        };
        let is_ignored = |signal: &i32| mask >> (signal - 1) & 1 == 1;
        signals.iter().copied().filter(is_ignored).collect()
    }

    /// Returns the bit mask of ignored signals from Linux's `/proc`, or `None` if `/proc` is not mounted.
    fn ignored_mask() -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("SigIgn:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    }

    /// Asks a shell which signals are ignored. A shell inherits ignored signals and cannot trap them. The script traps
    /// each signal and sends it to itself, so it prints the signals that are not ignored.
    fn ignored_by_a_shell(signals: &[i32]) -> Vec<i32> {
        let script = "for n; do trap \"echo $n\" $n; kill -$n $$; done";
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).stdin(Stdio::null());
        shell.args(signals.iter().map(ToString::to_string));
        let Ok(output) = shell.output() else {
            return Vec::new();
        };
        let printed = String::from_utf8_lossy(&output.stdout);
        let is_printed = |signal: &i32| printed.lines().any(|line| line == signal.to_string());
        let ignored = signals.iter().copied().filter(|signal| !is_printed(signal));
        ignored.collect()
    }
}

/// Changes the effect of Ctrl-C: the first one asks the program to save and end, and a second one ends the program at
/// once.
#[cfg(not(unix))]
pub(crate) fn listen() {
    let mut requests = Requests::default();
    // If the handler cannot be set up, Ctrl-C ends the program as if `listen` was not called.
    let _ = ctrlc::set_handler(move || {
        if requests.hear() {
            std::process::exit(end_at_once());
        }
    });
}
