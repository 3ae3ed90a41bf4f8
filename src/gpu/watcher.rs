//! A thread that waits for submissions, so that futures do not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
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
/// The thread ends when nobody has waited for so long: a program that draws frames has one, and not one for each.
const IDLE: Duration = Duration::from_secs(1);

/// What is waited for on a device, which the thread has without the device.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    post: Arc<Post>,
}

#[derive(Debug, Default)]
struct Post {
    watched: Mutex<Watched>,
    /// There is something to wait for, or the device is gone.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Watched {
    waits: Vec<Wait>,
    /// Whether there is a thread that will look at them.
    runs: bool,
    /// Whether the device is gone.
    ended: bool,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        lock(&self.post.watched).ended = true;
        self.post.changed.notify_all();
    }
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
        let post = &self.shared.watcher.post;
        let mut watched = lock(&post.watched);
        if !watched.runs {
            let shared = Arc::downgrade(&self.shared);
            let of_thread = Arc::clone(post);
            let thread = thread::Builder::new().name("wgrad watcher".to_owned());
            let started = thread.spawn(move || run(&shared, &of_thread));
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
        drop(watched);
        post.changed.notify_one();
        Ok(())
    }
}

/// Until nothing was waited for in a while, or nobody has the device. Only during a look does the thread have it, too.
///
/// It does not wait for a submission: wgpu 30 panics where such a wait ends by its time limit while another thread
/// submits or polls, and takes callbacks along.
fn run(shared: &Weak<Shared>, post: &Post) {
    while post.has_waits() {
        let Some(device) = shared.upgrade() else {
            return;
        };
        let pause = look(&device);
        drop(device);
        if let Some(pause) = pause {
            thread::sleep(pause);
        }
    }
}

impl Post {
    /// Sleeps until there is something to wait for; false when the thread is to end.
    fn has_waits(&self) -> bool {
        let watched = lock(&self.watched);
        let is_quiet = |watched: &mut Watched| watched.waits.is_empty() && !watched.ended;
        let slept = self.changed.wait_timeout_while(watched, IDLE, is_quiet);
        let (mut watched, _) = slept.unwrap_or_else(PoisonError::into_inner);
        watched.runs = !watched.waits.is_empty() && !watched.ended;
        watched.runs
    }
}

/// Polls once, which runs the callbacks of what is done; how long until the next look, if there is more to wait for.
fn look(shared: &Shared) -> Option<Duration> {
    let polled = catch_unwind(AssertUnwindSafe(|| {
        shared.device.poll(wgpu::PollType::Poll)
    }));
    let mut watched = lock(&shared.watcher.post.watched);
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
    let failed = if fault.is_some() {
        std::mem::take(&mut going_on)
    } else {
        Vec::new()
    };
    let youngest = going_on.iter().map(|wait| wait.started.elapsed()).min();
    watched.waits = going_on;
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
