//! Why a download failed.

use super::DataError;

/// One mirror's failure to deliver a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[error("{url}: {reason}")]
pub struct DownloadAttempt {
    /// The address asked.
    pub url: String,
    /// Why it did not deliver.
    #[source]
    pub reason: DownloadFailure,
}

/// Why a mirror did not deliver a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadFailure {
    /// The server answered with a status other than success.
    #[error("expected HTTP status 200, found {found}")]
    Status {
        /// The HTTP status.
        found: u16,
    },
    /// The server could not be reached, or the transfer broke off.
    #[error("the transfer failed: {source}")]
    Transfer {
        /// What the HTTP client met.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server sent more than any of the files has.
    #[error("expected at most {maximum} bytes, found more")]
    TooLarge {
        /// The most bytes accepted.
        maximum: u64,
    },
    /// What the server sent is no well-formed file.
    #[error("the transfer delivered something else: {source}")]
    Malformed {
        /// What is wrong with it.
        source: Box<DataError>,
    },
    /// What the server sent is well-formed but not the original file.
    #[error("expected contents of SHA-256 {expected}, found {found}")]
    Checksum {
        /// SHA-256 of the unpacked original, in hexadecimal.
        expected: &'static str,
        /// SHA-256 of the unpacked contents, in hexadecimal.
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
