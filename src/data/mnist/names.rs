//! The names of a data set's four files, and the search for them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::idx::Kind;
use crate::data::DataError;

/// One of the four files of the original MNIST.
#[derive(Debug)]
pub(super) struct Original {
    /// The name of the gzipped file.
    pub(super) gz_name: &'static str,
    pub(super) kind: Kind,
    /// SHA-256 of the unpacked contents, in hexadecimal.
    pub(super) sha256: &'static str,
}

/// The four files: training images and labels, then test images and labels.
pub(super) const FILES: [Original; 4] = [
    Original {
        gz_name: "train-images-idx3-ubyte.gz",
        kind: Kind::Images,
        sha256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    },
    Original {
        gz_name: "train-labels-idx1-ubyte.gz",
        kind: Kind::Labels,
        sha256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    },
    Original {
        gz_name: "t10k-images-idx3-ubyte.gz",
        kind: Kind::Images,
        sha256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    },
    Original {
        gz_name: "t10k-labels-idx1-ubyte.gz",
        kind: Kind::Labels,
        sha256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
];

impl Original {
    /// The name of the file without `.gz`.
    pub(super) fn name(&self) -> &'static str {
        self.gz_name.strip_suffix(".gz").unwrap_or(self.gz_name)
    }

    /// The names that this file may have in a data set with the given prefix, in order of preference. EMNIST uses
    /// `test` where MNIST uses `t10k`.
    pub(super) fn spellings(&self, prefix: &str) -> Vec<String> {
        let mut names = vec![self.name().to_owned()];
        if let Some(rest) = self.name().strip_prefix("t10k") {
            names.push(format!("test{rest}"));
        }
        let dotted = |name: &String| name.replace("-idx", ".idx");
        names = names
            .iter()
            .flat_map(|name| [name.clone(), dotted(name)])
            .collect();
        if !prefix.is_empty() {
            names = names
                .iter()
                .map(|name| format!("{prefix}-{name}"))
                .collect();
        }
        let zipped: Vec<_> = names.iter().map(|name| format!("{name}.gz")).collect();
        names.extend(zipped);
        names
    }
}

/// Subdirectories into which other programs put the files of a data set.
const SUBDIRECTORIES: [&str; 7] = [
    "raw",
    "gzip",
    "MNIST/raw",
    "FashionMNIST/raw",
    "EMNIST/raw",
    "MNIST",
    "mnist",
];

/// A parsed file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name<'a> {
    /// The prefix, for example `emnist-letters` in `emnist-letters-train-images-idx3-ubyte.gz`; empty if there is
    /// none.
    pub(super) prefix: &'a str,
    /// Index in [`FILES`].
    pub(super) file: usize,
    /// Index in [`Original::spellings`]. A lower index is preferred.
    pub(super) spelling: usize,
}

impl<'a> Name<'a> {
    /// Parses a file name. `None` if it is not a name that a file of a data set may have.
    pub(super) fn parse(name: &'a str) -> Option<Self> {
        FILES.iter().enumerate().find_map(|(file, original)| {
            let spellings = original.spellings("");
            spellings.iter().enumerate().find_map(|(spelling, end)| {
                let before = name.strip_suffix(end.as_str())?;
                let prefix = match before.strip_suffix('-') {
                    // Ignore hidden files of the operating system, such as `._emnist-…` of macOS.
                    Some(prefix) if prefix.is_empty() || prefix.starts_with('.') => return None,
                    Some(prefix) => prefix,
                    None if before.is_empty() => before,
                    None => return None,
                };
                Some(Self {
                    prefix,
                    file,
                    spelling,
                })
            })
        })
    }
}

/// A data set on disk.
#[derive(Debug)]
pub(super) struct Place {
    directory: PathBuf,
    /// The prefix of the file names; empty if there is none.
    prefix: String,
}

impl Place {
    /// Finds the data set at `path`: a directory with one data set, or a directory and the prefix of a data set's file
    /// names.
    pub(super) fn find(path: &Path) -> Result<Self, DataError> {
        match prefixes_in(path) {
            Ok(prefixes) => Self::only(path, prefixes),
            // The files may be readable even if the directory cannot be listed.
            Err(_) if path.is_dir() => Ok(Self::unprefixed(path)),
            Err(source) => Self::of_prefix(path, source),
        }
    }

    /// The data set in `directory` whose file names have no prefix.
    pub(super) fn unprefixed(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            prefix: String::new(),
        }
    }

    /// Returns the only data set in `directory`. If there are several, returns the one without a prefix, because a path
    /// cannot select it by a prefix.
    fn only(directory: &Path, mut prefixes: BTreeSet<String>) -> Result<Self, DataError> {
        if prefixes.len() > 1 && !prefixes.contains("") {
            return Err(DataError::SeveralDataSets {
                directory: directory.to_owned(),
                names: prefixes.into_iter().collect(),
            });
        }
        Ok(Self {
            directory: directory.to_owned(),
            prefix: prefixes.pop_first().unwrap_or_default(),
        })
    }

    /// Finds the data set whose prefix is the last component of `path`. `source` is the error that occurred when `path`
    /// was opened as a directory.
    fn of_prefix(path: &Path, source: io::Error) -> Result<Self, DataError> {
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let prefix = path.file_name().and_then(|name| name.to_str());
        if let Some(dead) = dead_link(path) {
            return Err(dead);
        }
        if let Some(name) = prefix.and_then(Name::parse).filter(|_| path.is_file()) {
            return Err(DataError::OneOfFour {
                file: path.to_owned(),
                data_set: match name.prefix {
                    "" => parent.to_owned(),
                    prefix => parent.join(prefix),
                },
            });
        }
        let prefixes = match source.kind() {
            io::ErrorKind::NotFound => prefixes_in(parent).unwrap_or_default(),
            _ => BTreeSet::new(),
        };
        match prefix.filter(|prefix| prefixes.contains(*prefix)) {
            Some(prefix) => Ok(Self {
                directory: parent.to_owned(),
                prefix: prefix.to_owned(),
            }),
            None if prefixes.iter().any(|prefix| !prefix.is_empty()) => Err(DataError::NoDataSet {
                path: path.to_owned(),
                directory: parent.to_owned(),
                names: prefixes
                    .into_iter()
                    .filter(|name| !name.is_empty())
                    .collect(),
            }),
            None => Err(DataError::Directory {
                directory: path.to_owned(),
                source,
            }),
        }
    }

    /// The name of the data set: its prefix, or the name of its directory if it has no prefix.
    pub(super) fn name(&self) -> String {
        if !self.prefix.is_empty() {
            return self.prefix.clone();
        }
        // Resolve the paths `.` and `..`, which do not contain the directory's name.
        let real = fs::canonicalize(&self.directory).unwrap_or_else(|_| self.directory.clone());
        let name = real.file_name().unwrap_or(real.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// The paths of the four files, in the order of [`FILES`]. Fails on a missing file before any file is read.
    pub(super) fn locate_all(&self) -> Result<Vec<(Kind, PathBuf)>, DataError> {
        let located = FILES
            .iter()
            .map(|original| Ok((original.kind, self.locate(original)?)));
        let located: Result<_, _> = located.collect();
        located.map_err(|error| match error {
            DataError::MissingFile { file } => self.explain_missing(file),
            error => error,
        })
    }

    /// Explains why a file is missing: it may be a dead link, have a misspelled name, or be in a subdirectory.
    fn explain_missing(&self, file: PathBuf) -> DataError {
        let name = file.file_name().and_then(|name| name.to_str());
        let Some(looked_for) = name.and_then(Name::parse) else {
            return DataError::MissingFile { file };
        };
        let spellings = FILES[looked_for.file].spellings(&self.prefix);
        let dead = |name: &String| dead_link(&self.directory.join(name));
        if let Some(dead) = spellings.iter().find_map(dead) {
            return dead;
        }
        if let Some(found) = misspelled_in(&self.directory, looked_for.file) {
            return DataError::MisspelledFile { file, found };
        }
        let subdirectories = SUBDIRECTORIES.map(|place| self.directory.join(place));
        let has_files = |place: &PathBuf| prefixes_in(place).is_ok_and(|names| !names.is_empty());
        match subdirectories.into_iter().find(has_files) {
            Some(subdirectory) => DataError::InSubdirectory { file, subdirectory },
            None => DataError::MissingFile { file },
        }
    }

    /// The path of one of the four files. A plain file takes precedence over a gzipped one.
    pub(super) fn locate(&self, original: &Original) -> Result<PathBuf, DataError> {
        let mut not_a_file = None;
        let spellings = original.spellings(&self.prefix);
        for path in spellings.iter().map(|name| self.directory.join(name)) {
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_file() => return Ok(path),
                Ok(_) => not_a_file = not_a_file.or(Some(path)),
                Err(source) if source.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(DataError::Read { file: path, source }),
            }
        }
        Err(match not_a_file {
            Some(file) => DataError::NotAFile { file },
            None => DataError::MissingFile {
                file: self.directory.join(&spellings[0]),
            },
        })
    }
}

/// Returns an error if a path is a link whose target does not exist.
fn dead_link(path: &Path) -> Option<DataError> {
    let target = fs::read_link(path).ok()?;
    let is_dead =
        matches!(fs::metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound);
    is_dead.then(|| DataError::DeadLink {
        link: path.to_owned(),
        target,
    })
}

/// Finds a file whose name would be correct in lower case and with `-` instead of `_`.
fn misspelled_in(directory: &Path, file: usize) -> Option<PathBuf> {
    let mut found = fs::read_dir(directory).ok()?.filter_map(|entry| {
        let name = entry.ok()?.file_name();
        let given = name.to_str()?;
        let usual = given.to_ascii_lowercase().replace('_', "-");
        let is_it = Name::parse(given).is_none() && Name::parse(&usual)?.file == file;
        is_it.then(|| directory.join(given))
    });
    found.next()
}

/// The prefixes of all data sets that have a file in the directory.
fn prefixes_in(directory: &Path) -> io::Result<BTreeSet<String>> {
    let mut prefixes = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let parsed = name.to_str().and_then(Name::parse);
        prefixes.extend(parsed.map(|name| name.prefix.to_owned()));
    }
    Ok(prefixes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_from_its_end() {
        for (name, expected) in [
            ("train-images-idx3-ubyte", Some(("", 0, 0))),
            ("train-labels.idx1-ubyte.gz", Some(("", 1, 3))),
            ("test-images-idx3-ubyte", Some(("", 2, 2))),
            (
                "emnist-letters-test-labels-idx1-ubyte.gz",
                Some(("emnist-letters", 3, 6)),
            ),
            ("my test-train-images-idx3-ubyte", Some(("my test", 0, 0))),
            ("-train-images-idx3-ubyte", None),
            ("._emnist-letters-train-images-idx3-ubyte", None),
            ("mytrain-images-idx3-ubyte", None),
            ("train-images-idx3-ubyte.gz.gz", None),
            ("train-images-idx3-ubyte.gz.part", None),
            ("qmnist-train-labels-idx2-int.gz", None),
            ("", None),
        ] {
            let found = Name::parse(name).map(|name| (name.prefix, name.file, name.spelling));
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn every_spelling_is_the_name_of_its_file() {
        for (file, original) in FILES.iter().enumerate() {
            for (spelling, name) in original.spellings("some").iter().enumerate() {
                let prefix = "some";
                let expected = Name {
                    prefix,
                    file,
                    spelling,
                };
                assert_eq!(Name::parse(name), Some(expected));
            }
        }
    }
}
