//! Work that cores share: the one place that knows whether there are several.

#[cfg(feature = "gemm")]
use std::cell::Cell;

/// Whether there are threads to share with: where none can be made, rayon would panic.
#[cfg(feature = "gemm")]
pub(super) fn has_threads() -> bool {
    use std::sync::LazyLock;

    static HAS_THREADS: LazyLock<bool> = LazyLock::new(start);
    *HAS_THREADS
}

/// Starts as many threads as rayon would, or fewer where a limit of addresses has no room for them: a thread that cannot
/// allocate what it packs products in ends the program.
#[cfg(feature = "gemm")]
fn start() -> bool {
    use std::error::Error;
    use std::{env, num::NonZero, thread};

    let asked = env::var("RAYON_NUM_THREADS").ok();
    let asked = asked.and_then(|asked| asked.parse().ok());
    let cores = || thread::available_parallelism().map_or(1, NonZero::get);
    let asked = asked.filter(|&asked| asked > 0).unwrap_or_else(cores);
    let threads = crate::memory::room_for_threads(asked);
    // One thread is no faster than that which asks.
    if threads < asked.min(2) {
        return false;
    }
    match rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
    {
        Ok(()) => true,
        // Without a source the pool is there already.
        Err(error) => error.source().is_none(),
    }
}

#[cfg(feature = "gemm")]
thread_local! {
    /// Threads that share what this one hands out, at the most.
    static WIDTH: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Threads of the pool that this one would share work with.
pub(super) fn threads() -> usize {
    #[cfg(feature = "gemm")]
    if has_threads() {
        return rayon::current_num_threads();
    }
    1
}

/// Threads that share what this one hands out.
#[cfg(feature = "gemm")]
pub(super) fn width() -> usize {
    threads().min(WIDTH.get())
}

/// Runs `work`, which as many threads share at the most, this one among them.
#[cfg(feature = "gemm")]
pub(super) fn with<R>(width: usize, work: impl FnOnce() -> R) -> R {
    /// What holds again when this is dropped.
    struct Before(usize);

    impl Drop for Before {
        fn drop(&mut self) {
            WIDTH.set(self.0);
        }
    }

    let _before = Before(WIDTH.replace(width));
    work()
}

/// Runs `work`, for which there is one thread.
#[cfg(not(feature = "gemm"))]
pub(super) fn with<R>(_: usize, work: impl FnOnce() -> R) -> R {
    work()
}

/// Runs steps where sharing out their work is cheap: on one of the threads that take a part of it.
pub(super) fn enter<R: Send>(steps: impl FnOnce() -> R + Send) -> R {
    #[cfg(feature = "gemm")]
    if has_threads() {
        return rayon::scope(|_| steps());
    }
    steps()
}

/// Calls `work` with the index and the elements of every chunk; all are `size` long but the last.
pub(super) fn for_each_chunk<T: Send>(
    slice: &mut [T],
    size: usize,
    work: impl Fn(usize, &mut [T]) + Sync,
) {
    #[cfg(feature = "gemm")]
    if width() > 1 {
        use rayon::prelude::*;

        let chunks = slice.par_chunks_mut(size).enumerate();
        let least = of_thread(chunks.len());
        return chunks
            .with_min_len(least)
            .for_each(|(at, chunk)| work(at, chunk));
    }
    for (at, chunk) in slice.chunks_mut(size).enumerate() {
        work(at, chunk);
    }
}

/// Of so many pieces, those that a thread takes at once: where all threads share them few, so that a core which is slow
/// or taken away costs little; else as many as leave no more for further threads.
#[cfg(feature = "gemm")]
fn of_thread(pieces: usize) -> usize {
    let width = width();
    match width < threads() {
        true => pieces.div_ceil(width),
        false => 1,
    }
}

/// Parts that the rows of a minibatch are cut into at the most, whatever the number of cores.
pub(super) const PARTS: usize = 16;

/// Rows of each part but the last.
pub(super) fn rows_of_part(rows: usize) -> usize {
    rows.div_ceil(PARTS).max(1)
}

/// Calls `work` with every part; cores share them, where that is worth it. Who takes which depends on time alone, so that
/// each part writes what no other does.
pub(super) fn for_each_part<T: Send>(
    parts: impl Iterator<Item = T>,
    is_shared: bool,
    work: impl Fn(T) + Sync,
) {
    #[cfg(feature = "gemm")]
    if is_shared && width() > 1 {
        use rayon::prelude::*;

        let parts: Vec<T> = parts.collect();
        let least = of_thread(parts.len());
        return parts.into_par_iter().with_min_len(least).for_each(&work);
    }
    let _ = is_shared;
    parts.for_each(work);
}

#[cfg(all(test, feature = "gemm"))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::TwoLayerNet;
    use crate::cpu::{Network, Trainer};
    use crate::data::{Sampling, synthetic};
    use crate::ops::{Sgd, SoftmaxCrossEntropy};

    /// Narrow and wide first layers: over pixels that are not 0, and as products of dense matrices.
    #[test]
    fn bits_do_not_depend_on_the_number_of_threads() {
        let digits = synthetic::digits_of(1, 300, 1).unwrap().train;
        for hidden in [50, 400] {
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                let steps = || {
                    let spec = TwoLayerNet::spec(784, hidden, 10).seed(2);
                    let sampling = Sampling::WithReplacement { seed: 3 };
                    let mut trainer = Trainer::new(
                        Network::<f32>::new(&spec).unwrap(),
                        SoftmaxCrossEntropy,
                        Sgd::new(0.1),
                        &digits,
                        75,
                        sampling,
                    )
                    .unwrap();
                    let losses = trainer.steps(20).unwrap();
                    let bits: Vec<u32> = losses.into_iter().map(f32::to_bits).collect();
                    (bits, trainer.network().parameters())
                };
                pool.build().unwrap().install(steps)
            };
            let expected = run(1);
            for threads in [2, 3, 8] {
                assert!(
                    run(threads) == expected,
                    "{hidden} outputs, {threads} threads"
                );
            }
        }
    }
}
