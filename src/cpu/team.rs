//! Threads that share short work, of microseconds: between two pieces of work they do not sleep, as waking one takes longer
//! than the work does. Nobody waits for a thread that has not begun: where another program has its core, the others do
//! all of it.

use std::fmt::{self, Debug, Formatter};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::memory;

/// How long a thread looks for work before it lets others run in between, and before it sleeps.
const SPIN: Duration = Duration::from_micros(100);
const AWAKE: Duration = Duration::from_micros(300);

/// What is done with each piece, by its index. It lives until [`Close`] is dropped.
type Work = &'static (dyn Fn(usize) + Sync);

/// Threads that help the one that asks. They are started when work is first shared, and end with this.
pub(super) struct Team {
    shared: Arc<Shared>,
    helpers: OnceLock<Vec<JoinHandle<()>>>,
    /// Helpers, at the most.
    most: usize,
}

/// What all threads look at.
struct Shared {
    /// Calls of [`Team::run`]: a new one is work.
    round: AtomicUsize,
    /// Whether helpers may begin.
    is_open: AtomicBool,
    /// Helpers that have begun.
    active: AtomicUsize,
    /// Helpers that may.
    wanted: AtomicUsize,
    /// The next piece that nobody has.
    next: AtomicUsize,
    work: Mutex<Option<(Work, usize)>>,
    /// Helpers that sleep, or are about to.
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
    /// Of so many threads, the one that asks among them.
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

    /// Threads at the most, the one that asks among them.
    pub(super) fn threads(&self) -> usize {
        self.most + 1
    }

    /// Calls `work` with every index below `pieces`, on so many threads at the most. The caller's threads are one at a
    /// time: `&mut` says so.
    ///
    /// # Panics
    /// As `work` does.
    pub(super) fn run(&mut self, threads: usize, pieces: usize, work: &(dyn Fn(usize) + Sync)) {
        let helpers = self.helpers.get_or_init(|| self.shared.start(self.most));
        let shared = &*self.shared;
        #[allow(unsafe_code)]
        // SAFETY: helpers call it only between `open` and the end of `Close::drop`, which waits for all that have begun,
        // and lets none begin any more; `work` outlives that.
        let forever = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), Work>(work) };
        *lock(&shared.work) = Some((forever, pieces));
        shared.next.store(0, SeqCst);
        let wanted = threads.min(pieces).saturating_sub(1).min(helpers.len());
        shared.wanted.store(wanted, SeqCst);
        // A panic may be left of a call that ended by one of its own.
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

/// Lets no helper begin any more, and waits for those that have.
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
            // It catches whatever panics.
            let _ = helper.join();
        }
    }
}

impl Shared {
    /// As many helpers as can be started.
    fn start(self: &Arc<Self>, most: usize) -> Vec<JoinHandle<()>> {
        let start = |index| {
            let shared = Arc::clone(self);
            let name = format!("wgrad-{index}");
            let builder = thread::Builder::new().name(name);
            builder.spawn(move || shared.help(index)).ok()
        };
        // A thread that cannot allocate what it packs products in ends the program.
        let room = memory::room_for_threads(most + 1).saturating_sub(1);
        (0..most.min(room)).map_while(start).collect()
    }

    /// What a helper does all its life.
    fn help(&self, index: usize) {
        let mut seen = 0;
        let mut idle = Instant::now();
        while let Some(round) = self.wait(index, seen, &mut idle) {
            seen = round;
            // Whoever is not wanted sleeps in time.
            if index >= self.wanted.load(SeqCst) {
                continue;
            }
            self.active.fetch_add(1, SeqCst);
            // After the line before: whoever closes sees that, or this sees that it is closed.
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

    /// The number of the next round; `None` at the end. The helper has had no work since `idle`.
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
            // After the line before: whoever begins a round sees that, or this sees the round.
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

/// A moment of waiting since `start`.
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

    /// Pieces that last are shared, after any rest.
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
            // Of several panics none is left for a later call.
            let panics = AssertUnwindSafe(|| team.run(3, 20, &|piece| panic!("{piece}")));
            assert!(catch_unwind(panics).is_err());
            team.run(3, 20, &|_| {});
        }
    }
}
