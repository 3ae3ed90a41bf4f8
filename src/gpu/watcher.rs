//! A thread that waits for submissions, so that futures do not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::faults::Fault;
use super::signal::Sender;
use super::wait::Outcome;
use super::{Gpu, Shared, lock, message_of};
use crate::error::Error;

/// Between two looks at the device: short at first, and never longer than the latter.
const SHORTEST: Duration = Duration::from_micros(50);
const LONGEST: Duration = Duration::from_millis(1);

/// What is waited for on a device.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    watched: Mutex<Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    waits: Vec<Wait>,
    /// Whether there is a thread that will look at them.
    runs: bool,
}

#[derive(Debug)]
struct Wait {
    started: Instant,
    sender: Sender<Outcome>,
}

impl Gpu {
    /// Has the device's thread poll until somebody is told, by callbacks that wgpu runs then. It is started where none
    /// runs.
    pub(super) fn watch(&self, sender: Sender<Outcome>) -> Result<(), Error> {
        let mut watched = lock(&self.shared.watcher.watched);
        if !watched.runs {
            let shared = Arc::downgrade(&self.shared);
            let thread = thread::Builder::new().name("wgrad watcher".to_owned());
            let started = thread.spawn(move || run(&shared));
            started.map_err(|error| Error::Gpu {
                doing: "starting a thread that waits for submitted work".to_owned(),
                message: error.to_string(),
            })?;
            watched.runs = true;
        }
        watched.waits.push(Wait {
            started: Instant::now(),
            sender,
        });
        Ok(())
    }
}

/// Until nothing is waited for, or nobody has the device. Only during a look does the thread have it, too.
///
/// It does not wait for a submission: wgpu 30 panics where such a wait ends by its time limit while another thread
/// submits or polls, and takes callbacks along.
fn run(shared: &Weak<Shared>) {
    while let Some(pause) = shared.upgrade().and_then(|shared| look(&shared)) {
        thread::sleep(pause);
    }
}

/// Polls once, which runs the callbacks of what is done; how long until the next look, if there is more to wait for.
fn look(shared: &Shared) -> Option<Duration> {
    let polled = catch_unwind(AssertUnwindSafe(|| {
        shared.device.poll(wgpu::PollType::Poll)
    }));
    let mut watched = lock(&shared.watcher.watched);
    let timeout = shared.settings.timeout;
    let mut waits = std::mem::take(&mut watched.waits);
    waits.retain(|wait| wait.sender.is_awaited());
    let (late, mut going_on): (Vec<_>, Vec<_>) = waits
        .into_iter()
        .partition(|wait| wait.started.elapsed() >= timeout);
    let fault = match polled {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(panic) => Some(message_of(panic)),
    };
    let failed = match fault.is_some() {
        true => std::mem::take(&mut going_on),
        false => Vec::new(),
    };
    let youngest = going_on.iter().map(|wait| wait.started.elapsed()).min();
    watched.waits = going_on;
    watched.runs = youngest.is_some();
    drop(watched);
    for wait in late {
        tell(&wait.sender, Outcome::TimedOut);
    }
    if let Some(message) = fault {
        fail(shared, failed, message);
    }
    youngest.map(|waited| (waited / 8).clamp(SHORTEST, LONGEST))
}

/// Ends all waits: whose callbacks a panic has taken along is not known. Where nobody waits any more, whoever uses the
/// device next is told.
fn fail(shared: &Shared, waits: Vec<Wait>, message: String) {
    let mut is_told = false;
    for wait in waits {
        is_told |= tell(&wait.sender, Outcome::Failed(message.clone()));
    }
    if !is_told {
        let mut faults = lock(&shared.faults);
        faults.uncaptured.get_or_insert(Fault::Other(message));
    }
}

/// Whether somebody still waited.
fn tell(sender: &Sender<Outcome>, outcome: Outcome) -> bool {
    // A waker is anybody's code. Were it to end this thread, other futures would wait forever.
    catch_unwind(AssertUnwindSafe(|| sender.send(outcome))).unwrap_or(true)
}

#[cfg(test)]
mod tests;
