//! A thread that waits for submissions, so that futures do not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::faults::Fault;
use super::signal::Sender;
use super::{Gpu, Shared, lock, message_of};
use crate::error::Error;

/// The longest wait at a time. While it waits, wgpu holds a lock that destroying a buffer needs (submitting does not);
/// and only between two waits are deadlines seen, and that futures are gone.
const SLICE: Duration = Duration::from_millis(10);

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
    /// `None` is all that was submitted when it is looked at; wgpu tells earlier.
    submission: Option<wgpu::SubmissionIndex>,
    started: Instant,
    sender: Sender<Outcome>,
}

/// How waiting for a submission ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was done at this time.
    Done(Instant),
    /// It was not done in the time that the device has.
    TimedOut,
    /// wgpu refused to wait, or panicked.
    Failed(String),
}

impl Gpu {
    /// Begins to wait in the device's thread, which is started where none runs.
    pub(super) fn watch(
        &self,
        submission: Option<wgpu::SubmissionIndex>,
        sender: Sender<Outcome>,
    ) -> Result<(), Error> {
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
            submission,
            started: Instant::now(),
            sender,
        });
        Ok(())
    }
}

/// Until nothing is waited for, or nobody has the device. Only during a look does the thread have it, too.
fn run(shared: &Weak<Shared>) {
    while shared.upgrade().is_some_and(|shared| look(&shared)) {}
}

/// Waits a little; whether there is more to wait for.
fn look(shared: &Shared) -> bool {
    let waits = {
        let mut watched = lock(&shared.watcher.watched);
        watched.waits.retain(|wait| wait.sender.is_awaited());
        watched.runs = !watched.waits.is_empty();
        if !watched.runs {
            return false;
        }
        std::mem::take(&mut watched.waits)
    };
    let timeout = shared.settings.timeout;
    let left = |wait: &Wait| timeout.saturating_sub(wait.started.elapsed());
    let shortest = waits.iter().map(left).min().unwrap_or_default();
    // The others are looked at without waiting: which was submitted first is not known.
    let mut slice = SLICE.min(shortest);
    let (mut ended, mut going_on, mut fault) = (Vec::new(), Vec::new(), None);
    for wait in waits {
        let slice = std::mem::take(&mut slice);
        match catch_unwind(AssertUnwindSafe(|| outcome(shared, &wait, slice))) {
            Ok(Some(outcome)) => ended.push((wait.sender, outcome)),
            Ok(None) => going_on.push(wait),
            Err(panic) => {
                fault.get_or_insert(message_of(panic));
                going_on.push(wait);
            }
        }
    }
    if let Some(message) = fault {
        fail(shared, &mut going_on, message);
    }
    lock(&shared.watcher.watched).waits.append(&mut going_on);
    for (sender, outcome) in ended {
        tell(&sender, outcome);
    }
    true
}

/// Ends all waits: whose callbacks a panic has taken along is not known. Where nobody waits any more, whoever uses the
/// device next is told.
fn fail(shared: &Shared, waits: &mut Vec<Wait>, message: String) {
    let mut is_told = false;
    for wait in waits.drain(..) {
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

/// How a wait ended, if it has after so long. Callbacks that wgpu was given run here, too.
fn outcome(shared: &Shared, wait: &Wait, slice: Duration) -> Option<Outcome> {
    let poll = wgpu::PollType::Wait {
        submission_index: wait.submission.clone(),
        timeout: Some(slice),
    };
    match shared.device.poll(poll) {
        Ok(_) => Some(Outcome::Done(Instant::now())),
        Err(wgpu::PollError::Timeout) => {
            let is_over = wait.started.elapsed() >= shared.settings.timeout;
            is_over.then_some(Outcome::TimedOut)
        }
        Err(error) => Some(Outcome::Failed(error.to_string())),
    }
}

#[cfg(test)]
mod tests;
