//! Temporary files: they are written completely before they get their final name.

use std::fs::{self, DirEntry, File, Metadata, OpenOptions, TryLockError};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

const PREFIX: &str = ".wgrad-";
const SUFFIX: &str = ".tmp";

/// The existing file that will be replaced, opened for writing.
#[derive(Debug)]
pub(super) struct Old {
    pub(super) file: File,
    pub(super) metadata: Metadata,
}

/// A complete file under a temporary name. It is removed on drop, unless [`persist`](Self::persist) renames it.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    /// Locked as long as this process uses the file: see [`sweep`].
    file: File,
}

impl Scratch {
    /// Creates a file with these contents in `directory`, and writes it to the disk. The file gets the permissions and
    /// the owner of `old`.
    pub(super) fn new(directory: &Path, old: Option<&Old>, bytes: &[u8]) -> io::Result<Self> {
        match Self::late_named(directory, old, bytes)? {
            Some(scratch) => Ok(scratch),
            None => Self::early_named(directory, old, bytes),
        }
    }

    /// Creates a file that gets its temporary name only after it is written. `None` if the file system does not support
    /// unnamed files.
    fn late_named(directory: &Path, old: Option<&Old>, bytes: &[u8]) -> io::Result<Option<Self>> {
        let Some(file) = unnamed(directory, old) else {
            return Ok(None);
        };
        fill(&file, old, bytes)?;
        let _ = file.try_lock();
        // If `/proc` is not mounted, the file cannot get a name.
        Ok(with_a_name(directory, |path| link(&file, path))
            .ok()
            .map(|(path, ())| Self { path, file }))
    }

    fn early_named(directory: &Path, old: Option<&Old>, bytes: &[u8]) -> io::Result<Self> {
        let scratch = Self::empty(directory, old)?;
        fill(&scratch.file, old, bytes)?;
        Ok(scratch)
    }

    fn empty(directory: &Path, old: Option<&Old>) -> io::Result<Self> {
        sweep(directory);
        loop {
            let (path, file) = with_a_name(directory, |path| new_options(old).open(path))?;
            let is_ours = match file.try_lock() {
                Ok(()) => path.exists(),
                Err(TryLockError::WouldBlock) => false,
                // On a file system without locks, `sweep` removes nothing.
                Err(TryLockError::Error(_)) => true,
            };
            // If `is_ours` is false, another process has removed the file, or is about to, because it was not locked
            // yet. Try again.
            if is_ours {
                return Ok(Self { path, file });
            }
        }
    }

    /// Renames the file to `path`, and replaces an existing file there.
    pub(super) fn persist(self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // After `persist`, this path no longer exists.
        let _ = fs::remove_file(&self.path);
    }
}

/// Writes a new file that gets its name only when it is complete. Returns `false` if the file system does not support
/// unnamed files, or if a file with that name exists.
pub(super) fn write_new(path: &Path, directory: &Path, bytes: &[u8]) -> io::Result<bool> {
    let Some(file) = unnamed(directory, None) else {
        return Ok(false);
    };
    fill(&file, None, bytes)?;
    Ok(link(&file, path).is_ok())
}

/// Checks that a file can be created in `directory`. No file remains there.
pub(super) fn probe(directory: &Path) -> io::Result<()> {
    match unnamed(directory, None) {
        Some(_) => Ok(()),
        None => Scratch::empty(directory, None).map(|_| ()),
    }
}

/// Removes temporary files of processes that no longer run.
pub(super) fn sweep(directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for path in entries.filter(is_scratch).map(|entry| entry.path()) {
        let Ok(file) = File::open(&path) else {
            continue;
        };
        // Hold the lock until the file is removed. A process that has just created the file and not locked it yet
        // notices that the file is locked or gone, and creates another one.
        if file.try_lock().is_ok() {
            let _ = fs::remove_file(&path);
        }
    }
}

fn is_scratch(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let random = name
        .to_str()
        .and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
    let is_digit = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    random.is_some_and(|random| random.len() == 16 && random.as_bytes().iter().all(is_digit))
        && entry.file_type().is_ok_and(|kind| kind.is_file())
}

/// Calls `make` with a random temporary path. If that path exists, tries again with another one.
fn with_a_name<T>(
    directory: &Path,
    make: impl Fn(&Path) -> io::Result<T>,
) -> io::Result<(PathBuf, T)> {
    loop {
        // Each `RandomState` has different keys, so the name is unpredictable.
        let random = RandomState::new().hash_one(0);
        let path = directory.join(format!("{PREFIX}{random:016x}{SUFFIX}"));
        match make(&path) {
            Ok(made) => return Ok((path, made)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes the contents. A user without permission to read the old file can never read the new contents, not even during
/// the write.
fn fill(mut file: &File, old: Option<&Old>, bytes: &[u8]) -> io::Result<()> {
    if let Some(old) = old {
        take_owner(file, old)?;
        take_attributes(file, old)?;
    }
    file.write_all(bytes)?;
    if let Some(old) = old {
        file.set_permissions(old.metadata.permissions())?;
    }
    // Write the contents to the disk now. Otherwise the new name could reach the disk before the contents.
    file.sync_all()
}

#[cfg(unix)]
fn take_owner(file: &File, old: &Old) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, fchown};

    let new = file.metadata()?;
    let old = &old.metadata;
    if (new.uid(), new.gid()) == (old.uid(), old.gid()) {
        return Ok(());
    }
    // Never replace a file by one with another owner. So report every failure as `PermissionDenied`, after which the
    // old file is overwritten in place.
    fchown(file, Some(old.uid()), Some(old.gid()))
        .map_err(|_| io::ErrorKind::PermissionDenied.into())
}

#[cfg(not(unix))]
fn take_owner(_: &File, _: &Old) -> io::Result<()> {
    Ok(())
}

/// Copies access control lists and other extended attributes.
#[cfg(target_os = "linux")]
fn take_attributes(file: &File, old: &Old) -> io::Result<()> {
    use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};

    /// Linux's limit on the size of the list of attribute names, and on the size of a value, in bytes.
    const MOST: usize = 64 << 10;
    let mut names = vec![0; MOST];
    let mut value = vec![0; MOST];
    let mut new = vec![0; MOST];
    // Not all file systems have extended attributes.
    let length = flistxattr(&old.file, &mut names[..]).unwrap_or(0);
    let names = names[..length].split(|byte| *byte == 0);
    for name in names.filter(|name| !name.is_empty()) {
        let taken = fgetxattr(&old.file, name, &mut value[..]).and_then(|length| {
            let value = &value[..length];
            match fgetxattr(file, name, &mut new[..]) {
                Ok(length) if new[..length] == *value => Ok(()),
                _ => fsetxattr(file, name, value, XattrFlags::empty()),
            }
        });
        // Without the access control list, other users might be able to read the file, so fail. Ignore errors for other
        // attributes.
        if taken.is_err() && name.starts_with(b"system.posix_acl") {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn take_attributes(_: &File, _: &Old) -> io::Result<()> {
    Ok(())
}

/// The initial permissions. If an old file exists, only the owner has access, until the old file's permissions are
/// copied. Otherwise the default permissions apply.
#[cfg(unix)]
fn mode(old: Option<&Old>) -> u32 {
    if old.is_some() { 0o600 } else { 0o666 }
}

#[cfg(unix)]
fn new_options(old: Option<&Old>) -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;

    let mut options = File::options();
    options.write(true).create_new(true).mode(mode(old));
    options
}

#[cfg(not(unix))]
fn new_options(_: Option<&Old>) -> OpenOptions {
    let mut options = File::options();
    options.write(true).create_new(true);
    options
}

/// Creates a file without a name in `directory`. `None` if the file system does not support this.
#[cfg(target_os = "linux")]
fn unnamed(directory: &Path, old: Option<&Old>) -> Option<File> {
    use rustix::fs::{Mode, OFlags};

    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(directory, flags, Mode::from_raw_mode(mode(old)));
    file.ok().map(File::from)
}

#[cfg(target_os = "linux")]
fn link(file: &File, path: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD};
    use std::os::fd::AsRawFd as _;

    let open = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, open, CWD, path, AtFlags::SYMLINK_FOLLOW)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn unnamed(_: &Path, _: Option<&Old>) -> Option<File> {
    None
}

#[cfg(not(target_os = "linux"))]
fn link(_: &File, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn both_kinds_are_whole_and_gone_when_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let (directory, target) = (directory.path(), directory.path().join("target"));
        let late = || Scratch::late_named(directory, None, b"late").unwrap();
        let early = || Scratch::early_named(directory, None, b"early").unwrap();
        for (make, expected) in [
            (&late as &dyn Fn() -> Option<Scratch>, "late"),
            (&|| Some(early()), "early"),
        ] {
            // The file system may not support unnamed files.
            let Some(scratch) = make() else { continue };
            // This must not remove a file that is in use.
            sweep(directory);
            // On other systems, the lock also prevents reading.
            if cfg!(unix) {
                assert_eq!(fs::read_to_string(&scratch.path).unwrap(), expected);
            }
            drop(scratch);
            assert_eq!(names(directory), [] as [&str; 0]);
            make().unwrap().persist(&target).unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), expected);
            assert_eq!(names(directory), ["target"]);
            fs::remove_file(&target).unwrap();
        }
    }

    #[test]
    fn nothing_is_left_of_a_file_whose_name_a_directory_has_taken() {
        let directory = tempfile::tempdir().unwrap();
        let (directory, target) = (directory.path(), directory.path().join("target"));
        fs::create_dir(&target).unwrap();
        let late = Scratch::late_named(directory, None, b"late").unwrap();
        let early = Scratch::early_named(directory, None, b"early").unwrap();
        for scratch in late.into_iter().chain([early]) {
            scratch.persist(&target).unwrap_err();
        }
        assert_eq!(names(directory), ["target"]);
    }

    /// This test runs itself in a child process with a small limit on file sizes.
    #[cfg(unix)]
    #[test]
    fn nothing_is_left_of_a_file_that_there_is_no_room_for() {
        const IN: &str = "WGRAD_TEST_NO_ROOM_IN";
        const NAME: &str =
            "files::scratch::tests::nothing_is_left_of_a_file_that_there_is_no_room_for";
        if let Some(directory) = std::env::var_os(IN) {
            let directory = Path::new(&directory);
            let bytes = vec![1; 1 << 20];
            // The file system may not support unnamed files.
            let late = Scratch::late_named(directory, None, &bytes);
            assert!(!matches!(late, Ok(Some(_))), "{late:?}");
            Scratch::early_named(directory, None, &bytes).unwrap_err();
            return assert_eq!(names(directory), [] as [&str; 0]);
        }
        let directory = tempfile::tempdir().unwrap();
        let output = std::process::Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args([NAME, "--exact"])
            .env(IN, directory.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let has_passed = output.status.success() && text.contains("1 passed");
        assert!(has_passed, "{text}");
        assert_eq!(names(directory.path()), [] as [&str; 0]);
    }

    #[test]
    fn what_dead_processes_left_is_swept_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let ours = [".wgrad-0123456789abcdef.tmp", ".wgrad-fedcba9876543210.tmp"];
        let others = [
            ".wgrad-important_notes1.tmp",
            ".wgrad-notes.tmp",
            ".wgrad-0123456789abcdef",
            "a.tmp",
            "model.tmp",
        ];
        for name in ours.iter().chain(&others) {
            fs::write(directory.path().join(name), name).unwrap();
        }
        fs::create_dir(directory.path().join(".wgrad-00000000000000aa.tmp")).unwrap();
        let alive = File::open(directory.path().join(ours[1])).unwrap();
        alive.try_lock().unwrap();
        sweep(directory.path());
        let left = names(directory.path());
        assert_eq!(left.len(), others.len() + 2, "{left:?}");
        assert!(!left.contains(&ours[0].to_owned()));
        drop(alive);
        sweep(directory.path());
        assert!(!names(directory.path()).contains(&ours[1].to_owned()));
        probe(directory.path()).unwrap();
        assert_eq!(names(directory.path()).len(), others.len() + 1);
    }
}
