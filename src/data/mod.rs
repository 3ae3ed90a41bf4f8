//! Data sets in CPU memory. This module needs no GPU.

mod columns;
mod dataset;
mod digest;
pub mod mnist;
mod parts;
mod records;
pub mod sampling;
#[cfg(not(target_arch = "wasm32"))]
mod stream;
pub mod synthetic;
mod table;

pub use crate::error::{
    CellFault, CellKind, ColumnsError, DataError, NotOneHot, RowNumber, RowsError,
};
#[cfg(feature = "download")]
pub use crate::error::{DownloadAttempt, DownloadFailure};
pub use columns::{Category, Columns, FittedColumns, Number, RowEncoder, Target};
pub use dataset::{Dataset, Labels, Split};
pub(crate) use digest::hash_words;
pub use records::{Csv, Records};
pub use sampling::Sampling;
#[cfg(not(target_arch = "wasm32"))]
pub use stream::Stream;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use stream::{Layout, windows::Rows, windows::Windows};
pub(crate) use table::Memory;
pub use table::{Examples, Table, Targets, ToExamples};
