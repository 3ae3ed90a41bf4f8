//! Errors of data sets, of their files and of downloads.

use std::fmt;

mod columns;
#[cfg(feature = "download")]
mod download;
mod fault;
mod one_hot;
mod row_number;
mod rows;
mod words;

pub use self::columns::{CellFault, CellKind, ColumnsError};
#[cfg(feature = "download")]
pub use self::download::{DownloadAttempt, DownloadFailure};
pub use self::fault::DataError;
pub use self::one_hot::NotOneHot;
pub use self::row_number::RowNumber;
pub use self::rows::RowsError;

/// Prints the same message as `Display`, because a `main` that returns an error prints `Debug`.
impl fmt::Debug for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
