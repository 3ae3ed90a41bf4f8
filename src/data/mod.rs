//! Data sets, as plain memory: this module knows no GPU.

mod dataset;
mod digest;
pub mod mnist;
pub mod sampling;
#[cfg(not(target_arch = "wasm32"))]
mod stream;
pub mod synthetic;
mod table;

pub use crate::error::{DataError, NotOneHot};
#[cfg(feature = "download")]
pub use crate::error::{DownloadAttempt, DownloadFailure};
pub use dataset::{Dataset, Labels, Split};
pub(crate) use digest::hash_words;
pub use sampling::Sampling;
#[cfg(not(target_arch = "wasm32"))]
pub use stream::Stream;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use stream::{Layout, windows::Rows, windows::Windows};
pub(crate) use table::Memory;
pub use table::{Examples, Table, Targets};
