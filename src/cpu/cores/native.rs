//! Divides work among threads, on platforms that have threads.

use std::cell::Cell;
use std::num::NonZero;
use std::sync::{LazyLock, Mutex, PoisonError, TryLockError};
use std::{env, thread};

use super::super::team::Team;

thread_local! {
    /// Maximum number of threads among which this thread may divide its work.
    static WIDTH: Cell<usize> = const { Cell::new(usize::MAX) };
    /// The team of the trainer that runs a step on this thread.
    static TEAM: Cell<Option<Team>> = const { Cell::new(None) };
    #[cfg(test)]
    static THREADS: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The team for all work outside of a trainer's steps, such as evaluations. A thread that finds the team in use by
/// another thread does all of its work itself.
static TEAM_OF_ALL: Mutex<Option<Team>> = Mutex::new(None);

/// Maximum number of threads that a user may request. Each thread's stack takes memory mappings, and the number of
/// mappings per process is limited (to 65,530 on Linux). A thread that cannot map its stack ends the program.
const MOST_ASKED: usize = 1 << 10;

/// Maximum number of threads that share work: the number of cores, or the value of the environment variable
/// `WGRAD_THREADS`.
static CORES: LazyLock<usize> = LazyLock::new(|| {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    threads_of(env::var("WGRAD_THREADS").ok().as_deref(), cores)
});

/// Returns the requested number of threads if it is valid, otherwise the number of cores.
fn threads_of(asked: Option<&str>, cores: usize) -> usize {
    let asked = asked.and_then(|asked| asked.parse().ok());
    let asked = asked.filter(|&asked| asked > 0);
    asked.map_or(cores, |asked: usize| asked.min(MOST_ASKED))
}

/// Maximum number of threads that share work, including the thread that divides it.
pub(in super::super) fn threads() -> usize {
    #[cfg(test)]
    if let Some(threads) = THREADS.get() {
        return threads;
    }
    *CORES
}

/// Runs `work` as if the machine had `threads` cores.
#[cfg(test)]
pub(in super::super) fn with_threads<R>(threads: usize, work: impl FnOnce() -> R) -> R {
    let before = THREADS.replace(Some(threads));
    let result = work();
    THREADS.set(before);
    result
}

pub(super) fn width() -> usize {
    // The width is 1 on a thread that works on a piece: it does not divide the piece further.
    match WIDTH.get() {
        1 => 1,
        width => width.min(threads()),
    }
}

/// Runs `work`, which may divide its own work among at most `width` threads of `team`.
pub(in super::super) fn with<R>(
    width: usize,
    team: &mut Option<Team>,
    work: impl FnOnce() -> R,
) -> R {
    /// When dropped, restores this thread's earlier width and team, and moves `team` back to the caller.
    struct Before<'a>(usize, Option<Team>, &'a mut Option<Team>);

    impl Drop for Before<'_> {
        fn drop(&mut self) {
            WIDTH.set(self.0);
            *self.2 = TEAM.replace(self.1.take());
        }
    }

    let outside = TEAM.replace(team.take());
    let _before = Before(WIDTH.replace(width), outside, team);
    work()
}

/// Calls `work` with every part, on several threads of this thread's team. A thread without a team uses
/// [`TEAM_OF_ALL`].
pub(super) fn share<T: Send>(parts: impl Iterator<Item = T>, work: impl Fn(T) + Sync) {
    let parts: Vec<_> = parts.map(|part| Mutex::new(Some(part))).collect();
    let piece = |at: usize| {
        let part = parts[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        part.into_iter().for_each(&work);
    };
    let threads = width();
    if let Some(mut team) = TEAM.take() {
        run(&mut team, threads, parts.len(), &piece);
        TEAM.set(Some(team));
        return;
    }
    let team = match TEAM_OF_ALL.try_lock() {
        Ok(team) => Some(team),
        Err(TryLockError::Poisoned(team)) => Some(team.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    };
    match team {
        Some(mut team) => {
            let is_smaller = |team: &mut Team| team.threads() < threads;
            drop(team.take_if(is_smaller));
            let team = team.get_or_insert_with(|| Team::of(threads));
            run(team, threads, parts.len(), &piece);
        }
        None => (0..parts.len()).for_each(piece),
    }
}

/// Runs the pieces on a team. The work on a piece is not divided further.
fn run(team: &mut Team, threads: usize, pieces: usize, piece: &(dyn Fn(usize) + Sync)) {
    team.run(threads, pieces, &|at| {
        with(1, &mut None, || piece(at));
    });
}

#[cfg(test)]
mod tests {
    use super::{MOST_ASKED, threads_of};

    #[test]
    fn threads_are_those_asked_for_within_reason() {
        for (asked, threads) in [
            (None, 2),
            (Some(""), 2),
            (Some("0"), 2),
            (Some("-3"), 2),
            (Some("many"), 2),
            (Some("1"), 1),
            (Some("64"), 64),
            (Some("1000000"), MOST_ASKED),
        ] {
            assert_eq!(threads_of(asked, 2), threads, "{asked:?}");
        }
    }
}
