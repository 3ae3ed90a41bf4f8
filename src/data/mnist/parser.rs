//! The `mnist` crate, fed with nothing but checked files.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use ::mnist::{Mnist, MnistBuilder};

use super::idx::Idx;
use super::{FILES, TEST_EXAMPLES, TRAIN_EXAMPLES};
use crate::data::DataError;

/// Parses four checked files, in the order of [`FILES`], that hold as many examples as the
/// original does: the crate reads no other count.
///
/// The crate reads plain files by path, and panics on what it does not expect. It is therefore
/// given a private copy, which nothing can change after the checks.
pub(super) fn parse(files: Vec<Idx>) -> Result<Mnist, DataError> {
    let copy = PrivateDirectory::new()?;
    for (idx, original) in files.iter().zip(&FILES) {
        idx.write_to(&copy.path.join(original.name))
            .map_err(|source| copy.unusable(source))?;
    }
    drop(files);
    let path = copy.path.to_str().ok_or_else(|| {
        copy.unusable(io::Error::new(
            io::ErrorKind::InvalidFilename,
            "its path is not UTF-8",
        ))
    })?;
    let [train_images, train_labels, test_images, test_labels] = FILES.map(|file| file.name);
    Ok(MnistBuilder::new()
        .base_path(path)
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

/// A new directory that others cannot enter, removed when dropped.
#[derive(Debug)]
struct PrivateDirectory {
    path: PathBuf,
}

impl PrivateDirectory {
    fn new() -> Result<Self, DataError> {
        Self::within(&std::env::temp_dir())
    }

    fn within(parent: &Path) -> Result<Self, DataError> {
        loop {
            // A fresh `RandomState` is keyed differently each time: a name nobody can foresee.
            let name = format!("wgrad-{:016x}", RandomState::new().hash_one(0));
            let path = parent.join(name);
            match builder().create(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => {
                    return Err(DataError::TemporaryDirectory {
                        directory: parent.to_owned(),
                        source,
                    });
                }
            }
        }
    }

    fn unusable(&self, source: io::Error) -> DataError {
        DataError::TemporaryDirectory {
            directory: self.path.clone(),
            source,
        }
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        // Nobody is left to tell; the system clears its temporary directory in time.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(unix)]
fn builder() -> fs::DirBuilder {
    use std::os::unix::fs::DirBuilderExt;

    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700);
    builder
}

#[cfg(not(unix))]
fn builder() -> fs::DirBuilder {
    fs::DirBuilder::new()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_private_directory_is_new_closed_to_others_and_removed() {
        let parent = tempfile::tempdir().unwrap();
        let directory = PrivateDirectory::within(parent.path()).unwrap();
        let other = PrivateDirectory::within(parent.path()).unwrap();
        assert_ne!(directory.path, other.path);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&directory.path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
        fs::write(directory.path.join("file"), "contents").unwrap();
        drop((directory, other));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_temporary_directory_that_cannot_be_used_is_an_error_that_names_it() {
        let parent = tempfile::tempdir().unwrap();
        let missing = parent.path().join("missing");
        let error = PrivateDirectory::within(&missing).unwrap_err();
        assert!(matches!(
            &error,
            DataError::TemporaryDirectory { directory, source }
                if *directory == missing && source.kind() == io::ErrorKind::NotFound
        ));
        let message = error.to_string();
        assert!(
            message.contains(&missing.display().to_string()),
            "{message}"
        );
        assert!(message.contains("TMPDIR"), "{message}");
    }
}
