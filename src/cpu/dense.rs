//! Arrays that are contiguous in memory, row by row.

/// Unwraps the elements of an array that this engine has allocated, and so is contiguous.
#[expect(clippy::expect_used, reason = "anything else is a bug of ours")]
pub(super) fn dense<T>(slice: Option<T>) -> T {
    slice.expect("cpu: arrays lie dense in memory")
}
