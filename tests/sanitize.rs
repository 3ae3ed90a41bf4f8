//! Interprets every kernel of the crate at the smallest shapes that reach every branch. There must be no data race,
//! no divergent barrier, no access out of bounds and no read of unwritten memory. The result must be the same in
//! every order of the invocations, and equal to the device's.
//!
//! None of these faults is visible on a software driver. `cargo xtask sanitize` also interprets all shapes of the
//! parity tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "sanitize/coverage.rs"]
mod coverage;
#[path = "common/gpu.rs"]
mod gpu;
#[path = "sanitize/heads.rs"]
mod heads;
#[path = "sanitize/kernels.rs"]
mod kernels;
#[path = "common/layers.rs"]
mod layers;
#[path = "sanitize/nan.rs"]
mod nan;
#[path = "sanitize/trainings.rs"]
mod trainings;

use std::sync::atomic::{AtomicUsize, Ordering};

use coverage::Coverage;

/// A name, and a function that interprets plans.
type Case = (String, Box<dyn Fn(&Coverage) + Send + Sync>);

/// Stops all threads after a failure: if this value is dropped during a panic, no thread starts another case.
struct StopAll<'a>(&'a AtomicUsize);

impl Drop for StopAll<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(usize::MAX / 2, Ordering::Relaxed);
        }
    }
}

#[test]
fn every_kernel_is_clean_and_every_block_is_reached() {
    let cases: Vec<Case> = kernels::cases()
        .into_iter()
        .chain(heads::cases())
        .chain(trainings::cases())
        .collect();
    let coverage = Coverage::default();
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _stop = StopAll(&next);
                while let Some((_, case)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    case(&coverage);
                }
            });
        }
    });
    println!("{coverage}");
    coverage.assert_complete();
}
