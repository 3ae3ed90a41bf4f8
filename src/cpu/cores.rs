//! Divides work among cores. Only this module knows whether there are several cores.

#[cfg(not(target_arch = "wasm32"))]
mod native;

#[cfg(test)]
pub(super) use native::with_threads;
#[cfg(not(target_arch = "wasm32"))]
pub(super) use native::{threads, with};

/// Maximum number of parts into which the rows of a minibatch are cut. It does not depend on the number of cores, so
/// that no result depends on the number of cores.
pub(super) const PARTS: usize = 16;

/// Returns the number of rows in each part; the last part may have fewer.
pub(super) fn rows_of_part(rows: usize) -> usize {
    rows.div_ceil(PARTS).max(1)
}

/// Cuts a slice into chunks of `size` elements, and calls `work` on several cores with the index and the elements of
/// every chunk. The last chunk may have fewer elements.
pub(super) fn for_each_chunk<T: Send>(
    slice: &mut [T],
    size: usize,
    work: impl Fn(usize, &mut [T]) + Sync,
) {
    let chunks = slice.chunks_mut(size).enumerate();
    for_each_part(chunks, true, |(at, chunk)| work(at, chunk));
}

/// Calls `work` with every part; with `is_shared`, on several cores. Which core gets which part depends on timing, so
/// the work on each part must write only to that part's memory.
pub(super) fn for_each_part<T: Send>(
    parts: impl Iterator<Item = T>,
    is_shared: bool,
    work: impl Fn(T) + Sync,
) {
    #[cfg(not(target_arch = "wasm32"))]
    if is_shared && native::width() > 1 {
        return native::share(parts, work);
    }
    let _ = is_shared;
    parts.for_each(work);
}

/// Maximum number of threads that share work: 1 in a browser's worker.
#[cfg(target_arch = "wasm32")]
pub(super) fn threads() -> usize {
    1
}

/// Number of threads among which this thread may divide its work, including itself.
pub(super) fn width() -> usize {
    #[cfg(not(target_arch = "wasm32"))]
    return native::width();
    #[cfg(target_arch = "wasm32")]
    1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::TwoLayerNet;
    use crate::cpu::{Network, Trainer};
    use crate::data::{Sampling, synthetic};
    use crate::ops::{Sgd, SoftmaxCrossEntropy};

    /// A first layer with few outputs skips, in each row separately, the pixels that are 0. A first layer with many
    /// outputs uses blocks of rows or dense matrix products.
    #[test]
    fn bits_do_not_depend_on_the_number_of_threads() {
        let digits = synthetic::digits_of(1, 300, 1).unwrap().train;
        for hidden in [50, 400] {
            let run = |threads| {
                super::with_threads(threads, || {
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
                })
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
