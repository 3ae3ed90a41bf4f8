//! Threads that share short work of a few microseconds. Between two calls, the threads spin instead of sleeping,
//! because waking a thread takes longer than the work. The caller does not wait for a thread that has not started: if
//! another program occupies its core, the other threads do all the work.

use std::fmt::{self, Debug, Formatter};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::memory;

/// An idle thread spins for `SPIN`, then yields in a loop, and sleeps after `AWAKE`.
const SPIN: Duration = Duration::from_micros(100);
const AWAKE: Duration = Duration::from_micros(300);

/// The function that does one piece of the work, given the piece's index. The reference is valid until [`Close`] is
/// dropped.
type Work = &'static (dyn Fn(usize) + Sync);

/// The calling thread and its helper threads. The helpers are started at the first call of [`run`](Self::run), and end
/// when the team is dropped.
pub(super) struct Team {
    shared: Arc<Shared>,
    helpers: OnceLock<Vec<JoinHandle<()>>>,
    /// Maximum number of helpers.
    most: usize,
}

/// The state that all threads of a team share.
struct Shared {
    /// Number of calls of [`Team::run`] so far. A helper recognizes new work by a new number.
    round: AtomicUsize,
    /// Whether helpers may start to work on the present call.
    is_open: AtomicBool,
    /// Number of helpers that are working on the present call.
    active: AtomicUsize,
    /// Maximum number of helpers for the present call.
    wanted: AtomicUsize,
    /// Index of the next piece that no thread has taken.
    next: AtomicUsize,
    work: Mutex<Option<(Work, usize)>>,
    /// For each helper, whether it sleeps or is about to sleep.
    asleep: Vec<AtomicBool>,
    panic: Mutex<Option<Box<dyn std::any::Any + Send>>>,
    has_ended: AtomicBool,
}

impl Debug for Team {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Team")
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

impl Team {
    /// Makes a team of at most `threads` threads, including the calling thread.
    pub(super) fn of(threads: usize) -> Self {
        let most = threads.saturating_sub(1);
        Self {
            shared: Arc::new(Shared {
                round: AtomicUsize::new(0),
                is_open: AtomicBool::new(false),
                active: AtomicUsize::new(0),
                wanted: AtomicUsize::new(0),
                next: AtomicUsize::new(0),
                work: Mutex::new(None),
                asleep: (0..most).map(|_| AtomicBool::new(false)).collect(),
                panic: Mutex::new(None),
                has_ended: AtomicBool::new(false),
            }),
            helpers: OnceLock::new(),
            most,
        }
    }

    /// Maximum number of threads, including the calling thread.
    pub(super) fn threads(&self) -> usize {
        self.most + 1
    }

    /// Calls `work` once with every index below `pieces`, on at most `threads` threads, and returns when all calls have
    /// returned. `&mut self` ensures that a team runs one call at a time.
    ///
    /// # Panics
    /// If `work` panics on any thread.
    pub(super) fn run(&mut self, threads: usize, pieces: usize, work: &(dyn Fn(usize) + Sync)) {
        let helpers = self.helpers.get_or_init(|| self.shared.start(self.most));
        let shared = &*self.shared;
        #[allow(unsafe_code)]
        // SAFETY: helpers call `work` only after `is_open` is set below and before `Close::drop` ends. `Close::drop`
        // lets no further helper start and waits for all that have started; `work` outlives `close`.
        let forever = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), Work>(work) };
        *lock(&shared.work) = Some((forever, pieces));
        shared.next.store(0, SeqCst);
        let wanted = threads.min(pieces).saturating_sub(1).min(helpers.len());
        shared.wanted.store(wanted, SeqCst);
        // Remove the panic of an earlier call: if the calling thread panicked there, the panic of a helper was not
        // taken.
        *lock(&shared.panic) = None;
        let close = Close(shared);
        shared.is_open.store(true, SeqCst);
        shared.round.fetch_add(1, SeqCst);
        for (helper, asleep) in helpers.iter().zip(&shared.asleep).take(wanted) {
            if asleep.swap(false, SeqCst) {
                helper.thread().unpark();
            }
        }
        shared.take_pieces(work, pieces);
        drop(close);
        if let Some(panic) = lock(&shared.panic).take() {
            resume_unwind(panic);
        }
    }
}

/// When dropped, prevents further helpers from starting, and waits for the helpers that have started.
struct Close<'a>(&'a Shared);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.is_open.store(false, SeqCst);
        let start = Instant::now();
        while self.0.active.load(SeqCst) > 0 {
            relax(start);
        }
        *lock(&self.0.work) = None;
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, SeqCst);
        for helper in self.helpers.take().into_iter().flatten() {
            helper.thread().unpark();
            // A helper catches all panics of its work.
            let _ = helper.join();
        }
    }
}

impl Shared {
    /// Starts up to `most` helpers: as many as memory and the operating system allow.
    fn start(self: &Arc<Self>, most: usize) -> Vec<JoinHandle<()>> {
        let start = |index| {
            let shared = Arc::clone(self);
            let name = format!("wgrad-{index}");
            let builder = thread::Builder::new().name(name);
            builder.spawn(move || shared.help(index)).ok()
        };
        // Each thread needs memory to pack the operands of matrix products: a failed allocation would abort the
        // program.
        let room = memory::room_for_threads(most + 1).saturating_sub(1);
        (0..most.min(room)).map_while(start).collect()
    }

    /// The main loop of the helper thread with this index.
    fn help(&self, index: usize) {
        let mut seen = 0;
        let mut idle = Instant::now();
        while let Some(round) = self.wait(index, seen, &mut idle) {
            seen = round;
            // A helper that is not wanted does not reset `idle`, so it goes to sleep in time.
            if index >= self.wanted.load(SeqCst) {
                continue;
            }
            self.active.fetch_add(1, SeqCst);
            // This load is ordered after the increment: either `Close` sees this helper as active, or this helper sees
            // that the call is closed.
            let work = if self.is_open.load(SeqCst) {
                *lock(&self.work)
            } else {
                None
            };
            if let Some((work, pieces)) = work {
                let take = AssertUnwindSafe(|| self.take_pieces(work, pieces));
                if let Err(panic) = catch_unwind(take) {
                    lock(&self.panic).get_or_insert(panic);
                }
            }
            self.active.fetch_sub(1, SeqCst);
            idle = Instant::now();
        }
    }

    /// Waits for the next call of [`Team::run`] and returns its number, which differs from `seen`. Returns `None` when
    /// the team has ended. `idle` is the time at which the helper became idle.
    fn wait(&self, index: usize, seen: usize, idle: &mut Instant) -> Option<usize> {
        loop {
            let round = self.round.load(SeqCst);
            if self.has_ended.load(SeqCst) {
                return None;
            }
            if round != seen {
                return Some(round);
            }
            if idle.elapsed() < AWAKE {
                relax(*idle);
                continue;
            }
            self.asleep[index].store(true, SeqCst);
            // This load is ordered after the store: either `run` sees that this helper sleeps, or this helper sees the
            // new call.
            if self.round.load(SeqCst) == seen && !self.has_ended.load(SeqCst) {
                thread::park();
            }
            self.asleep[index].store(false, SeqCst);
            *idle = Instant::now();
        }
    }

    fn take_pieces(&self, work: &(dyn Fn(usize) + Sync), pieces: usize) {
        loop {
            let piece = self.next.fetch_add(1, SeqCst);
            if piece >= pieces {
                return;
            }
            work(piece);
        }
    }
}

/// Waits a moment: spins, or yields if `SPIN` has passed since `start`.
fn relax(start: Instant) {
    if start.elapsed() < SPIN {
        (0..8).for_each(|_| std::hint::spin_loop());
    } else {
        thread::yield_now();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::Team;

    #[test]
    fn every_piece_is_done_once_by_any_number_of_threads() {
        for threads in [0, 1, 2, 3, 8] {
            let mut team = Team::of(threads);
            for pieces in [0, 1, 2, 17, 200].into_iter().cycle().take(500) {
                let done: Vec<_> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
                team.run(threads, pieces, &|piece| {
                    done[piece].fetch_add(1, Ordering::Relaxed);
                });
                assert!(done.iter().all(|done| done.load(Ordering::Relaxed) == 1));
            }
        }
    }

    /// Helpers take some of the long pieces, also after a pause.
    #[test]
    fn helpers_help() {
        let mut team = Team::of(2);
        for rest in [0, 1] {
            thread::sleep(Duration::from_millis(rest));
            let threads = std::sync::Mutex::new(Vec::new());
            team.run(2, 8, &|_| {
                thread::sleep(Duration::from_millis(2));
                super::lock(&threads).push(thread::current().id());
            });
            let mut threads = threads.into_inner().unwrap_or_default();
            threads.sort_unstable_by_key(|id| format!("{id:?}"));
            threads.dedup();
            assert_eq!(threads.len(), 2);
        }
    }

    #[test]
    fn a_panic_is_that_of_the_caller_and_the_team_goes_on() {
        let mut team = Team::of(3);
        for bad in 0..20 {
            let panics = AssertUnwindSafe(|| team.run(3, 20, &|piece| assert_ne!(piece, bad)));
            assert!(catch_unwind(panics).is_err());
            let sum = AtomicUsize::new(0);
            team.run(3, 20, &|piece| {
                sum.fetch_add(piece, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 190);
            // After panics on several threads, no panic remains for a later call.
            let panics = AssertUnwindSafe(|| team.run(3, 20, &|piece| panic!("{piece}")));
            assert!(catch_unwind(panics).is_err());
            team.run(3, 20, &|_| {});
        }
    }
}
