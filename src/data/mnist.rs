//! MNIST: 70,000 handwritten digits, 28×28 pixels each.
//!
//! A data set is a directory of four files, each plain or gzipped (`.gz` appended):
//! `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
//! `t10k-labels-idx1-ubyte`. The spelling `train-images.idx3-ubyte` is understood too. Where a
//! file is there both plain and gzipped, the plain one is read.
//!
//! [`open`] reads the original and nothing else; [`open_unverified`] reads any data set of the
//! same form, Fashion-MNIST for example. Every file is checked in full first, so that a missing
//! or damaged one is a [`DataError`] that says what to do.

#[cfg(feature = "download")]
mod download;
mod idx;
mod parser;

use std::fs;
use std::io;
use std::path::Path;

use self::idx::{Idx, Kind, Original};
use super::{DataError, Dataset, Labels, Split};
use crate::parallel;

#[cfg(feature = "download")]
pub use self::download::{MIRRORS, Progress, cache_dir, download, download_from, locate};

/// Pixels from top to bottom of an image.
pub const ROWS: usize = 28;
/// Pixels from left to right of an image.
pub const COLUMNS: usize = 28;
/// Pixels of an image: the features of an example.
pub const PIXELS: usize = ROWS * COLUMNS;
/// Number of classes: the digits 0 to 9, or ten kinds of something else.
pub const CLASSES: usize = 10;

const TRAIN_EXAMPLES: u32 = 60_000;
const TEST_EXAMPLES: u32 = 10_000;

const FILES: [Original; 4] = [
    Original {
        name: "train-images-idx3-ubyte",
        gz_name: "train-images-idx3-ubyte.gz",
        kind: Kind::Images,
        sha256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    },
    Original {
        name: "train-labels-idx1-ubyte",
        gz_name: "train-labels-idx1-ubyte.gz",
        kind: Kind::Labels,
        sha256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    },
    Original {
        name: "t10k-images-idx3-ubyte",
        gz_name: "t10k-images-idx3-ubyte.gz",
        kind: Kind::Images,
        sha256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    },
    Original {
        name: "t10k-labels-idx1-ubyte",
        gz_name: "t10k-labels-idx1-ubyte.gz",
        kind: Kind::Labels,
        sha256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
];

/// The original MNIST, from the four files in `directory`: 60,000 examples to train on and 10,000
/// to test on, each of 784 bytes (28 rows of 28 pixels, 0 is background, 255 is ink), in 10
/// classes.
///
/// The SHA-256 of each file's unpacked contents is compared with the original's.
///
/// # Errors
/// [`DataError`] that names the file when one is missing, unreadable, malformed, or not the
/// original.
///
/// ```
/// use wgrad::data::{DataError, mnist};
///
/// match mnist::open("no/such/directory") {
///     Ok(mnist) => assert_eq!((mnist.train.len(), mnist.test.len()), (60_000, 10_000)),
///     Err(DataError::Directory { directory, .. }) => println!("no {}", directory.display()),
///     Err(error) => println!("{error}"),
/// }
/// ```
pub fn open(directory: impl AsRef<Path>) -> Result<Split, DataError> {
    let files = read(directory.as_ref())?;
    let pairs: Vec<_> = files.iter().zip(&FILES).collect();
    let checked = parallel::map(&pairs, |(idx, original)| idx.check_sha256(original));
    checked.into_iter().collect::<Result<(), _>>()?;
    split("MNIST", files)
}

/// Any data set in the form of MNIST, from the four files in `directory`: at least one image of
/// 28×28 pixels in each part, and a label from 0 to 9 for each. It is named after the directory.
///
/// # Errors
/// [`DataError`] that names the file when one is missing, unreadable or malformed.
///
/// ```
/// use std::fs;
/// use wgrad::data::mnist;
///
/// # let parent = tempfile::tempdir()?;
/// # let directory = parent.path().join("blank");
/// # fs::create_dir(&directory)?;
/// let images = [&[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28], &[0; 784][..]].concat();
/// let labels = [0, 0, 8, 1, 0, 0, 0, 1, 7];
/// for part in ["train", "t10k"] {
///     fs::write(directory.join(format!("{part}-images-idx3-ubyte")), &images)?;
///     fs::write(directory.join(format!("{part}-labels-idx1-ubyte")), labels)?;
/// }
///
/// let blank = mnist::open_unverified(&directory)?;
/// assert_eq!(blank.test.name(), "blank test");
/// assert_eq!((blank.train.len(), blank.train.width()), (1, 784));
/// assert_eq!(blank.train.labels().indices(), [7]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open_unverified(directory: impl AsRef<Path>) -> Result<Split, DataError> {
    let directory = directory.as_ref();
    let files = read(directory)?;
    // `.` and `..` have no name of their own.
    let named = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let name = named.file_name().unwrap_or(named.as_os_str());
    split(&name.to_string_lossy(), files)
}

/// The original MNIST or any data set of its form, from four files in memory, each with its name: of a
/// page in a browser, on which they were dropped. It is called `MNIST` if it is that, else `name`.
///
/// ```
/// use wgrad::data::{DataError, mnist};
///
/// let error = mnist::from_files("dropped", [("photo.png", vec![1, 2, 3])]).unwrap_err();
/// assert!(matches!(error, DataError::UnknownFile { .. }));
/// ```
///
/// # Errors
/// [`DataError`] that names the file when one is none of the four, malformed, or missing.
pub fn from_files<N: Into<String>>(
    name: &str,
    files: impl IntoIterator<Item = (N, Vec<u8>)>,
) -> Result<Split, DataError> {
    let mut found: [Option<Idx>; 4] = [const { None }; 4];
    for (file, bytes) in files {
        let file: String = file.into();
        let is_called = |original: &Original| original.spellings().contains(&file);
        let Some(at) = FILES.iter().position(is_called) else {
            return Err(DataError::UnknownFile { file: file.into() });
        };
        found[at] = Some(FILES[at].parse(file.into(), &bytes[..])?);
    }
    if found.iter().any(Option::is_none) {
        let named = found.iter().zip(&FILES);
        let missing = named.filter(|(idx, _)| idx.is_none());
        return Err(DataError::MissingFiles {
            missing: missing.map(|(_, original)| original.name).collect(),
        });
    }
    let files: Vec<_> = found.into_iter().flatten().collect();
    check_agreement(&files)?;
    let mut originals = files.iter().zip(&FILES);
    let is_mnist = originals.all(|(idx, original)| idx.check_sha256(original).is_ok());
    split_bodies(if is_mnist { "MNIST" } else { name }, files)
}

/// The four files, in the order of [`FILES`], each sound and each pair in agreement.
fn read(directory: &Path) -> Result<Vec<Idx>, DataError> {
    let opened = fs::metadata(directory).and_then(|metadata| match metadata.is_dir() {
        true => Ok(()),
        false => Err(io::ErrorKind::NotADirectory.into()),
    });
    opened.map_err(|source| DataError::Directory {
        directory: directory.to_owned(),
        source,
    })?;
    let located = FILES
        .iter()
        .map(|original| Ok((original, original.locate(directory)?)));
    // A file that is missing is told before the others are read.
    let located = located.collect::<Result<Vec<_>, DataError>>()?;
    let read = parallel::map(&located, |(original, path)| original.read(path.clone()));
    let files = read.into_iter().collect::<Result<Vec<_>, _>>()?;
    check_agreement(&files)?;
    Ok(files)
}

fn check_agreement(files: &[Idx]) -> Result<(), DataError> {
    for [images, labels] in files.as_chunks().0 {
        check_counts(images, labels)?;
    }
    files.iter().try_for_each(Idx::check_labels)
}

fn check_counts(images: &Idx, labels: &Idx) -> Result<(), DataError> {
    if images.count() == labels.count() {
        return Ok(());
    }
    Err(DataError::IdxCount {
        labels_file: labels.path().to_owned(),
        images_file: images.path().to_owned(),
        images: images.count(),
        labels: labels.count(),
    })
}

fn split(name: &str, files: Vec<Idx>) -> Result<Split, DataError> {
    let counts = [files[0].count(), files[2].count()];
    if counts != [TRAIN_EXAMPLES as usize, TEST_EXAMPLES as usize] {
        return split_bodies(name, files);
    }
    let parsed = parser::parse(files)?;
    let train = (parsed.trn_img, parsed.trn_lbl);
    named(name, train, (parsed.tst_img, parsed.tst_lbl))
}

fn split_bodies(name: &str, files: Vec<Idx>) -> Result<Split, DataError> {
    assert_eq!(files.len(), FILES.len(), "mnist: number of files");
    let mut bodies = files.into_iter().map(Idx::into_body);
    let mut next = || bodies.next().unwrap_or_default();
    let train = (next(), next());
    let test = (next(), next());
    named(name, train, test)
}

type Bodies = (Vec<u8>, Vec<u8>);

fn named(name: &str, train: Bodies, test: Bodies) -> Result<Split, DataError> {
    Ok(Split {
        train: dataset(format!("{name} train"), train)?,
        test: dataset(format!("{name} test"), test)?,
    })
}

fn dataset(name: String, (images, labels): Bodies) -> Result<Dataset, DataError> {
    let labels = labels.into_iter().map(u32::from).collect();
    let labels = Labels::from_classes(labels, CLASSES)?;
    Dataset::new(name, PIXELS, images, labels)
}
