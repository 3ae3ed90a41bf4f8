//! Downloads the original MNIST from public mirrors.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::gzip;
use super::idx::Idx;
use super::names::{FILES, Original, Place};
use crate::data::{DataError, Split};
use crate::error::{DownloadAttempt, DownloadFailure};
use crate::files::{self, FileError};

/// Public mirrors of the original files, in the order in which [`download`] asks them.
pub const MIRRORS: [&str; 2] = [
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
];

/// The largest accepted gzipped file, in bytes. The largest original has 10 MB.
const MAX_GZIPPED_BYTES: u64 = 16 << 20;

/// The progress of one file's download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Name of the file, for example `train-images-idx3-ubyte.gz`.
    pub file: &'static str,
    /// Bytes received so far; 0 when a mirror begins to answer.
    pub received: u64,
    /// Bytes of the whole file, if the mirror announced them.
    pub total: Option<u64>,
}

/// How long to wait for a mirror.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// For a connection, including the name lookup.
    connect: Duration,
    /// For the next byte.
    stall: Duration,
    /// For a whole file. This limit ends a mirror that sends only a few bytes at a time.
    file: Duration,
}

const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(10),
    stall: Duration::from_secs(30),
    file: Duration::from_secs(30 * 60),
};

/// The directory for MNIST in the user's cache, on Linux `~/.cache/wgrad/mnist`.
///
/// `None` when the system has no cache directory. The returned directory need not exist.
#[must_use]
pub fn cache_dir() -> Option<PathBuf> {
    dirs::cache_dir().map(|cache| cache.join("wgrad").join("mnist"))
}

/// Finds MNIST on this machine: the directory in the environment variable `MNIST_DIR`, or else [`cache_dir`] if it
/// holds the four files.
///
/// This function does not look into the `MNIST_DIR` directory. If something is wrong with it, opening it reports what.
#[must_use]
pub fn locate() -> Option<PathBuf> {
    locate_in(env::var_os("MNIST_DIR"), cache_dir())
}

/// The directory of an environment variable that is set and not empty.
fn named(variable: Option<OsString>) -> Option<PathBuf> {
    variable
        .filter(|named| !named.is_empty())
        .map(PathBuf::from)
}

fn locate_in(named: Option<OsString>, cache: Option<PathBuf>) -> Option<PathBuf> {
    self::named(named).or_else(|| {
        cache.filter(|cache| {
            let place = Place::unprefixed(cache);
            FILES.iter().all(|original| place.locate(original).is_ok())
        })
    })
}

/// Opens MNIST from the directory that the environment variable `MNIST_DIR` names, or else from [`cache_dir`], into which
/// its 11 MB are downloaded once.
///
/// A file in the cache that is missing or broken is downloaded again. Where the system has no cache directory, the files
/// go into `mnist` in the working directory. [`download`] shows its progress, and takes any directory.
///
/// ```no_run
/// use wgrad::data::mnist;
///
/// let digits = mnist::open_or_download()?;
/// assert_eq!(digits.train.len(), 60_000);
/// # Ok::<(), wgrad::data::DataError>(())
/// ```
///
/// # Errors
/// The errors of [`open`](super::open); where `MNIST_DIR` is not set, also the errors of [`download`].
pub fn open_or_download() -> Result<Split, DataError> {
    if let Some(named) = named(env::var_os("MNIST_DIR")) {
        return super::open(named);
    }
    let directory = cache_dir().unwrap_or_else(|| "mnist".into());
    // Opening checks the files; a download would check them once more.
    super::open(&directory).or_else(|_| {
        download(&directory, &mut |_| {})?;
        super::open(&directory)
    })
}

/// Downloads the four gzipped files of the original MNIST (11 MB in all) into `directory`.
///
/// The directory is created if necessary. Files already in it are kept if they are the original, plain or gzipped. If
/// a mirror fails, the next one is asked. A file is stored only after its SHA-256 has been checked, and is stored
/// completely or not at all. The function waits at most 10 s for a connection and 30 s for the next byte. It calls
/// `progress` after every piece received.
///
/// # Errors
/// [`DataError::Download`] when no mirror delivers a file; [`DataError::Write`] when a file cannot be stored; an error
/// of [`open`](super::open) when an existing file is neither the original nor a broken download. Such a file is not
/// changed.
///
/// ```no_run
/// use wgrad::data::mnist;
///
/// let directory = mnist::cache_dir().unwrap_or("data/mnist".into());
/// mnist::download(&directory, &mut |progress| {
///     println!("{}: {} bytes", progress.file, progress.received);
/// })?;
/// let mnist = mnist::open(&directory)?;
/// # Ok::<(), wgrad::data::DataError>(())
/// ```
pub fn download(
    directory: impl AsRef<Path>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), DataError> {
    download_from(&MIRRORS, directory, progress)
}

/// Like [`download`], from other mirrors: `http` or `https` base addresses to which the file names are appended.
///
/// # Errors
/// As [`download`].
pub fn download_from(
    mirrors: &[&str],
    directory: impl AsRef<Path>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), DataError> {
    download_with(PATIENCE, mirrors, directory.as_ref(), progress)
}

fn download_with(
    patience: Patience,
    mirrors: &[&str],
    directory: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), DataError> {
    fs::create_dir_all(directory).map_err(|source| DataError::Write {
        file: directory.to_owned(),
        source,
    })?;
    let agent = agent(patience);
    for original in &FILES {
        let target = directory.join(original.gz_name);
        if !is_there(original, directory)? {
            files::check(&target).map_err(not_written)?;
            let bytes = fetch_from_any(&agent, mirrors, original, &target, progress)?;
            files::write(target, &bytes).map_err(not_written)?;
        }
    }
    Ok(())
}

fn not_written(error: FileError) -> DataError {
    DataError::Write {
        file: error.path,
        source: error.source,
    }
}

fn agent(patience: Patience) -> ureq::Agent {
    ureq::Agent::config_builder()
        .user_agent(concat!("wgrad/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(patience.connect))
        .timeout_connect(Some(patience.connect))
        .timeout_per_read(Some(patience.stall))
        .timeout_per_write(Some(patience.stall))
        .timeout_per_call(Some(patience.file))
        .build()
        .new_agent()
}

/// Whether `directory` already has the original. Also `false` for a broken download, which may be replaced.
fn is_there(original: &Original, directory: &Path) -> Result<bool, DataError> {
    let path = match Place::unprefixed(directory).locate(original) {
        Err(DataError::MissingFile { .. }) => return Ok(false),
        located => located?,
    };
    let checked =
        Idx::read(original.kind, path.clone(), |_| {}).and_then(|idx| idx.check_sha256(original));
    match checked {
        Ok(()) => Ok(true),
        // Keep a well-formed file, whatever its contents: it may be the user's data. Replace a damaged gzip file, and
        // a file that is named `.gz` but is not gzip.
        Err(DataError::Gzip { .. }) => Ok(false),
        Err(DataError::NotIdx { .. } | DataError::IdxTruncated { .. })
            if !is_what_its_name_says(&path) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Whether the file is gzip, or its name does not say that it is.
fn is_what_its_name_says(path: &Path) -> bool {
    let is_called_gzip = path.extension().is_some_and(|extension| extension == "gz");
    let mut start = [0; gzip::MAGIC.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    !is_called_gzip || (read.is_ok() && start == gzip::MAGIC)
}

fn fetch_from_any(
    agent: &ureq::Agent,
    mirrors: &[&str],
    original: &Original,
    target: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<u8>, DataError> {
    let mut attempts = Vec::new();
    for mirror in mirrors {
        let url = format!("{}/{}", mirror.trim_end_matches('/'), original.gz_name);
        let fetched = fetch(agent, &url, original.gz_name, progress)
            .and_then(|bytes| check(original, target, &bytes).map(|()| bytes));
        match fetched {
            Ok(bytes) => return Ok(bytes),
            Err(reason) => attempts.push(DownloadAttempt { url, reason }),
        }
    }
    Err(DataError::Download {
        file: target.to_owned(),
        attempts,
    })
}

fn fetch(
    agent: &ureq::Agent,
    url: &str,
    file: &'static str,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<u8>, DownloadFailure> {
    let response = agent.get(url).call().map_err(|error| match error {
        ureq::Error::StatusCode(found) => DownloadFailure::Status { found },
        error => transfer(error),
    })?;
    let mut body = response.into_body();
    let total = body.content_length();
    let mut reader = body.as_reader();
    let mut bytes = Vec::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        let received = bytes.len() as u64;
        if received > MAX_GZIPPED_BYTES {
            return Err(DownloadFailure::TooLarge {
                maximum: MAX_GZIPPED_BYTES,
            });
        }
        progress(Progress {
            file,
            received,
            total,
        });
        match reader.read(&mut piece) {
            Ok(0) => return Ok(bytes),
            Ok(length) => bytes.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(transfer(error)),
        }
    }
}

fn transfer(error: impl std::error::Error + Send + Sync + 'static) -> DownloadFailure {
    DownloadFailure::Transfer {
        source: Box::new(error),
    }
}

fn check(original: &Original, target: &Path, bytes: &[u8]) -> Result<(), DownloadFailure> {
    Idx::parse(original.kind, target.to_owned(), bytes, bytes.len() as u64)
        .and_then(|idx| idx.check_sha256(original))
        .map_err(|error| match error {
            DataError::Checksum {
                expected, found, ..
            } => DownloadFailure::Checksum { expected, found },
            error => DownloadFailure::Malformed {
                source: Box::new(error),
            },
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write as _;
    use std::net::TcpListener;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_mirror_that_stalls_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun")
                .unwrap();
            // Stay silent until the client hangs up.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let patience = Patience {
            stall: Duration::from_millis(100),
            ..PATIENCE
        };
        let directory = tempfile::tempdir().unwrap();
        let started = Instant::now();
        let error = download_with(patience, &[&url], directory.path(), &mut |_| ()).unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(error.to_string().contains("timeout"), "{error}");
        assert!(matches!(&error, DataError::Download { attempts, .. }
            if matches!(attempts[..], [DownloadAttempt { reason: DownloadFailure::Transfer { .. }, .. }])));
        server.join().unwrap();
    }

    #[test]
    fn a_named_directory_comes_before_the_cache_and_the_cache_must_be_complete() {
        let cache = tempfile::tempdir().unwrap();
        let found = |named: &str| locate_in(Some(named.into()), Some(cache.path().to_owned()));
        assert_eq!(found("named"), Some("named".into()));
        assert_eq!(found(""), None);
        for original in &FILES {
            assert_eq!(locate_in(None, Some(cache.path().to_owned())), None);
            fs::write(cache.path().join(original.gz_name), "").unwrap();
        }
        assert_eq!(found(""), Some(cache.path().to_owned()));
        assert_eq!(locate_in(None, None), None);
    }
}
