//! A thread that polls the device while futures wait, so that futures need not block.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::faults::Fault;
use super::signal::Sender;
use super::wait::Outcome;
use super::{Gpu, Shared, lock, message_of};
use crate::error::Error;

/// Shortest and longest pause between two polls of the device. The longer a future waits, the longer the pauses become.
const SHORTEST: Duration = Duration::from_micros(50);
const LONGEST: Duration = Duration::from_millis(1);
/// The thread ends when no future has waited for this long. So a program that draws frames starts one thread and not
/// one per frame.
const IDLE: Duration = Duration::from_secs(1);

/// The futures that wait for a device. The thread shares this list but does not keep the device alive.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    post: Arc<Post>,
}

#[derive(Debug, Default)]
struct Post {
    watched: Mutex<Watched>,
    /// Notified when a future begins to wait, or when the device is dropped.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Watched {
    waits: Vec<Wait>,
    /// Whether a thread polls for `waits`.
    runs: bool,
    /// Whether the device was dropped.
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
    /// Makes the device's thread poll until the sender's future has its value. A callback of wgpu sends the value
    /// during a poll. Starts the thread if it is not running.
    pub(super) fn watch(&self, sender: Sender<Outcome>) -> Result<(), Error> {
        let post = &self.shared.watcher.post;
        let mut watched = lock(&post.watched);
        if !watched.runs {
            let shared = Arc::downgrade(&self.shared);
            let of_thread = Arc::clone(post);
            let thread = thread::Builder::new().name("wgrad watcher".to_owned());
            let started = thread.spawn(move || run(&shared, &of_thread));
            started.map_err(|error| Error::Thread {
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

/// The body of the polling thread. The thread polls while futures wait. It ends when there was no waiting future for a
/// time of [`IDLE`], or when the device is dropped. It holds the device only during a poll.
///
/// The thread polls instead of waiting for a submission: if such a wait times out while another thread submits or
/// polls, wgpu 30 panics, and callbacks are lost.
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
    /// Sleeps until some future waits. Returns false if the thread must end.
    fn has_waits(&self) -> bool {
        let watched = lock(&self.watched);
        let is_quiet = |watched: &mut Watched| watched.waits.is_empty() && !watched.ended;
        let slept = self.changed.wait_timeout_while(watched, IDLE, is_quiet);
        let (mut watched, _) = slept.unwrap_or_else(PoisonError::into_inner);
        watched.runs = !watched.waits.is_empty() && !watched.ended;
        watched.runs
    }
}

/// Polls the device once, which runs the callbacks of finished work. Returns the pause until the next poll, or `None`
/// if no future waits any more.
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

/// Ends all waits with an error, because a panic may have dropped some of the callbacks. If no future is waiting, the
/// next call that uses the device returns the error.
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

/// Sends an outcome. Returns whether a future was still waiting for it.
fn tell(sender: &Sender<Outcome>, outcome: Outcome) -> bool {
    // A waker is code of the executor and may panic. If this panic ended the thread, other futures would wait forever.
    catch_unwind(AssertUnwindSafe(|| sender.send(outcome))).unwrap_or(true)
}

#[cfg(test)]
mod tests;
