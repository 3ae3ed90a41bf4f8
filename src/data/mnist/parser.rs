//! The `mnist` crate, fed with nothing but checked files.

use std::io;

use ::mnist::{Mnist, MnistBuilder};

use self::files::Copies;
use super::idx::Idx;
use super::names::FILES;
use super::{TEST_EXAMPLES, TRAIN_EXAMPLES};

/// Parses four checked files, in the order of [`FILES`], that hold as many examples as the original does:
/// the crate reads no other count.
///
/// The crate reads plain files by path, and panics on what it does not expect. It is therefore given a
/// private copy, which nothing can change after the checks. Where no copy can be made, for want of a
/// temporary directory with room for 55 MB, the files come back: they are already what it would read.
pub(super) fn parse(files: Vec<Idx>) -> Result<Mnist, Vec<Idx>> {
    let copies = match Copies::of(&files) {
        Ok(copies) => copies,
        Err(_) => return Err(files),
    };
    drop(files);
    let [train_images, train_labels, test_images, test_labels] = copies.names();
    Ok(MnistBuilder::new()
        .base_path(copies.directory())
        .training_images_filename(train_images)
        .training_labels_filename(train_labels)
        .test_images_filename(test_images)
        .test_labels_filename(test_labels)
        .label_format_digit()
        .training_set_length(TRAIN_EXAMPLES)
        .validation_set_length(0)
        .test_set_length(TEST_EXAMPLES)
        .finalize())
}

/// Copies without a name in any directory, so that they are gone when the process is, however it ends.
#[cfg(unix)]
mod files {
    use std::fs::{self, File};
    use std::io::Seek;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use super::{FILES, Idx, io};

    /// Where a process finds what it has open.
    const OPEN_FILES: [&str; 2] = ["/proc/self/fd", "/dev/fd"];

    pub(super) struct Copies {
        directory: &'static str,
        names: [String; FILES.len()],
        /// Open as long as they are to be found.
        _files: Vec<File>,
    }

    impl Copies {
        pub(super) fn of(files: &[Idx]) -> io::Result<Self> {
            let copies = files.iter().map(|idx| {
                let mut copy = tempfile::tempfile()?;
                idx.write_to(&mut copy)?;
                // Some systems open at the place where the file open already stands.
                copy.rewind()?;
                Ok(copy)
            });
            let copies = copies.collect::<io::Result<Vec<_>>>()?;
            let names = std::array::from_fn(|at| copies[at].as_raw_fd().to_string());
            let shows_all = |directory: &&str| {
                let mut pairs = copies.iter().zip(&names);
                pairs.all(|(copy, name)| is_same(copy, &Path::new(directory).join(name)))
            };
            let directory = OPEN_FILES.into_iter().find(shows_all);
            Ok(Self {
                directory: directory.ok_or(io::ErrorKind::Unsupported)?,
                names,
                _files: copies,
            })
        }

        pub(super) fn directory(&self) -> &str {
            self.directory
        }

        pub(super) fn names(&self) -> [&str; FILES.len()] {
            self.names.each_ref().map(String::as_str)
        }
    }

    /// Whether `path` opens what `file` has open: a directory of open files is missing in a bare `chroot`.
    fn is_same(file: &File, path: &Path) -> bool {
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino(), metadata.len());
        let found = File::open(path).and_then(|opened| opened.metadata());
        match (file.metadata(), found) {
            (Ok(expected), Ok(found)) => identity(expected) == identity(found),
            _ => false,
        }
    }

    #[cfg(test)]
    mod tests {
        #![allow(clippy::unwrap_used)]

        use super::super::super::idx::Kind;
        use super::super::super::names::Original;
        use super::*;

        fn example(original: &Original) -> (Vec<u8>, Idx) {
            let mut bytes = original.kind.magic().to_vec();
            bytes.extend([0, 0, 0, 1]);
            if original.kind == Kind::Images {
                bytes.extend([0, 0, 0, 28, 0, 0, 0, 28]);
                bytes.extend([7; 783]);
            }
            bytes.push(9);
            let path = original.name().into();
            let idx = Idx::parse(original.kind, path, &bytes[..], bytes.len() as u64);
            (bytes, idx.unwrap())
        }

        #[test]
        fn copies_are_whole_and_have_no_name() {
            let (bytes, files): (Vec<_>, Vec<_>) = FILES.iter().map(example).unzip();
            let copies = Copies::of(&files).unwrap();
            for (name, expected) in copies.names().into_iter().zip(bytes) {
                let path = Path::new(copies.directory()).join(name);
                assert_eq!(fs::metadata(&path).unwrap().nlink(), 0);
                assert_eq!(fs::read(&path).unwrap(), expected);
            }
        }

        #[test]
        fn another_file_is_told_from_a_copy() {
            let (one, other) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
            let path = |file: &File| Path::new(OPEN_FILES[1]).join(file.as_raw_fd().to_string());
            assert!(is_same(&one, &path(&one)));
            assert!(!is_same(&one, &path(&other)));
            assert!(!is_same(&one, Path::new("/no/such/file")));
        }
    }
}

/// Copies in a directory that others cannot enter, removed when dropped.
#[cfg(not(unix))]
mod files {
    use std::fs::File;

    use tempfile::TempDir;

    use super::super::names::Original;
    use super::{FILES, Idx, io};

    pub(super) struct Copies {
        directory: TempDir,
    }

    impl Copies {
        pub(super) fn of(files: &[Idx]) -> io::Result<Self> {
            let directory = tempfile::tempdir()?;
            if directory.path().to_str().is_none() {
                return Err(io::ErrorKind::InvalidFilename.into());
            }
            for (idx, original) in files.iter().zip(&FILES) {
                idx.write_to(File::create_new(directory.path().join(original.name()))?)?;
            }
            Ok(Self { directory })
        }

        pub(super) fn directory(&self) -> &str {
            self.directory.path().to_str().unwrap_or_default()
        }

        pub(super) fn names(&self) -> [&str; FILES.len()] {
            FILES.each_ref().map(Original::name)
        }
    }
}
