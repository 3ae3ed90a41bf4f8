use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::common::output::{END_REQUESTED, INTERRUPTED, complain};

/// What is saved of the training, for the message of an immediate end.
static KEPT: Mutex<String> = Mutex::new(String::new());

/// Whether an immediate end prints nothing.
static IS_SILENT: AtomicBool = AtomicBool::new(false);

/// A signal counts as a second one only if it comes later than this after the first one: `timeout`, a terminal that is
/// closed, and some batch systems send a signal twice.
const ONCE: Duration = Duration::from_secs(1);

/// Whether an end was requested.
pub(crate) fn is_requested() -> bool {
    END_REQUESTED.load(Ordering::Relaxed)
}

/// Sets what an immediate end reports about the training.
pub(crate) fn remember(kept: String) {
    *KEPT.lock().unwrap_or_else(PoisonError::into_inner) = kept;
}

/// Prints nothing at an immediate end, because another process does.
#[cfg(all(feature = "mpi", unix))]
pub(crate) fn be_silent() {
    IS_SILENT.store(true, Ordering::Relaxed);
}

/// Prints the message of an immediate end. Returns its exit code.
fn end_at_once() -> i32 {
    if !IS_SILENT.load(Ordering::Relaxed) {
        let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        complain(&format!("interrupted at once{kept}"));
    }
    INTERRUPTED.into()
}

/// The requests so far.
#[derive(Debug, Default)]
struct Requests {
    first: Option<Instant>,
}

impl Requests {
    /// Records a request. Returns whether it is a second one, which requests an immediate end.
    fn hear(&mut self) -> bool {
        END_REQUESTED.store(true, Ordering::Relaxed);
        self.first.get_or_insert_with(Instant::now).elapsed() > ONCE
    }
}

/// From now on, Ctrl-C and similar signals request an end instead of ending the program. A second signal ends it.
#[cfg(unix)]
pub(crate) fn listen() {
    use std::sync::mpsc;
    use std::thread;

    let (ready, is_ready) = mpsc::channel();
    // Without the thread or the signal handlers, a signal ends the program as before.
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

/// From now on, a file that would exceed the size limit of `ulimit -f` causes a write error, and no longer ends the
/// process.
#[cfg(unix)]
pub(crate) fn survive_size_limit() {
    // Without the handler, the limit ends the process as before.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Default::default());
}

#[cfg(unix)]
mod unix {
    use std::io;
    use std::process::{Command, Stdio};

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU};
    use signal_hook::iterator::Signals;

    /// Signals by which people, terminals and systems end a program.
    pub(super) const ENDS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];
    /// Signals by which batch systems announce the end of a job's time, some once per second. Unhandled, they would end
    /// the program, too.
    const ANNOUNCES: [i32; 3] = [SIGUSR1, SIGUSR2, SIGXCPU];

    /// The signals that are not ignored. A signal that `nohup` or a script's `&` ignores stays ignored.
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

    /// The mask of ignored signals, from Linux's `/proc` if it is mounted.
    fn ignored_mask() -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("SigIgn:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    }

    /// A shell inherits ignored signals and cannot trap them. This script prints the signals that are not ignored.
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

/// From now on, Ctrl-C requests an end instead of ending the program. A second Ctrl-C ends it.
#[cfg(not(unix))]
pub(crate) fn listen() {
    let mut requests = Requests::default();
    // Without the handler, Ctrl-C ends the program as before.
    let _ = ctrlc::set_handler(move || {
        if requests.hear() {
            std::process::exit(end_at_once());
        }
    });
}
