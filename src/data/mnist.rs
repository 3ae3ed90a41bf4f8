//! MNIST (70,000 handwritten digits, 28×28 pixels each) and data sets in the same format.
//!
//! A data set is a directory of four IDX files: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
//! `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`. A file name may have `.idx` instead of `-idx`, `test` instead
//! of `t10k`, and `.gz` at its end. Files are unpacked if they are gzipped, even if their name does not end in `.gz`.
//! If both a plain file and a `.gz` file exist, the plain file is read.
//!
//! The file names may have a prefix, as in EMNIST's `emnist-letters-train-images-idx3-ubyte.gz`. The prefix is then the
//! name of the data set. If a directory contains several data sets, append the prefix to the path of the directory to
//! select one: `emnist/emnist-letters`.
//!
//! [`open`] reads only the original MNIST. [`open_unverified`] reads any data set in the same format, for example
//! Fashion-MNIST or a part of EMNIST (letters, balanced, bymerge, byclass, digits, mnist). [`open_labelled`] does the
//! same, but the caller gives the labels of the classes. All three functions check all files completely. If a file is
//! missing or damaged, they return a [`DataError`] that says how to fix it.
//!
//! EMNIST stores its images column by column, so they appear mirrored along the diagonal. This crate does not mirror
//! them back, because the order of pixels does not matter to a network of dense layers.

#[cfg(feature = "download")]
mod download;
mod foreign;
mod gzip;
mod idx;
mod labels;
mod names;
#[cfg(not(target_arch = "wasm32"))]
mod parser;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
#[cfg(not(target_arch = "wasm32"))]
use std::thread;

use self::idx::{Idx, Kind};
use self::names::{FILES, Name, Place};
#[cfg(not(target_arch = "wasm32"))]
use self::parser::{Feed, Parser};
use super::{DataError, Dataset, Labels, Split};
use crate::parallel;

#[cfg(feature = "download")]
pub use self::download::{
    MIRRORS, Progress, cache_dir, download, download_from, locate, open_or_download,
};

/// Pixels per image column: the height of an image.
pub const ROWS: usize = 28;
/// Pixels per image row: the width of an image.
pub const COLUMNS: usize = 28;
/// Pixels per image: the features of an example.
pub const PIXELS: usize = ROWS * COLUMNS;
/// Number of MNIST classes: the digits 0 to 9.
pub const CLASSES: usize = 10;

/// Reads the original MNIST from the four files in `directory`.
///
/// The data set has 60,000 training examples and 10,000 test examples in 10 classes. Each example has 784 bytes (28
/// rows of 28 pixels; 0 is background, 255 is ink).
///
/// The SHA-256 of each unpacked file must be the SHA-256 of the original file.
///
/// # Errors
/// A [`DataError`] that names the file when a file is missing, unreadable, malformed, or not the original.
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
    let place = Place::find(directory.as_ref())?;
    let check = |at: usize, idx: &Idx| idx.check_sha256(&FILES[at]);
    load("MNIST", &place, check, |_| Ok(labels::DIGITS))
}

/// Reads any data set in the format of MNIST from its four files.
///
/// `path` is a directory, or a directory and the prefix of the file names, such as `emnist/emnist-letters`. The name of
/// the data set is the prefix, or the name of the directory if there is no prefix.
///
/// The training part and the test part must each have at least one image of 28×28 pixels, and one label per image.
///
/// The labels determine the classes. If no label is above 9, the data set has the 10 classes of MNIST. Otherwise the
/// classes are all labels from 0 to the largest label, or from 1 if no label is 0. The smallest of these labels becomes
/// class 0. So EMNIST's letters, which have the labels 1 to 26, get the classes 0 to 25.
///
/// If there are labels above 9, each class must have a training example: otherwise a single damaged label could add
/// many classes. If a class has no training example, use [`open_labelled`].
///
/// # Errors
/// A [`DataError`] that names the file when a file is missing, unreadable or malformed, or contains a label that may be
/// damaged.
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
pub fn open_unverified(path: impl AsRef<Path>) -> Result<Split, DataError> {
    let place = Place::find(path.as_ref())?;
    load(&place.name(), &place, no_check, |files| {
        labels::find(parts(files))
    })
}

/// Returns the range of labels that [`open_unverified`] maps to classes. For EMNIST's letters it returns `1..=26`,
/// where label 1 is class 0.
///
/// # Errors
/// The errors of [`open_unverified`], except for errors in the contents of the image files, which are not read.
pub fn find_labels(path: impl AsRef<Path>) -> Result<RangeInclusive<u8>, DataError> {
    let place = Place::find(path.as_ref())?;
    let located = place.locate_all()?.into_iter();
    let labels = located.filter(|(kind, _)| *kind == Kind::Labels);
    let read: Vec<_> = labels
        .map(|(kind, path)| Idx::read(kind, path, |_| {}))
        .collect::<Result<_, _>>()?;
    labels::find([&read[0], &read[1]])
}

/// Reads a data set like [`open_unverified`], but takes the given labels as its classes, even if some of them do not
/// occur. The first label is class 0.
///
/// # Errors
/// The errors of [`open_unverified`], and [`DataError::IdxLabel`] when a file contains a label outside of `labels`.
///
/// ```
/// use std::fs;
/// use wgrad::data::mnist;
///
/// # let directory = tempfile::tempdir()?;
/// # let path = |name: &str| directory.path().join(name);
/// # let images = [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28], &[0; 1568][..]].concat();
/// let labels = [0, 0, 8, 1, 0, 0, 0, 2, 1, 26];
/// for part in ["train", "test"] {
///     # fs::write(path(&format!("few-letters-{part}-images-idx3-ubyte")), &images)?;
///     fs::write(path(&format!("few-letters-{part}-labels-idx1-ubyte")), labels)?;
/// }
///
/// let letters = mnist::open_labelled(path("few-letters"), 1..=26)?;
/// assert_eq!(letters.train.name(), "few-letters train");
/// assert_eq!(letters.train.labels().indices(), [0, 25]);
/// assert_eq!(letters.train.labels().classes(), 26);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open_labelled(
    path: impl AsRef<Path>,
    labels: RangeInclusive<u8>,
) -> Result<Split, DataError> {
    let place = Place::find(path.as_ref())?;
    load(&place.name(), &place, no_check, |files| {
        labels::check(&labels, parts(files)).map(|()| labels.clone())
    })
}

/// Reads the original MNIST, or any data set in its format, from four named files in memory.
///
/// A web page can use this for files that were dropped on it. The file names and the classes are as in
/// [`open_unverified`]. The name of the data set is `MNIST` if the files are the original ones, otherwise the prefix of
/// the file names, or `name` if there is no prefix.
///
/// ```
/// use wgrad::data::{DataError, mnist};
///
/// let error = mnist::from_files("dropped", [("photo.png", vec![1, 2, 3])]).unwrap_err();
/// assert!(matches!(error, DataError::UnknownFile { .. }));
/// ```
///
/// # Errors
/// A [`DataError`] that names the file when a file is missing, malformed, or not one of the four.
pub fn from_files<N: Into<String>>(
    name: &str,
    files: impl IntoIterator<Item = (N, Vec<u8>)>,
) -> Result<Split, DataError> {
    let mut found: [Option<(usize, Idx)>; 4] = [const { None }; 4];
    let mut prefix: Option<String> = None;
    for (file, bytes) in files {
        let file: String = file.into();
        let Some(given) = Name::parse(&file) else {
            return Err(DataError::UnknownFile { file: file.into() });
        };
        let first = prefix.get_or_insert_with(|| given.prefix.to_owned());
        if first != given.prefix {
            return Err(DataError::MixedFiles {
                names: [first.clone(), given.prefix.to_owned()],
            });
        }
        let at = given.file;
        let spelling = given.spelling;
        if found[at]
            .as_ref()
            .is_some_and(|(best, _)| *best <= spelling)
        {
            continue;
        }
        let length = bytes.len() as u64;
        let idx = Idx::parse(FILES[at].kind, file.into(), &bytes[..], length)?;
        found[at] = Some((spelling, idx));
    }
    let prefix = prefix.unwrap_or_default();
    if found.iter().any(Option::is_none) {
        let named = found.iter().zip(&FILES);
        let missing = named.filter(|(idx, _)| idx.is_none());
        return Err(DataError::MissingFiles {
            missing: missing
                .map(|(_, original)| original.spellings(&prefix).remove(0))
                .collect(),
        });
    }
    let files: Vec<_> = found.into_iter().flatten().map(|(_, idx)| idx).collect();
    check_counts(&files)?;
    let mut originals = files.iter().zip(&FILES);
    if originals.all(|(idx, original)| idx.check_sha256(original).is_ok()) {
        return split_bodies("MNIST", files, labels::DIGITS);
    }
    let labels = labels::find(parts(&files))?;
    let name = if prefix.is_empty() { name } else { &prefix };
    split_bodies(name, files, labels)
}

/// The files of a data set with their kinds, in the order of [`FILES`].
type Located = [(Kind, PathBuf)];

/// Accepts any file.
fn no_check(_: usize, _: &Idx) -> Result<(), DataError> {
    Ok(())
}

/// Loads a data set from four files. Each file must be well-formed, and images and labels must have equal counts.
/// `check` checks a file, which is given by its index in [`FILES`]. `judge` determines the labels of the classes.
#[cfg(not(target_arch = "wasm32"))]
fn load(
    name: &str,
    place: &Place,
    check: impl Fn(usize, &Idx) -> Result<(), DataError> + Sync,
    judge: impl Fn(&[Idx]) -> Result<RangeInclusive<u8>, DataError>,
) -> Result<Split, DataError> {
    let located = place.locate_all()?;
    let parser = if are_for_parser(&located) {
        Parser::start().ok()
    } else {
        None
    };
    let Some((parser, feeds)) = parser else {
        return load_bodies(name, &located, check, judge);
    };
    thread::scope(|scope| {
        // The parser reads while the files are unpacked, and continues during the checks.
        let parsing = thread::Builder::new().spawn_scoped(scope, || parser.parse());
        let Ok(parsing) = parsing else {
            feeds.into_iter().for_each(Feed::abandon);
            return load_bodies(name, &located, check, judge);
        };
        let feeds = feeds.into_iter();
        let files = read(
            &located,
            feeds.map(|mut feed| move |bytes: &[u8]| feed.write(bytes)),
            check,
        );
        let judged = files.and_then(|files| {
            let labels = judge(&files)?;
            Ok((files, labels))
        });
        // The crate `mnist` panics if it cannot open a file. Then the contents that were read and checked here are
        // used.
        let parsed = parsing.join().ok().flatten();
        let (files, labels) = judged?;
        // Check the counts again, because a file may have changed after its header was read.
        let are_parsed = files
            .iter()
            .zip(parser::COUNTS)
            .all(|(idx, count)| idx.count() == count as usize);
        match parsed.filter(|_| are_parsed) {
            Some(parsed) => {
                drop(files);
                let train = (parsed.trn_img, parsed.trn_lbl);
                named(name, train, (parsed.tst_img, parsed.tst_lbl), &labels)
            }
            None => split_bodies(name, files, labels),
        }
    })
}

#[cfg(target_arch = "wasm32")]
fn load(
    name: &str,
    place: &Place,
    check: impl Fn(usize, &Idx) -> Result<(), DataError> + Sync,
    judge: impl Fn(&[Idx]) -> Result<RangeInclusive<u8>, DataError>,
) -> Result<Split, DataError> {
    load_bodies(name, &place.locate_all()?, check, judge)
}

/// Loads a data set like [`load`], but without the parser of the crate `mnist`.
fn load_bodies(
    name: &str,
    located: &Located,
    check: impl Fn(usize, &Idx) -> Result<(), DataError> + Sync,
    judge: impl Fn(&[Idx]) -> Result<RangeInclusive<u8>, DataError>,
) -> Result<Split, DataError> {
    let files = read(located, located.iter().map(|_| |_: &[u8]| {}), check)?;
    let labels = judge(&files)?;
    split_bodies(name, files, labels)
}

/// Reads and checks the files, and passes the contents of each file to its feed.
///
/// The first file is the largest, and is passed on while it is unpacked. The other files are passed on after they are
/// unpacked, because the parser reads the feeds one after another. Errors in the format of any file take precedence
/// over errors of `check`.
fn read<F: FnMut(&[u8]) + Send>(
    located: &Located,
    feeds: impl Iterator<Item = F>,
    check: impl Fn(usize, &Idx) -> Result<(), DataError> + Sync,
) -> Result<Vec<Idx>, DataError> {
    let feeds = feeds.map(|feed| Mutex::new(Some(feed)));
    let items: Vec<_> = located.iter().zip(feeds).enumerate().collect();
    let read = parallel::map(&items, |(at, ((kind, path), feed))| {
        // Dropping a feed ends it. The parser waits for this, so drop the feed before the first file is checked.
        let mut feed = feed.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut fed = |bytes: &[u8]| feed.iter_mut().for_each(|feed| feed(bytes));
        if *at == 0 {
            let idx = Idx::read(*kind, path.clone(), fed)?;
            drop(feed);
            let checked = check(*at, &idx);
            return Ok((idx, checked));
        }
        let idx = Idx::read(*kind, path.clone(), |_| {})?;
        let checked = check(*at, &idx);
        fed(idx.body());
        Ok((idx, checked))
    });
    let read = read.into_iter().collect::<Result<Vec<_>, DataError>>()?;
    let (files, checked): (Vec<_>, Vec<_>) = read.into_iter().unzip();
    check_counts(&files)?;
    checked.into_iter().collect::<Result<(), _>>()?;
    Ok(files)
}

/// Whether the file headers state the numbers of examples that the parser expects.
#[cfg(not(target_arch = "wasm32"))]
fn are_for_parser(located: &Located) -> bool {
    let mut counts = located.iter().zip(parser::COUNTS);
    counts.all(|((kind, path), count)| {
        let announced = Idx::announced_count(*kind, path.clone());
        announced.is_ok_and(|announced| announced == u64::from(count))
    })
}

fn check_counts(files: &[Idx]) -> Result<(), DataError> {
    for [images, labels] in files.as_chunks().0 {
        if images.count() != labels.count() {
            return Err(DataError::IdxCount {
                labels_file: labels.path().to_owned(),
                images_file: images.path().to_owned(),
                images: images.count(),
                labels: labels.count(),
            });
        }
    }
    Ok(())
}

/// Returns the files of training labels and test labels.
fn parts(files: &[Idx]) -> [&Idx; 2] {
    [&files[1], &files[3]]
}

fn split_bodies(
    name: &str,
    files: Vec<Idx>,
    labels: RangeInclusive<u8>,
) -> Result<Split, DataError> {
    assert_eq!(files.len(), FILES.len(), "mnist: number of files");
    let mut bodies = files.into_iter().map(Idx::into_body);
    let mut next = || bodies.next().unwrap_or_default();
    let train = (next(), next());
    let test = (next(), next());
    named(name, train, test, &labels)
}

type Bodies = (Vec<u8>, Vec<u8>);

fn named(
    name: &str,
    train: Bodies,
    test: Bodies,
    labels: &RangeInclusive<u8>,
) -> Result<Split, DataError> {
    Ok(Split {
        train: dataset(format!("{name} train"), train, labels)?,
        test: dataset(format!("{name} test"), test, labels)?,
    })
}

/// Creates a data set. All labels must be in the range `of`, whose first label is class 0.
fn dataset(
    name: String,
    (images, labels): Bodies,
    of: &RangeInclusive<u8>,
) -> Result<Dataset, DataError> {
    let classes = labels
        .into_iter()
        .map(|label| u32::from(label - of.start()));
    let labels = Labels::from_classes(classes.collect(), of.len())?;
    Dataset::new(name, PIXELS, images, labels)
}
