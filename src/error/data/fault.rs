use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;

#[cfg(feature = "download")]
use super::download::{DownloadAttempt, listed};
use super::words::{columns_not_finite, data_sets, not_finite, one_of, ranges};
use super::{ColumnsError, NotOneHot, RowsError};

/// Errors of a data set or of its files.
///
/// Each variant has the facts as fields. The message names the file or data set, and says what was expected, what was
/// found, and what to do about it.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The features and the targets of a data set have different numbers of rows.
    #[error("{what}: expected {expected}, found {found}; each example needs its own")]
    Count {
        /// What was counted.
        what: String,
        /// Expected count.
        expected: usize,
        /// Actual count.
        found: usize,
    },
    /// The number of feature bytes is not the number of examples times the number of features.
    #[error(
        "data set \"{name}\": {examples} examples of {width} features need {} bytes, found {found}",
        examples.saturating_mul(*width)
    )]
    FeatureBytes {
        /// Name of the data set.
        name: String,
        /// Number of examples, which is given by the number of labels.
        examples: usize,
        /// Features per example. Each feature takes one byte.
        width: usize,
        /// Number of bytes found.
        found: usize,
    },
    /// A label is not a class index: it is not below the number of classes.
    #[error(
        "label {found} of example {example} is out of range: expected a number below {classes}, the number of classes; \
         number the classes from 0, or correct their number"
    )]
    LabelRange {
        /// Index of the example.
        example: usize,
        /// Number of classes.
        classes: usize,
        /// The invalid label.
        found: u32,
    },
    /// There is not enough memory for the examples.
    #[error("data set \"{name}\" of {examples} examples does not fit in memory: make it smaller")]
    TooLarge {
        /// Name of the data set.
        name: String,
        /// Number of examples requested.
        examples: usize,
    },
    /// The label of an example is not one-hot. A one-hot label has a single 1 and is 0 elsewhere.
    #[error(
        "the one-hot label of example {example} must hold a single 1 and zeros elsewhere, but {fault}"
    )]
    OneHot {
        /// Index of the example.
        example: usize,
        /// What is wrong with the label.
        fault: NotOneHot,
    },
    /// A data set has no examples, features, classes or targets, or an array of numbers has no rows or columns.
    #[error("data set \"{name}\" has no {what}: it needs at least one")]
    Empty {
        /// Name of the data set or array.
        name: String,
        /// What is missing: `examples`, `features`, `classes`, `targets`, `rows` or `columns`.
        what: &'static str,
    },
    /// A table or an array of numbers contains an infinite number or NaN.
    #[error("{}", not_finite(what, name, [*column, *row], *found, [*rows, *of]))]
    NotFinite {
        /// Name of the table or array.
        name: String,
        /// The column's role: `feature` or `target` for a table, `column` or `value` for an array.
        what: &'static str,
        /// Index of the column, counted from 0.
        column: usize,
        /// Index of the first row in which this column is infinite or NaN, counted from 0.
        row: usize,
        /// The value of this column in that row.
        found: f32,
        /// Number of rows in which this column is infinite or NaN.
        rows: usize,
        /// Number of rows of the table or array.
        of: usize,
    },
    /// A column of a table or of an array of numbers is infinite or NaN in every row.
    #[error("{}", columns_not_finite(what, name, columns, *found))]
    ColumnsNotFinite {
        /// Name of the table or array.
        name: String,
        /// The columns' role: `feature` or `target` for a table, `column` or `value` for an array.
        what: &'static str,
        /// Indices of the columns, counted from 0.
        columns: Vec<usize>,
        /// The value of the first of these columns in the first row.
        found: f32,
    },
    /// An error of reading or selecting rows.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// An error of columns or of the fields in these columns.
    #[error(transparent)]
    Columns(#[from] ColumnsError),
    /// The directory of a data set cannot be opened.
    #[error(
        "cannot open data set directory {directory}: expected a directory that holds the four IDX files of MNIST or of \
         a data set in its format, found: {source}; check the path"
    )]
    Directory {
        /// The requested directory.
        directory: PathBuf,
        /// Why the directory cannot be opened.
        source: io::Error,
    },
    /// A path is neither a directory nor the prefix of a data set in its parent directory.
    #[error(
        "there is no data set {path}: expected a directory, or the common beginning of four file names in {directory}, \
         found files of {}; name one of them, for example {}",
        data_sets(names),
        one_of(directory, names)
    )]
    NoDataSet {
        /// The requested path.
        path: PathBuf,
        /// The parent directory of the path.
        directory: PathBuf,
        /// File name prefixes of the data sets in that directory.
        names: Vec<String>,
    },
    /// The directory holds several data sets.
    #[error(
        "{directory} holds several data sets: expected one, found {}; name one of them, for example {}",
        data_sets(names),
        one_of(directory, names)
    )]
    SeveralDataSets {
        /// Path of the directory.
        directory: PathBuf,
        /// File name prefixes of the data sets in the directory.
        names: Vec<String>,
    },
    /// The files in memory belong to several data sets.
    #[error(
        "these files belong to several data sets: expected the four files of one data set, found files of {}; give \
         only the files of one data set",
        data_sets(names)
    )]
    MixedFiles {
        /// File name prefixes of two of the data sets. A prefix is empty if the file names have none.
        names: [String; 2],
    },
    /// One of the four files of a data set is missing.
    #[error(
        "{file} is missing: expected it under this name, or with `.idx` for `-idx`, `test` for `t10k`, or \
         `.gz` appended, found none of these; copy the four files of the data set into the directory, or have \
         `mnist::download` (feature `download`) fetch the original MNIST"
    )]
    MissingFile {
        /// Path of the missing file, with its MNIST name and without `.gz`.
        file: PathBuf,
    },
    /// The name of a file in memory is not one of the four file names of a data set.
    #[error(
        "{file} is not a file of a data set: expected the four IDX files of MNIST or of a data set in its format \
         (`train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, \
         each also with a prefix, or with `.gz` appended), found another name; leave it out, or rename it"
    )]
    UnknownFile {
        /// Name of the file.
        file: PathBuf,
    },
    /// Some of the four files in memory are missing.
    #[error(
        "the data set is incomplete: expected its four files together, found none named {}; give all four files at once",
        missing.join(" or ")
    )]
    MissingFiles {
        /// Names of the missing files.
        missing: Vec<String>,
    },
    /// The path of a data set file is not a regular file.
    #[error(
        "{file} is not a file: expected a regular file, found a directory or a special file; some \
         unpacking tools make a directory of the file's name: move the file out of it"
    )]
    NotAFile {
        /// The path.
        file: PathBuf,
    },
    /// The path names one of the four files instead of their directory.
    #[error(
        "{file} is one of the four files of a data set: expected their directory, or the directory and the common \
         beginning of their names, found a file; name {}",
        data_set.display()
    )]
    OneOfFour {
        /// Path of the file.
        file: PathBuf,
        /// The path to use instead: it selects the data set of this file.
        data_set: PathBuf,
    },
    /// A file or directory is a symbolic link whose target does not exist.
    #[error(
        "{link} is a broken link: expected something at {target}, found nothing; repair the link, or put there what it \
         should lead to"
    )]
    DeadLink {
        /// Path of the link.
        link: PathBuf,
        /// Target of the link.
        target: PathBuf,
    },
    /// The name of one of the four files is misspelled.
    #[error("{file} is missing: expected it under this name, found {found}; rename that")]
    MisspelledFile {
        /// Path of the missing file.
        file: PathBuf,
        /// Path of the misspelled file, such as `train_images_idx3_ubyte`.
        found: PathBuf,
    },
    /// The files are in a subdirectory.
    #[error(
        "{file} is missing: expected it in this directory, found files of a data set in {subdirectory}; name that \
         directory"
    )]
    InSubdirectory {
        /// Path of the missing file.
        file: PathBuf,
        /// The subdirectory, such as `MNIST/raw`.
        subdirectory: PathBuf,
    },
    /// A file cannot be opened or read.
    #[error(
        "cannot read {file}: expected a readable file, found: {source}; check its path, its permissions and the disk"
    )]
    Read {
        /// Path of the file.
        file: PathBuf,
        /// Why the file cannot be read.
        source: io::Error,
    },
    /// A gzip file is truncated or damaged.
    #[error(
        "{file} is a truncated or damaged gzip file: expected a complete stream, found: {source}; fetch it again"
    )]
    Gzip {
        /// Path of the file.
        file: PathBuf,
        /// The error of the decoder.
        source: io::Error,
    },
    /// A complete gzip stream is followed by bytes that are neither zeros nor another gzip stream.
    #[error(
        "{file} goes on after the end of its gzip stream: expected nothing more, or zeros, found other bytes; unpack \
         it with `gunzip`, which ignores these bytes, or fetch it again"
    )]
    GzipTail {
        /// Path of the file.
        file: PathBuf,
    },
    /// The unpacked size that the IDX header in a gzip file states is too large for images, compared with the size of
    /// the gzip file. The file is damaged, or made to exhaust memory.
    #[error(
        "{file} has {zipped} bytes, but announces {announced} bytes unpacked: expected at most 64 MiB and 100 times \
         its size, which pictures never reach, found more; fetch it again, or unpack it with `gunzip` if this is \
         intended"
    )]
    GzipRatio {
        /// Path of the file.
        file: PathBuf,
        /// Size of the gzip file in bytes.
        zipped: u64,
        /// Unpacked size that the IDX header states, in bytes.
        announced: u64,
    },
    /// A file is not the expected IDX file: it is another IDX file, or not an IDX file.
    #[error(
        "{file} is not the IDX file its name says: expected {expected}, found {found}; {remedy}"
    )]
    NotIdx {
        /// Path of the file.
        file: PathBuf,
        /// The expected contents, for example `labels (unsigned bytes in 1 dimension)`.
        expected: &'static str,
        /// What the file is, for example `a PNG picture` or `32-bit floats in 3 dimensions`.
        found: String,
        /// How to fix it.
        remedy: &'static str,
    },
    /// The images of an IDX file do not have MNIST's size.
    #[error(
        "{file} holds images of another size: expected {}×{} pixels, found {}×{}; scale or crop \
         the images, or build the data set with `Dataset::new`, which takes any width",
        expected.0, expected.1, found.0, found.1
    )]
    IdxDimensions {
        /// Path of the file.
        file: PathBuf,
        /// Rows and columns of an MNIST image.
        expected: (usize, usize),
        /// Rows and columns in the file's header.
        found: (usize, usize),
    },
    /// An IDX file has no examples.
    #[error(
        "{file} is empty: expected at least one example, found a header that announces 0 examples; fetch or make it again"
    )]
    IdxEmpty {
        /// Path of the file.
        file: PathBuf,
    },
    /// The header of an IDX file states a larger size than allowed.
    #[error(
        "{file} is too large: expected at most {maximum} bytes unpacked, found a header that announces {found}; use \
         a smaller part of the data set"
    )]
    IdxTooLarge {
        /// Path of the file.
        file: PathBuf,
        /// Largest allowed unpacked size, in bytes.
        maximum: u64,
        /// Unpacked size that the header states, in bytes.
        found: u64,
    },
    /// An IDX file is shorter than its header states.
    #[error(
        "{file} is truncated: expected {expected} bytes unpacked, found {found}; delete it and fetch it again"
    )]
    IdxTruncated {
        /// Path of the file.
        file: PathBuf,
        /// File size that the header implies, including the header, in bytes.
        expected: u64,
        /// Actual size, in bytes.
        found: u64,
    },
    /// An IDX file is longer than its header states.
    #[error(
        "{file} goes on after its last example: expected {expected} bytes unpacked, as its header says, and after them \
         at most some zeros, found more; delete it and fetch it again"
    )]
    IdxTrailing {
        /// Path of the file.
        file: PathBuf,
        /// File size that the header implies, including the header, in bytes.
        expected: u64,
    },
    /// Two IDX files have different numbers of images and labels.
    #[error(
        "{labels_file} and {images_file} do not belong together: expected a label for each of \
         {images} images, found {labels} labels; take both files from the same data set"
    )]
    IdxCount {
        /// Path of the file of labels.
        labels_file: PathBuf,
        /// Path of the file of images.
        images_file: PathBuf,
        /// Number of images.
        images: usize,
        /// Number of labels.
        labels: usize,
    },
    /// A file contains a label outside of the range that the caller gave.
    #[error(
        "{file} holds a label that was not named: expected labels from {} to {}, found {found} at example \
         {example}; name all labels of the data set, or fetch the file again",
        labels.start(), labels.end()
    )]
    IdxLabel {
        /// Path of the file.
        file: PathBuf,
        /// The range of labels that the caller gave.
        labels: RangeInclusive<u8>,
        /// Index of the example.
        example: usize,
        /// The label of the example.
        found: u8,
    },
    /// Some labels up to the largest one have no training examples: a label is damaged, or examples are missing.
    #[error(
        "{file} holds a label that may be damaged: expected labels up to 9, or training examples of every label from \
         {} to {}, found {found} at example {example}, and no training example of {}; fetch the file again, or name \
         the labels if they are intended (`mnist::open_labelled`)",
        labels.start(), labels.end(), ranges(missing)
    )]
    IdxClasses {
        /// Path of the file.
        file: PathBuf,
        /// Index of the example whose label may be damaged.
        example: usize,
        /// The label of that example.
        found: u8,
        /// The labels of all classes, from the smallest to the largest.
        labels: RangeInclusive<u8>,
        /// Labels without training examples.
        missing: Vec<u8>,
    },
    /// A well-formed file is not the original MNIST file.
    #[error(
        "{file} is not the original MNIST file: expected contents with SHA-256 {expected}, found {found}; if another \
         data set is intended, use `mnist::open_unverified`; otherwise delete the file and fetch the original"
    )]
    Checksum {
        /// Path of the file.
        file: PathBuf,
        /// SHA-256 of the unpacked original file, in hexadecimal.
        expected: &'static str,
        /// SHA-256 of the unpacked contents of this file, in hexadecimal.
        found: String,
    },
    /// A downloaded file could not be stored.
    #[cfg(feature = "download")]
    #[error(
        "cannot write {file}: expected to store a downloaded file there, found: {source}; check \
         permissions and free space, or choose another directory"
    )]
    Write {
        /// Path of the file or directory.
        file: PathBuf,
        /// Why the file or directory cannot be written.
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
        /// The path at which the file was to be stored.
        file: PathBuf,
        /// The failed request to each mirror, in order.
        attempts: Vec<DownloadAttempt>,
    },
}
