//! Data sets, as plain memory: this module knows no GPU.

mod dataset;
mod digest;
mod error;
pub mod mnist;
pub mod sampling;
pub mod synthetic;
mod table;

pub use dataset::{Dataset, Labels, Split};
pub(crate) use digest::hash_words;
pub use error::{DataError, NotOneHot};
#[cfg(feature = "download")]
pub use error::{DownloadAttempt, DownloadFailure};
pub use sampling::Sampling;
pub(crate) use table::Memory;
pub use table::{Examples, Table, Targets};
