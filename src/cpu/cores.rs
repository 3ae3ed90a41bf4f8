//! Work that cores share: the one place that knows whether there are several.

#[cfg(not(target_arch = "wasm32"))]
mod native;

#[cfg(test)]
pub(super) use native::with_threads;
#[cfg(not(target_arch = "wasm32"))]
pub(super) use native::{threads, with};

/// Parts that the rows of a minibatch are cut into at the most, whatever the number of cores.
pub(super) const PARTS: usize = 16;

/// Rows of each part but the last.
pub(super) fn rows_of_part(rows: usize) -> usize {
    rows.div_ceil(PARTS).max(1)
}

/// Calls `work` with the index and the elements of every chunk; all are `size` long but the last. Cores share them.
pub(super) fn for_each_chunk<T: Send>(
    slice: &mut [T],
    size: usize,
    work: impl Fn(usize, &mut [T]) + Sync,
) {
    let chunks = slice.chunks_mut(size).enumerate();
    for_each_part(chunks, true, |(at, chunk)| work(at, chunk));
}

/// Calls `work` with every part; cores share them, where that is worth it. Who takes which depends on time alone, so that
/// each part writes what no other does.
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

/// Threads that share work: a browser's worker has one.
#[cfg(target_arch = "wasm32")]
pub(super) fn threads() -> usize {
    1
}

/// Threads that share what this one hands out.
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

    /// Narrow and wide first layers: over pixels that are not 0, and as products of dense matrices.
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
