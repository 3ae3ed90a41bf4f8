//! A private directory that is removed when its owner is dropped.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// The number in the name of the next directory. Numbers are not reused, so no directory gets the name of a removed
/// one.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A temporary directory that only this user may enter. It is removed on drop.
#[derive(Debug)]
pub(crate) struct ScratchDir {
    path: PathBuf,
}

impl ScratchDir {
    /// Creates an empty directory inside the system's temporary directory.
    pub(crate) fn new() -> io::Result<Self> {
        let parent = std::env::temp_dir();
        for _ in 0..1000 {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("wgrad-xtask-{}-{number}", process::id()));
            // If the name is taken, creating the directory fails. So a directory of another program is never used.
            match private_dir().create(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// Returns the directory's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // An error does no harm here: the system clears its temporary directory.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(unix)]
fn private_dir() -> DirBuilder {
    use std::os::unix::fs::DirBuilderExt;

    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

#[cfg(not(unix))]
fn private_dir() -> DirBuilder {
    DirBuilder::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_new_and_goes_away() -> io::Result<()> {
        let one = ScratchDir::new()?;
        let other = ScratchDir::new()?;
        assert_ne!(one.path(), other.path());
        fs::write(one.path().join("file"), "content")?;
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists());
        assert!(other.path().is_dir());
        Ok(())
    }
}
