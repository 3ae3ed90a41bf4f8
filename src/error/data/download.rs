//! The reasons why a download failed.

use super::DataError;

/// One mirror's failure to deliver a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[error("{url}: {reason}")]
pub struct DownloadAttempt {
    /// The requested URL.
    pub url: String,
    /// Why the mirror did not deliver the file.
    #[source]
    pub reason: DownloadFailure,
}

/// The reason why a mirror did not deliver a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadFailure {
    /// The server answered with an HTTP error status.
    #[error("expected HTTP status 200, found {found}")]
    Status {
        /// The HTTP status.
        found: u16,
    },
    /// The server could not be reached, or the transfer was interrupted.
    #[error("the transfer failed: {source}")]
    Transfer {
        /// The error of the HTTP client.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server sent more bytes than the largest accepted file has.
    #[error("expected at most {maximum} bytes, found more")]
    TooLarge {
        /// Largest accepted size, in bytes.
        maximum: u64,
    },
    /// The received file is malformed.
    #[error("the transfer delivered something else: {source}")]
    Malformed {
        /// What is wrong with the file.
        source: Box<DataError>,
    },
    /// The received file is well-formed, but it is not the original MNIST file.
    #[error(
        "the mirror delivered another file than the original: expected unpacked contents with SHA-256 {expected}, found {found}"
    )]
    Checksum {
        /// SHA-256 of the unpacked original file, in hexadecimal.
        expected: &'static str,
        /// SHA-256 of the unpacked contents of the received file, in hexadecimal.
        found: String,
    },
}

pub(super) fn listed(attempts: &[DownloadAttempt]) -> String {
    let lines: Vec<_> = attempts.iter().map(ToString::to_string).collect();
    if lines.is_empty() {
        return "no mirror to ask".to_owned();
    }
    lines.join("; ")
}
