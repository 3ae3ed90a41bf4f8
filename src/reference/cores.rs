//! Work that cores share: the one place that knows whether there are several.

/// Whether there are threads to share with: where none can be made, rayon would panic.
#[cfg(feature = "gemm")]
pub(super) fn has_threads() -> bool {
    use std::error::Error;
    use std::sync::LazyLock;

    static HAS_THREADS: LazyLock<bool> = LazyLock::new(|| {
        match rayon::ThreadPoolBuilder::new().build_global() {
            Ok(()) => true,
            // Without a source the pool is there already.
            Err(error) => error.source().is_none(),
        }
    });
    *HAS_THREADS
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
    if has_threads() {
        use rayon::prelude::*;

        let chunks = slice.par_chunks_mut(size).enumerate();
        return chunks.for_each(|(at, chunk)| work(at, chunk));
    }
    for (at, chunk) in slice.chunks_mut(size).enumerate() {
        work(at, chunk);
    }
}
