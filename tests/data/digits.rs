//! A small data set in MNIST's format, and ways to damage it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;
use wgrad::data::{DataError, Split, mnist};

pub(crate) const TRAIN_IMAGES: &str = "train-images-idx3-ubyte";
pub(crate) const TRAIN_LABELS: &str = "train-labels-idx1-ubyte";
pub(crate) const TEST_IMAGES: &str = "t10k-images-idx3-ubyte";
pub(crate) const TEST_LABELS: &str = "t10k-labels-idx1-ubyte";
pub(crate) const NAMES: [&str; 4] = [TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS];

pub(crate) fn idx(magic: u32, sizes: &[u32], body: &[u8]) -> Vec<u8> {
    let header = [&[magic], sizes].concat();
    let header = header.iter().flat_map(|word| word.to_be_bytes());
    header.chain(body.iter().copied()).collect()
}

pub(crate) fn images(count: u32) -> Vec<u8> {
    let pixels: Vec<u8> = (0..count * 784)
        .map(|pixel| (pixel % 251).to_le_bytes()[0])
        .collect();
    idx(0x803, &[count, 28, 28], &pixels)
}

pub(crate) fn labels(count: u32) -> Vec<u8> {
    let labels: Vec<u8> = (0..count)
        .map(|label| (label % 10).to_le_bytes()[0])
        .collect();
    idx(0x801, &[count], &labels)
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A directory named `digits` with a valid data set: 3 training examples and 2 test examples.
pub(crate) struct Digits {
    _parent: TempDir,
    pub(crate) path: PathBuf,
}

impl Digits {
    pub(crate) fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("digits");
        fs::create_dir(&path).unwrap();
        let digits = Self {
            _parent: parent,
            path,
        };
        for (name, contents) in NAMES
            .iter()
            .zip([images(3), labels(3), images(2), labels(2)])
        {
            digits.write(name, &contents);
        }
        digits
    }

    pub(crate) fn with(name: &str, contents: &[u8]) -> Self {
        let digits = Self::new();
        digits.write(name, contents);
        digits
    }

    pub(crate) fn with_gz(name: &str, contents: &[u8]) -> Self {
        let digits = Self::with(&format!("{name}.gz"), contents);
        fs::remove_file(digits.file(name)).unwrap();
        digits
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn write(&self, name: &str, contents: &[u8]) {
        fs::write(self.file(name), contents).unwrap();
    }

    pub(crate) fn open(&self) -> Result<Split, DataError> {
        mnist::open_unverified(&self.path)
    }

    /// Asserts that the data set is refused, and that the message contains the file's name and `found`. Returns the
    /// error.
    pub(crate) fn error(&self, name: &str, found: &str) -> DataError {
        let error = self.open().unwrap_err();
        assert_tells(&error, &self.file(name), found);
        // An invalid format is reported before a wrong digest, so verification gives the same error.
        let verified = mnist::open(&self.path).unwrap_err();
        assert_eq!(verified.to_string(), error.to_string());
        error
    }
}

#[track_caller]
pub(crate) fn assert_tells(error: &DataError, path: &Path, found: &str) {
    let message = error.to_string();
    for part in [&path.display().to_string(), "expected", "found", found, ";"] {
        assert!(message.contains(part), "no \"{part}\" in: {message}");
    }
    assert!(!message.contains('\n') && !message.contains("  "));
}

#[track_caller]
pub(crate) fn assert_digits(split: &Split) {
    assert_eq!(split.train.name(), "digits train");
    assert_eq!(split.test.name(), "digits test");
    assert_eq!(split.train.features(), &images(3)[16..]);
    assert_eq!(split.test.features(), &images(2)[16..]);
    assert_eq!(split.train.labels().indices(), [0, 1, 2]);
    assert_eq!(split.test.labels().indices(), [0, 1]);
    assert_eq!(split.train.labels().classes(), 10);
    assert_eq!(split.train.width(), 784);
}
