use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::common::output::{END_REQUESTED, INTERRUPTED, complain};

/// What is kept of the training, for an end at once.
static KEPT: Mutex<String> = Mutex::new(String::new());

/// Whether an end at once says nothing.
static IS_SILENT: AtomicBool = AtomicBool::new(false);

/// A signal later than this after the first one is a second one: `timeout`, a terminal that is closed, and
/// some batch systems send what they mean once twice.
const ONCE: Duration = Duration::from_secs(1);

/// Whether an end was asked for.
pub(crate) fn is_requested() -> bool {
    END_REQUESTED.load(Ordering::Relaxed)
}

/// What an end at once says about the training.
pub(crate) fn remember(kept: String) {
    *KEPT.lock().unwrap_or_else(PoisonError::into_inner) = kept;
}

/// Another process speaks.
#[cfg(all(feature = "mpi", unix))]
pub(crate) fn be_silent() {
    IS_SILENT.store(true, Ordering::Relaxed);
}

/// The last words of an end at once; returns its exit code.
fn end_at_once() -> i32 {
    if !IS_SILENT.load(Ordering::Relaxed) {
        let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        complain(&format!("interrupted at once{kept}"));
    }
    INTERRUPTED.into()
}

/// What was heard so far.
#[derive(Debug, Default)]
struct Requests {
    first: Option<Instant>,
}

impl Requests {
    /// Hears a request; returns whether it is a second one, which wants an end at once.
    fn hear(&mut self) -> bool {
        END_REQUESTED.store(true, Ordering::Relaxed);
        self.first.get_or_insert_with(Instant::now).elapsed() > ONCE
    }
}

/// From now on, Ctrl-C and the like ask for an end and no longer are one; the second is.
#[cfg(unix)]
pub(crate) fn listen() {
    use std::sync::mpsc;
    use std::thread;

    let (ready, is_ready) = mpsc::channel();
    // Should the thread or the signals not be had, a signal does what it did.
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

/// From now on, a file that would grow beyond the limit of `ulimit -f` is an error of whoever writes it, and no
/// longer the end of the process.
#[cfg(unix)]
pub(crate) fn survive_size_limit() {
    // Should it not be had, the limit does what it did.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Default::default());
}

#[cfg(unix)]
mod unix {
    use std::io;
    use std::process::{Command, Stdio};

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU};
    use signal_hook::iterator::Signals;

    /// What people, terminals and systems end a program with.
    pub(super) const ENDS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];
    /// What batch systems announce the end of a job's time with, some of them once a second. They would end the
    /// program, too.
    const ANNOUNCES: [i32; 3] = [SIGUSR1, SIGUSR2, SIGXCPU];

    /// Those that are not ignored: where `nohup` or a script's `&` has a signal ignored, that stays so.
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

    /// What Linux says, where `/proc` is mounted.
    fn ignored_mask() -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("SigIgn:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    }

    /// A shell ignores what this process does, and cannot trap that: it prints the others.
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

/// From now on, Ctrl-C and the like ask for an end and no longer are one; the second is.
#[cfg(not(unix))]
pub(crate) fn listen() {
    let mut requests = Requests::default();
    // Should it not be had, Ctrl-C does what it did.
    let _ = ctrlc::set_handler(move || {
        if requests.hear() {
            std::process::exit(end_at_once());
        }
    });
}
