//! Arrays that lie dense in memory, row by row.

/// The elements of an array that the engine has made, and made dense.
#[expect(clippy::expect_used, reason = "anything else is a bug of ours")]
pub(super) fn dense<T>(slice: Option<T>) -> T {
    slice.expect("cpu: arrays lie dense in memory")
}
