//! Threads that share short work of a few microseconds. Between two pieces of work they spin instead of sleeping,
//! because waking a thread takes longer than the work. Nobody waits for a thread that has not started: if another
//! program occupies its core, the other threads do all the work.

use std::fmt::{self, Debug, Formatter};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::memory;

/// How long an idle thread spins before it yields, and how long it stays awake before it sleeps.
const SPIN: Duration = Duration::from_micros(100);
const AWAKE: Duration = Duration::from_micros(300);

/// The work on each piece, given its index. The reference is valid until [`Close`] is dropped.
type Work = &'static (dyn Fn(usize) + Sync);

/// Threads that help the calling thread. They are started when work is first shared, and end when the team is dropped.
pub(super) struct Team {
    shared: Arc<Shared>,
    helpers: OnceLock<Vec<JoinHandle<()>>>,
    /// Maximum number of helpers.
    most: usize,
}

/// State that all threads share.
struct Shared {
    /// Number of calls of [`Team::run`]: a new number means new work.
    round: AtomicUsize,
    /// Whether helpers may start on the present work.
    is_open: AtomicBool,
    /// Helpers that have started and not ended.
    active: AtomicUsize,
    /// Number of helpers wanted for the present work.
    wanted: AtomicUsize,
    /// Index of the next piece to be taken.
    next: AtomicUsize,
    work: Mutex<Option<(Work, usize)>>,
    /// For each helper, whether it sleeps or is about to.
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
    /// Makes a team of `threads` threads, including the calling one.
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

    /// Number of threads at most, including the calling one.
    pub(super) fn threads(&self) -> usize {
        self.most + 1
    }

    /// Calls `work` with every index below `pieces`, on at most `threads` threads. `&mut self` ensures that a team runs
    /// one call at a time.
    ///
    /// # Panics
    /// When `work` panics.
    pub(super) fn run(&mut self, threads: usize, pieces: usize, work: &(dyn Fn(usize) + Sync)) {
        let helpers = self.helpers.get_or_init(|| self.shared.start(self.most));
        let shared = &*self.shared;
        #[allow(unsafe_code)]
        // SAFETY: helpers call `work` only between the opening below and the end of `Close::drop`, which lets no
        // further helper start and waits for all that have started; `work` outlives that.
        let forever = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), Work>(work) };
        *lock(&shared.work) = Some((forever, pieces));
        shared.next.store(0, SeqCst);
        let wanted = threads.min(pieces).saturating_sub(1).min(helpers.len());
        shared.wanted.store(wanted, SeqCst);
        // An earlier call may have left a helper's panic, if it ended by a panic of the calling thread.
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

/// When dropped, lets no further helper start, and waits for those that have started.
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
    /// Starts as many helpers as possible.
    fn start(self: &Arc<Self>, most: usize) -> Vec<JoinHandle<()>> {
        let start = |index| {
            let shared = Arc::clone(self);
            let name = format!("wgrad-{index}");
            let builder = thread::Builder::new().name(name);
            builder.spawn(move || shared.help(index)).ok()
        };
        // A thread must have memory to pack operands of products: failing to allocate it would abort the program.
        let room = memory::room_for_threads(most + 1).saturating_sub(1);
        (0..most.min(room)).map_while(start).collect()
    }

    /// The main loop of a helper.
    fn help(&self, index: usize) {
        let mut seen = 0;
        let mut idle = Instant::now();
        while let Some(round) = self.wait(index, seen, &mut idle) {
            seen = round;
            // A helper that is not wanted keeps idling, and so goes to sleep.
            if index >= self.wanted.load(SeqCst) {
                continue;
            }
            self.active.fetch_add(1, SeqCst);
            // Ordered after the increment: either `Close` sees this helper as active, or this helper sees that it is
            // closed.
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

    /// Waits for the next round and returns its number; `None` when the team has ended. The helper is idle since
    /// `idle`.
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
            // Ordered after the store: either `run` sees that this helper sleeps, or this helper sees the new round.
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

/// Waits a moment: spins at first, and yields once `SPIN` has passed since `start`.
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

    /// Long pieces are shared, also after a rest.
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
            // After several panics, none is left for a later call.
            let panics = AssertUnwindSafe(|| team.run(3, 20, &|piece| panic!("{piece}")));
            assert!(catch_unwind(panics).is_err());
            team.run(3, 20, &|_| {});
        }
    }
}
