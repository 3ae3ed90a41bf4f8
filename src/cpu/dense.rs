//! Arrays that are contiguous in memory, row by row.

/// Unwraps the slice of an array. All arrays that this engine allocates are contiguous, so the slice exists.
#[expect(clippy::expect_used, reason = "anything else is a bug of ours")]
pub(super) fn dense<T>(slice: Option<T>) -> T {
    slice.expect("cpu: arrays lie dense in memory")
}
