use std::fmt;
use std::io;
use std::path::PathBuf;

/// What can be wrong with a data set or the files it comes from.
///
/// Each variant keeps its facts as fields; its message names the file or data set, what was
/// expected, what was found, and what to do about it.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Two parts of a data set disagree about how many examples there are.
    #[error("{what}: expected {expected}, found {found}")]
    Count {
        /// What was counted.
        what: String,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A label does not name a class.
    #[error(
        "label {found} of example {example} is out of range: the data set has {classes} classes, \
         numbered from 0"
    )]
    LabelRange {
        /// Index of the example.
        example: usize,
        /// Number of classes.
        classes: usize,
        /// The label found.
        found: u32,
    },
    /// There is no memory for that many examples.
    #[error("data set \"{name}\" of {examples} examples does not fit in memory: make it smaller")]
    TooLarge {
        /// Name of the data set.
        name: String,
        /// How many examples were asked for.
        examples: usize,
    },
    /// A one-hot row is not exactly one 1 among zeros.
    #[error(
        "one-hot label of example {example} must hold a single 1 and otherwise 0; it sums to {sum}"
    )]
    OneHot {
        /// Index of the example.
        example: usize,
        /// The sum of the row.
        sum: f32,
    },
    /// A data set without examples, features or classes cannot be trained on.
    #[error("data set \"{name}\" has no {what}: it needs at least one")]
    Empty {
        /// Name of the data set.
        name: String,
        /// What is missing: `examples`, `features` or `classes`.
        what: &'static str,
    },
    /// A number of a table is infinite or NaN.
    #[error(
        "{what} {column} of row {row} of table \"{name}\" is {found}: it must be a finite number. \
         Leave the row out, or put a number in its place"
    )]
    NotFinite {
        /// Name of the table.
        name: String,
        /// `feature` or `target`.
        what: &'static str,
        /// Row, counted from 0.
        row: usize,
        /// Column, counted from 0.
        column: usize,
        /// What it is.
        found: f32,
    },
    /// The directory that should hold a data set cannot be opened.
    #[error(
        "cannot open data set directory {directory}: expected a directory that holds the four IDX \
         files of MNIST, found: {source}; check the path"
    )]
    Directory {
        /// The directory asked for.
        directory: PathBuf,
        /// Why it cannot be opened.
        source: io::Error,
    },
    /// One of the four files of a data set is not there.
    #[error(
        "{file} is missing: expected it plain, with `.idx` in place of `-idx`, or gzipped with \
         `.gz` appended, found none of these; copy the four files of the data set into the \
         directory, or have `mnist::download` (feature `download`) fetch the original MNIST"
    )]
    MissingFile {
        /// The plain file looked for.
        file: PathBuf,
    },
    /// A file in memory bears the name of none of the four files of a data set.
    #[error(
        "{file} is no file of a data set: expected the four IDX files of MNIST or of a data set of its \
         form (`train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and \
         `t10k-labels-idx1-ubyte`, plain, or gzipped with `.gz` appended), found another name; leave \
         it out, or rename it"
    )]
    UnknownFile {
        /// Its name.
        file: PathBuf,
    },
    /// Of the four files of a data set in memory, some are not there.
    #[error(
        "no whole data set: expected its four files together, found none called {}; give them all at once",
        missing.join(" or ")
    )]
    MissingFiles {
        /// Their names.
        missing: Vec<&'static str>,
    },
    /// Something other than a regular file bears the name of a data set file.
    #[error(
        "{file} is not a file: expected a regular file, found a directory or a special file; some \
         unpacking tools make a directory of the file's name: move the file out of it"
    )]
    NotAFile {
        /// The path that should be a file.
        file: PathBuf,
    },
    /// The operating system refused to open or read a file.
    #[error(
        "cannot read {file}: expected a readable file, found: {source}; check its permissions and \
         the disk it is on"
    )]
    Read {
        /// The file.
        file: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// A file whose name ends in `.gz` does not begin as gzip does.
    #[error(
        "{file} is not gzip: expected it to begin with the bytes [1f, 8b], found {found:02x?}; \
         rename it without `.gz` if it is already unpacked, else delete it and fetch it again"
    )]
    NotGzip {
        /// The file.
        file: PathBuf,
        /// Its first two bytes, or fewer when it is shorter.
        found: Vec<u8>,
    },
    /// A gzip file ends early or its contents are damaged.
    #[error(
        "{file} is a truncated or damaged gzip file: expected a complete stream, found: {source}; \
         delete it and fetch it again"
    )]
    Gzip {
        /// The file.
        file: PathBuf,
        /// What the decoder met.
        source: io::Error,
    },
    /// An IDX file does not begin with the magic number of its kind.
    #[error(
        "{file} is not the IDX file its name says: expected magic number {expected:#010x}, found \
         {found:#010x}; check that images and labels are not swapped and that a gzipped file's \
         name ends in `.gz`, else fetch it again"
    )]
    IdxMagic {
        /// The file.
        file: PathBuf,
        /// `0x00000803` for images, `0x00000801` for labels.
        expected: u32,
        /// The first four bytes, read big-endian.
        found: u32,
    },
    /// The images of an IDX file are not of the size of MNIST's.
    #[error(
        "{file} holds images of another size: expected {}×{} pixels, found {}×{}; scale or crop \
         the images, or build the data set with `Dataset::new`, which takes any width",
        expected.0, expected.1, found.0, found.1
    )]
    IdxDimensions {
        /// The file.
        file: PathBuf,
        /// Rows and columns of an MNIST image.
        expected: (usize, usize),
        /// Rows and columns in the file's header.
        found: (usize, usize),
    },
    /// An IDX file holds no examples.
    #[error(
        "{file} is empty: expected at least one example, found a header that announces 0; fetch \
         or make the file again"
    )]
    IdxEmpty {
        /// The file.
        file: PathBuf,
    },
    /// An IDX file announces more data than is sensible to hold in memory.
    #[error(
        "{file} is too large: expected at most {maximum} bytes unpacked, found a header that \
         announces {found}; use a smaller part of the data set"
    )]
    IdxTooLarge {
        /// The file.
        file: PathBuf,
        /// The most bytes an unpacked file may have.
        maximum: u64,
        /// The bytes its header announces.
        found: u64,
    },
    /// An IDX file ends before the data its header announces.
    #[error(
        "{file} is truncated: expected {expected} bytes unpacked, found {found}; delete it and \
         fetch it again"
    )]
    IdxTruncated {
        /// The file.
        file: PathBuf,
        /// Bytes that the header announces, itself included.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// An IDX file goes on after the data its header announces.
    #[error(
        "{file} has trailing bytes: expected {expected} bytes unpacked, found more; delete it and \
         fetch it again"
    )]
    IdxTrailing {
        /// The file.
        file: PathBuf,
        /// Bytes that the header announces, itself included.
        expected: u64,
    },
    /// A file of labels and its file of images hold different numbers of examples.
    #[error(
        "{labels_file} and {images_file} do not belong together: expected a label for each of \
         {images} images, found {labels} labels; take both files from the same data set"
    )]
    IdxCount {
        /// The file of labels.
        labels_file: PathBuf,
        /// The file of images.
        images_file: PathBuf,
        /// Number of images.
        images: usize,
        /// Number of labels.
        labels: usize,
    },
    /// A file of labels holds a label that names no class.
    #[error(
        "{file} holds a label that is out of range: expected labels from 0 to {}, found {found} \
         at example {example}; renumber the classes, or fetch the file again",
        classes - 1
    )]
    IdxLabel {
        /// The file.
        file: PathBuf,
        /// Number of classes, at least 1.
        classes: usize,
        /// Index of the example.
        example: usize,
        /// The label found.
        found: u8,
    },
    /// A well-formed file is not the original MNIST file.
    #[error(
        "{file} is not the original MNIST file: expected contents of SHA-256 {expected}, found \
         {found}; delete it and fetch the original, or use `mnist::open_unverified` if it is \
         meant to be another data set"
    )]
    Checksum {
        /// The file.
        file: PathBuf,
        /// SHA-256 of the unpacked original, in hexadecimal.
        expected: &'static str,
        /// SHA-256 of the unpacked contents, in hexadecimal.
        found: String,
    },
    /// The private temporary directory through which data reaches its parser cannot be used.
    #[error(
        "cannot use temporary directory {directory}: expected a UTF-8 path with room for 55 MB, \
         found: {source}; have `TMPDIR` (`TMP` on Windows) name a directory that is"
    )]
    TemporaryDirectory {
        /// The directory.
        directory: PathBuf,
        /// Why it cannot be used.
        source: io::Error,
    },
    /// A downloaded file cannot be stored.
    #[cfg(feature = "download")]
    #[error(
        "cannot write {file}: expected to store a downloaded file there, found: {source}; check \
         permissions and free space, or choose another directory"
    )]
    Write {
        /// The file or directory that cannot be written.
        file: PathBuf,
        /// Why it cannot be written.
        source: io::Error,
    },
    /// No mirror delivered a file.
    #[cfg(feature = "download")]
    #[error(
        "cannot download {file}: expected one mirror of {} to deliver it, found: {}; check the \
         network connection and its proxy, or put the four files there by other means",
        attempts.len(), listed(attempts)
    )]
    Download {
        /// Where the file was to be stored.
        file: PathBuf,
        /// What went wrong at each mirror, in the order tried.
        attempts: Vec<DownloadAttempt>,
    },
}

/// The message, which says what to do: a `main` that returns an error prints this.
impl fmt::Debug for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One mirror's failure to deliver a file.
#[cfg(feature = "download")]
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
#[cfg(feature = "download")]
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

#[cfg(feature = "download")]
fn listed(attempts: &[DownloadAttempt]) -> String {
    let lines: Vec<_> = attempts.iter().map(ToString::to_string).collect();
    if lines.is_empty() {
        return "no mirror to ask".to_owned();
    }
    lines.join("; ")
}
