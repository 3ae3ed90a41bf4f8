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

/// The largest accepted gzipped file, in bytes. The largest original file has 10 MB.
const MAX_GZIPPED_BYTES: u64 = 16 << 20;

/// The progress of one file's download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Name of the file, for example `train-images-idx3-ubyte.gz`.
    pub file: &'static str,
    /// Bytes received so far; 0 when a mirror begins to answer.
    pub received: u64,
    /// Size of the whole file in bytes, if the mirror states it.
    pub total: Option<u64>,
}

/// Time limits for requests to a mirror.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Limit for each of the name lookup and the connection.
    connect: Duration,
    /// Limit for each read from the connection and each write to it.
    stall: Duration,
    /// Limit for a whole file. It stops a mirror that sends only a few bytes at a time.
    file: Duration,
}

const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(10),
    stall: Duration::from_secs(30),
    file: Duration::from_secs(30 * 60),
};

/// Returns the directory for MNIST in the user's cache directory: `~/.cache/wgrad/mnist` on Linux.
///
/// `None` if the system has no cache directory. The returned directory may not exist yet.
#[must_use]
pub fn cache_dir() -> Option<PathBuf> {
    dirs::cache_dir().map(|cache| cache.join("wgrad").join("mnist"))
}

/// Finds MNIST on this machine. Returns the directory that the environment variable `MNIST_DIR` names, or [`cache_dir`]
/// if the variable is not set and that directory has the four files.
///
/// The directory in `MNIST_DIR` is not checked here, so that [`open`](super::open) can report what is wrong with it.
#[must_use]
pub fn locate() -> Option<PathBuf> {
    locate_in(env::var_os("MNIST_DIR"), cache_dir())
}

/// Returns the directory that an environment variable names; `None` if the variable is not set or empty.
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

/// Opens MNIST, and downloads its 11 MB first if necessary.
///
/// If the environment variable `MNIST_DIR` is set, MNIST is opened from this directory and nothing is downloaded.
/// Otherwise it is opened from [`cache_dir`], and missing or damaged files are downloaded into it. If the system has no
/// cache directory, the directory is `mnist` in the working directory. To see the progress or to choose the directory,
/// use [`download`].
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
/// The errors of [`open`](super::open); if `MNIST_DIR` is not set, also the errors of [`download`].
pub fn open_or_download() -> Result<Split, DataError> {
    if let Some(named) = named(env::var_os("MNIST_DIR")) {
        return super::open(named);
    }
    let directory = cache_dir().unwrap_or_else(|| "mnist".into());
    // Do not call `download` first: it checks files that are already there, and opening them would check them again.
    super::open(&directory).or_else(|_| {
        download(&directory, &mut |_| {})?;
        super::open(&directory)
    })
}

/// Downloads the four gzipped files of the original MNIST (11 MB in all) into `directory`.
///
/// The directory is created if necessary. Original files that are already in it, plain or gzipped, are kept. If a
/// mirror fails, the next one is tried. A file is stored only after its SHA-256 has been checked, and is stored
/// completely or not at all. The function waits at most 10 s for a connection and 30 s for the next byte. It calls
/// `progress` whenever it has received a part of a file.
///
/// # Errors
/// [`DataError::Download`] when no mirror delivers a file; [`DataError::Write`] when a file cannot be stored. If an
/// existing file is neither the original nor a damaged download, it is not changed, and an error of
/// [`open`](super::open) is returned.
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

/// Downloads MNIST like [`download`], but from the given mirrors: `http` or `https` base URLs to which the file names
/// are appended.
///
/// # Errors
/// The errors of [`download`].
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

/// Whether `directory` already has the original file. Returns `false` for a damaged download too, because it may be
/// replaced.
fn is_there(original: &Original, directory: &Path) -> Result<bool, DataError> {
    let path = match Place::unprefixed(directory).locate(original) {
        Err(DataError::MissingFile { .. }) => return Ok(false),
        located => located?,
    };
    let checked =
        Idx::read(original.kind, path.clone(), |_| {}).and_then(|idx| idx.check_sha256(original));
    match checked {
        Ok(()) => Ok(true),
        // Never replace a well-formed file: it may be the user's data. Replace a damaged gzip file, and a file whose
        // name ends in `.gz` but which is not gzip.
        Err(DataError::Gzip { .. }) => Ok(false),
        Err(DataError::NotIdx { .. } | DataError::IdxTruncated { .. })
            if !is_what_its_name_says(&path) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Returns `false` only if the name of the file ends in `.gz` but the file is not gzip.
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
