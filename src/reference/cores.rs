//! Work that cores share: the one place that knows whether there are several.

/// Runs steps where sharing out their work is cheap: on one of the threads that take a part of it.
#[cfg(feature = "gemm")]
pub(super) fn enter<R: Send>(steps: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| steps())
}

/// Runs steps where sharing out their work is cheap: anywhere, as one core does it all.
#[cfg(not(feature = "gemm"))]
pub(super) fn enter<R: Send>(steps: impl FnOnce() -> R + Send) -> R {
    steps()
}

/// Calls `work` with the index and the elements of every chunk; all are `size` long but the last.
pub(super) fn for_each_chunk<T: Send>(
    slice: &mut [T],
    size: usize,
    work: impl Fn(usize, &mut [T]) + Sync,
) {
    #[cfg(feature = "gemm")]
    {
        use rayon::prelude::*;

        let chunks = slice.par_chunks_mut(size).enumerate();
        chunks.for_each(|(at, chunk)| work(at, chunk));
    }
    #[cfg(not(feature = "gemm"))]
    for (at, chunk) in slice.chunks_mut(size).enumerate() {
        work(at, chunk);
    }
}
