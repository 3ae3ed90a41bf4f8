#![allow(clippy::unwrap_used)]

use std::thread;

use super::*;

#[test]
fn files_are_new_or_replaced_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    for contents in ["first", "the second, which is longer", "3", ""] {
        check(&path).unwrap();
        write(&path, contents.as_bytes()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), contents);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_name_that_is_none_is_told_before() {
    let parent = tempfile::tempdir().unwrap();
    let parent = parent.path();
    let file = parent.join("file");
    fs::write(&file, "contents").unwrap();
    for (path, reason) in [
        (PathBuf::new(), "the name of a file"),
        (parent.join(".."), "the name of a file"),
        (parent.join("new/"), "the name of a file"),
        (parent.to_owned(), "directory"),
        (parent.join("absent/file"), "No such file"),
        (file.join("below"), "Not a directory"),
        (parent.join("x".repeat(300)), "File name too long"),
    ] {
        let [checked, written] = [check(&path), write(&path, b"other")].map(Result::unwrap_err);
        assert_eq!(checked.to_string(), written.to_string());
        let message = checked.to_string();
        let start = format!("cannot write {}: ", path.display());
        assert!(message.starts_with(&start), "{message}");
        // Other operating systems have other messages.
        if cfg!(target_os = "linux") || reason.starts_with("no") {
            assert!(message.contains(reason), "{message}");
        }
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "contents");
    assert_eq!(fs::read_dir(parent).unwrap().count(), 1);
}

/// A reader always sees a complete file, even with many writers.
#[test]
fn many_may_write_one_file_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let contents = |writer: u8| vec![writer; 20_000];
    write(&path, &contents(0)).unwrap();
    thread::scope(|scope| {
        for writer in 1..=6 {
            let path = &path;
            scope.spawn(move || {
                for _ in 0..20 {
                    check(path).unwrap();
                    write(path, &contents(writer)).unwrap();
                    let read = fs::read(path).unwrap();
                    assert_eq!(read.len(), 20_000);
                    assert!(read.iter().all(|byte| *byte == read[0]));
                }
            });
        }
    });
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn in_place_a_file_may_grow_and_shrink() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    for (old, new) in [
        ("old", "a longer one"),
        ("a longer one", "new"),
        ("old", "new"),
        ("", "x"),
    ] {
        fs::write(&path, old).unwrap();
        let old = Target::of(&path).unwrap().old.unwrap();
        Target::write_in_place(&old.file, new.as_bytes()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), new);
    }
}

#[test]
fn a_file_that_another_program_adds_to_is_told_before() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "its lines").unwrap();
    let other = File::options().append(true).open(&path).unwrap();
    other.lock().unwrap();
    let message = check(&path).unwrap_err().to_string();
    assert!(message.contains("another program"), "{message}");
    drop(other);
    write(&path, b"contents").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "contents");
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn permissions_and_owner_stay() {
        let directory = tempfile::tempdir().unwrap();
        let [path, other] = ["file", "other"].map(|name| directory.path().join(name));
        write(&path, b"new").unwrap();
        fs::write(&other, "new").unwrap();
        assert_eq!(mode(&path), mode(&other));
        for expected in [0o600, 0o640, 0o666, 0o777] {
            fs::set_permissions(&path, fs::Permissions::from_mode(expected)).unwrap();
            write(&path, b"again").unwrap();
            assert_eq!(mode(&path), expected);
        }
        // Only an administrator may change the owner of a file.
        if chown(&path, Some(4321), Some(1234)).is_ok() {
            write(&path, b"by another").unwrap();
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (4321, 1234));
            assert_eq!(mode(&path), 0o777);
        }
    }

    /// An access control list in the format of the Linux kernel: version 2, then kind, permissions and owner of each
    /// entry.
    #[cfg(target_os = "linux")]
    fn access_of_another_user() -> Vec<u8> {
        let entries = [
            (1, 6, u32::MAX),
            (2, 6, 1234),
            (4, 0, u32::MAX),
            (16, 6, u32::MAX),
            (32, 0, u32::MAX),
        ];
        let bytes = entries
            .iter()
            .flat_map(|&(kind, permissions, owner): &(u16, u16, u32)| {
                [
                    &kind.to_le_bytes()[..],
                    &permissions.to_le_bytes(),
                    &owner.to_le_bytes(),
                ]
                .concat()
            });
        2u32.to_le_bytes().into_iter().chain(bytes).collect()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn access_lists_and_notes_stay() {
        use rustix::fs::{XattrFlags, getxattr, setxattr};

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for (name, value) in [
            ("user.note", b"mine".to_vec()),
            ("system.posix_acl_access", access_of_another_user()),
        ] {
            if let Err(error) = setxattr(&path, name, &value, XattrFlags::empty()) {
                println!("skipped: this file system has no {name}: {error}");
                continue;
            }
            let before = mode(&path);
            write(&path, b"new").unwrap();
            let mut found = [0; 100];
            let length = getxattr(&path, name, &mut found[..]).unwrap();
            assert_eq!(found[..length], value, "{name}");
            assert_eq!(mode(&path), before);
            assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        }
    }

    #[test]
    fn links_stay_links() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("big")).unwrap();
        fs::write(at("there"), "old").unwrap();
        symlink("there", at("link")).unwrap();
        symlink("big/new", at("dangling")).unwrap();
        symlink("dangling", at("twice")).unwrap();
        symlink(at("big/absolute"), at("far")).unwrap();
        for (link, to) in [
            ("link", "there"),
            ("dangling", "big/new"),
            ("twice", "big/new"),
            ("far", "big/absolute"),
        ] {
            check(at(link)).unwrap();
            write(at(link), link.as_bytes()).unwrap();
            assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink());
            assert!(!fs::symlink_metadata(at(to)).unwrap().is_symlink());
            assert_eq!(fs::read_to_string(at(to)).unwrap(), link);
            assert!(are_same(at(link), at(to)));
        }
        symlink("right", at("left")).unwrap();
        symlink("left", at("right")).unwrap();
        symlink("absent/file", at("nowhere")).unwrap();
        symlink("big", at("directory")).unwrap();
        for link in ["left", "nowhere", "directory"] {
            check(at(link)).unwrap_err();
            write(at(link), b"contents").unwrap_err();
            assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink());
        }
        // A hard link keeps the old contents, as a copy would.
        fs::hard_link(at("there"), at("kept")).unwrap();
        assert!(are_same(at("there"), at("kept")));
        write(at("there"), b"newer").unwrap();
        assert_eq!(fs::read_to_string(at("kept")).unwrap(), "link");
        assert!(!are_same(at("there"), at("kept")));
    }

    #[test]
    fn one_file_is_known_by_all_its_names() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("below")).unwrap();
        symlink(at("below"), at("way")).unwrap();
        symlink("below/new", at("dangling")).unwrap();
        for (one, other, expected) in [
            ("new", "./new", true),
            ("new", "below/../new", true),
            ("below/new", "way/new", true),
            ("dangling", "below/new", true),
            ("dangling", "new", false),
            ("new", "newer", false),
            ("absent/new", "absent/new", true),
            ("absent/new", "new", false),
        ] {
            assert_eq!(are_same(at(one), at(other)), expected, "{one} {other}");
        }
    }

    #[test]
    fn what_is_no_regular_file_is_refused_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let [pipe, socket] = ["pipe", "socket"].map(|name| directory.path().join(name));
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        let _listening = UnixListener::bind(&socket).unwrap();
        let device = PathBuf::from("/dev/null");
        for (path, expected) in [(pipe, "a pipe"), (socket, "a socket"), (device, "a device")] {
            let before = fs::metadata(&path).unwrap();
            for refused in [check(&path), write(&path, b"contents")] {
                let message = refused.unwrap_err().to_string();
                assert!(message.contains(expected), "{message}");
            }
            let after = fs::metadata(&path).unwrap();
            assert_eq!(before.file_type(), after.file_type());
            assert_eq!(before.ino(), after.ino());
        }
    }
}
