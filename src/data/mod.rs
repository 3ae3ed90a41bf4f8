//! Data sets, as plain memory: this module knows no GPU.

mod dataset;
mod error;
pub mod mnist;
pub mod sampling;
pub mod synthetic;
mod table;

pub use dataset::{Dataset, Labels, Split};
pub use error::{DataError, NotOneHot};
#[cfg(feature = "download")]
pub use error::{DownloadAttempt, DownloadFailure};
pub use sampling::Sampling;
pub(crate) use table::Memory;
pub use table::{Examples, Table, Targets};
