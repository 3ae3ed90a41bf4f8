//! Runs independent pieces of work in parallel.

#[cfg(not(target_arch = "wasm32"))]
use std::panic::resume_unwind;
#[cfg(not(target_arch = "wasm32"))]
use std::sync::atomic::{AtomicUsize, Ordering};
#[cfg(not(target_arch = "wasm32"))]
use std::{num::NonZero, thread};

/// Applies `work` to each item, on as many threads as there are cores, including this one. The results have the order
/// of the items. If a thread cannot be started, the other threads do its work.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let take = || {
        let at = next.fetch_add(1, Ordering::Relaxed);
        items.get(at).map(|item| (at, work(item)))
    };
    let worker = || std::iter::from_fn(take).collect::<Vec<_>>();
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let mut results = thread::scope(|scope| {
        let spawn = |_| thread::Builder::new().spawn_scoped(scope, worker).ok();
        let others: Vec<_> = (1..cores.min(items.len())).filter_map(spawn).collect();
        let mut results = worker();
        for other in others {
            results.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        results
    });
    results.sort_unstable_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Applies `work` to each item in order, because a browser's page has only one thread.
#[cfg(target_arch = "wasm32")]
pub(crate) fn map<T, R>(items: &[T], work: impl Fn(&T) -> R) -> Vec<R> {
    items.iter().map(work).collect()
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::map;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        for count in [0, 1, 2, 1000] {
            let items: Vec<usize> = (0..count).collect();
            let squares: Vec<_> = items.iter().map(|item| item * item).collect();
            assert_eq!(map(&items, |item| item * item), squares);
        }
    }

    #[test]
    fn a_panic_of_the_work_is_one_of_the_caller() {
        for bad in 0..4 {
            let work = |&item: &usize| assert_ne!(item, bad);
            assert!(catch_unwind(AssertUnwindSafe(|| map(&[0, 1, 2, 3], work))).is_err());
        }
    }
}
