//! Output files: existing files are replaced, and files that cannot be written are reported.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use safetensors::SafeTensors;
use serde_json::Value;

use super::{Few, assert_refused, example, lines, text};

const STEPS: usize = 40;

/// A kind of output file.
#[derive(Debug, Clone, Copy)]
struct Kind {
    option: &'static str,
    /// A text that the error message contains.
    holds: &'static str,
    name: &'static str,
    is_right: fn(&[u8]) -> bool,
}

const KINDS: [Kind; 5] = [
    Kind {
        option: "--save",
        holds: "cannot save the training",
        name: "training.safetensors",
        is_right: |bytes| SafeTensors::deserialize(bytes).is_ok(),
    },
    Kind {
        option: "--losses",
        holds: "cannot write the losses to",
        name: "losses.csv",
        is_right: |bytes| {
            steps(bytes, |line| line.split_once(',')?.0.parse().ok())
                == (1..=STEPS).collect::<Vec<_>>()
        },
    },
    Kind {
        option: "--log",
        holds: "cannot write the log to",
        name: "log.jsonl",
        is_right: |bytes| steps(bytes, record_step) == [0, 20, STEPS],
    },
    Kind {
        option: "--plot",
        holds: "cannot write the plot to",
        name: "plot.svg",
        is_right: |bytes| bytes.starts_with(b"<svg") && bytes.trim_ascii_end().ends_with(b"</svg>"),
    },
    Kind {
        option: "--samples",
        holds: "cannot write the samples to",
        name: "samples.png",
        is_right: |bytes| image::load_from_memory(bytes).is_ok(),
    },
];

fn record_step(line: &str) -> Option<usize> {
    let record: Value = serde_json::from_str(line).ok()?;
    record["step"].as_u64()?.try_into().ok()
}

/// Returns the step of each line, or `usize::MAX` for a line that has no step.
fn steps(bytes: &[u8], step_of: fn(&str) -> Option<usize>) -> Vec<usize> {
    let lines = str::from_utf8(bytes).unwrap().lines();
    lines
        .map(|line| step_of(line).unwrap_or(usize::MAX))
        .collect()
}

/// A data set, and an empty directory for output files next to it.
struct OutputDirectory {
    few: Few,
    path: PathBuf,
}

impl OutputDirectory {
    fn new() -> Self {
        let few = Few::new();
        let path = few.path.parent().unwrap().join("room");
        fs::create_dir(&path).unwrap();
        Self { few, path }
    }

    /// Creates an output directory on a separate file system of the size `size`. If this is impossible, prints the
    /// reason and returns `None`.
    fn of_size(size: &str) -> Option<(Self, Mount)> {
        let room = Self::new();
        let size = format!("size={size}");
        let mount = Mount::new(&["-t", "tmpfs", "-o", &size, "tmpfs"], &room.path)?;
        Some((room, mount))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Returns the command of a training of `steps` steps, with an evaluation every `every` steps.
    fn command(&self, program: &Path, [steps, every]: [usize; 2]) -> Command {
        let mut command = Command::new(program);
        command.env("XDG_RUNTIME_DIR", std::env::temp_dir());
        command.args(["--unverified", "--data"]).arg(&self.few.path);
        let words = format!("--device cpu --batch 20 --eval-every {every} --steps {steps}");
        command.args(words.split(' '));
        command
    }

    fn train(&self, files: &[(Kind, &Path)]) -> Output {
        let mut command = self.command(&program(), [STEPS, 20]);
        for (kind, path) in files {
            command.arg(kind.option).arg(path);
        }
        command.output().unwrap()
    }

    /// Writes all kinds of output files in one run. `path` returns the path for each kind.
    fn train_all(&self, path: impl Fn(Kind) -> PathBuf) -> Output {
        let paths = KINDS.map(&path);
        let files: Vec<_> = KINDS
            .into_iter()
            .zip(paths.iter().map(PathBuf::as_path))
            .collect();
        self.train(&files)
    }
}

fn program() -> PathBuf {
    example("train_gpu").get_program().into()
}

#[track_caller]
fn assert_right(kind: Kind, path: &Path) {
    let bytes = fs::read(path).unwrap();
    assert!(
        (kind.is_right)(&bytes),
        "{}: {} bytes",
        kind.option,
        bytes.len()
    );
}

/// Asserts that a run is refused before its training starts, and that the message contains the file's name.
#[track_caller]
fn assert_refused_at_once(output: &Output, kind: Kind, path: &Path, reason: &str) {
    assert_refused(
        output,
        &[kind.holds, &path.display().to_string(), reason, kind.option],
    );
    assert_eq!(text(&output.stdout), "", "{}", kind.option);
}

#[test]
fn new_files_and_old_ones() {
    let room = OutputDirectory::new();
    for _ in 0..2 {
        lines(&room.train_all(|kind| room.at(kind.name)));
        for kind in KINDS {
            assert_right(kind, &room.at(kind.name));
            let longer = "from an earlier run\n".repeat(20_000);
            fs::write(room.at(kind.name), longer).unwrap();
            fs::set_permissions(room.at(kind.name), Permissions::from_mode(0o640)).unwrap();
        }
        assert_eq!(fs::read_dir(&room.path).unwrap().count(), KINDS.len());
    }
    lines(&room.train_all(|kind| room.at(kind.name)));
    for kind in KINDS {
        assert_right(kind, &room.at(kind.name));
        let mode = fs::metadata(room.at(kind.name)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o640, "{}", kind.option);
    }
}

#[test]
fn links_stay_and_what_they_point_to_is_written() {
    let room = OutputDirectory::new();
    fs::create_dir(room.at("far")).unwrap();
    for is_there in [false, true, true] {
        for kind in KINDS {
            let link = room.at(kind.name);
            if !link.is_symlink() {
                symlink(Path::new("far").join(kind.name), &link).unwrap();
            }
            assert_eq!(link.exists(), is_there);
        }
        lines(&room.train_all(|kind| room.at(kind.name)));
        for kind in KINDS {
            assert!(room.at(kind.name).is_symlink(), "{}", kind.option);
            let target = room.at("far").join(kind.name);
            assert!(!target.is_symlink());
            assert_right(kind, &target);
        }
    }
}

#[test]
fn devices_and_pipes_stay_what_they_are() {
    let room = OutputDirectory::new();
    for kind in KINDS {
        let null = Path::new("/dev/null");
        let output = room.train(&[(kind, null)]);
        assert!(!fs::metadata(null).unwrap().is_file());
        let pipe = room.at("pipe");
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        if kind.option == "--save" {
            assert_refused_at_once(&output, kind, null, "a device");
            assert_refused_at_once(&room.train(&[(kind, &pipe)]), kind, &pipe, "a pipe");
        } else {
            lines(&output);
            let full = room.train(&[(kind, Path::new("/dev/full"))]);
            assert_refused(&full, &[kind.holds, "/dev/full", "space", kind.option]);
            let from = pipe.clone();
            let reader = thread::spawn(move || fs::read(from).unwrap());
            lines(&room.train(&[(kind, &pipe)]));
            assert!((kind.is_right)(&reader.join().unwrap()), "{}", kind.option);
        }
        assert!(!fs::metadata(&pipe).unwrap().is_file());
        fs::remove_file(&pipe).unwrap();
    }
}

#[test]
fn a_pipe_that_nobody_reads_is_told() {
    let room = OutputDirectory::new();
    let pipe = room.at("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let output = room.train(&[(KINDS[1], &pipe)]);
    assert_refused(&output, &[KINDS[1].holds, "nobody reads from it"]);
}

#[test]
fn a_socket_is_refused() {
    let room = OutputDirectory::new();
    let socket = room.at("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    for kind in KINDS {
        let output = room.train(&[(kind, &socket)]);
        assert_refused_at_once(&output, kind, &socket, "a socket");
    }
}

/// `--resume` refuses a pipe without a writer, and reads a pipe with a writer.
#[test]
fn a_pipe_is_resumed_from_or_told() {
    let room = OutputDirectory::new();
    let saved = room.at("saved");
    let pipe = room.at("pipe");
    lines(&room.train(&[(KINDS[0], &saved)]));
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let resume = || {
        let mut command = room.command(&program(), [60, 20]);
        command.arg("--resume").arg(&pipe);
        command
    };
    let to = pipe.clone();
    let writer = thread::spawn(move || fs::write(to, fs::read(saved).unwrap()).unwrap());
    lines(&resume().output().unwrap());
    writer.join().unwrap();
    let output = resume().output().unwrap();
    let parts = [
        "cannot resume",
        "pipe",
        "no process wrote to this pipe for 10 s",
    ];
    assert_refused(&output, &parts);
}

#[test]
fn directories_and_names_without_one_are_refused() {
    let room = OutputDirectory::new();
    fs::create_dir(room.at("directory.svg")).unwrap();
    for kind in KINDS {
        for (name, reason) in [
            ("directory.svg", "is a directory"),
            ("absent/file", "No such file"),
            ("new/", "the name of a file"),
        ] {
            // The run must be refused because the path is a directory, not because of the extension of its name.
            let name = match kind.option {
                "--samples" if name == "directory.svg" => ".",
                _ => name,
            };
            let reason = if name == "." { "directory" } else { reason };
            let path = room.at(name);
            let output = room.train(&[(kind, &path)]);
            assert_refused_at_once(&output, kind, &path, reason);
        }
    }
    assert_eq!(fs::read_dir(&room.path).unwrap().count(), 1);
}

/// A user without special rights: the current user, or `nobody` if root runs the tests.
struct User {
    program: PathBuf,
    is_other: bool,
}

const NOBODY: u32 = 65_534;

impl User {
    fn new(room: &OutputDirectory) -> Self {
        let is_other = fs::metadata("/proc/self").unwrap().uid() == 0;
        let program = program();
        if !is_other {
            return Self { program, is_other };
        }
        // Copies the program into a directory that this user can read.
        let parent = room.path.parent().unwrap();
        let copy = parent.join("train_gpu");
        fs::copy(program, &copy).unwrap();
        fs::set_permissions(parent, Permissions::from_mode(0o755)).unwrap();
        chown(&room.path, Some(NOBODY), Some(NOBODY)).unwrap();
        Self {
            program: copy,
            is_other,
        }
    }

    fn owns(&self, path: &Path) {
        if self.is_other {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }

    fn train(&self, room: &OutputDirectory, kind: Kind, path: &Path) -> Output {
        let mut command = room.command(&self.program, [STEPS, 20]);
        if self.is_other {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.arg(kind.option).arg(path).output().unwrap()
    }
}

#[test]
fn what_may_not_be_written_is_refused_and_what_may_is_written_in_place() {
    let room = OutputDirectory::new();
    let user = User::new(&room);
    for kind in KINDS {
        let protected = room.at(kind.name);
        fs::write(&protected, "old").unwrap();
        user.owns(&protected);
        fs::set_permissions(&protected, Permissions::from_mode(0o444)).unwrap();
        let output = user.train(&room, kind, &protected);
        assert_refused_at_once(&output, kind, &protected, "Permission denied");
        assert_eq!(fs::read_to_string(&protected).unwrap(), "old");
        // The directory is read-only, but the file is not.
        fs::set_permissions(&protected, Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(&room.path, Permissions::from_mode(0o555)).unwrap();
        let before = fs::metadata(&protected).unwrap().ino();
        lines(&user.train(&room, kind, &protected));
        assert_right(kind, &protected);
        assert_eq!(fs::metadata(&protected).unwrap().ino(), before);
        let new = room.at(&format!("new.{}", kind.name));
        let output = user.train(&room, kind, &new);
        assert_refused_at_once(&output, kind, &new, "Permission denied");
        fs::set_permissions(&room.path, Permissions::from_mode(0o755)).unwrap();
    }
    // Opening this pipe for writing would wait for a reader.
    let pipe = room.at("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    user.owns(&pipe);
    fs::set_permissions(&pipe, Permissions::from_mode(0o444)).unwrap();
    for kind in &KINDS[1..] {
        let output = user.train(&room, *kind, &pipe);
        assert_refused_at_once(&output, *kind, &pipe, "Permission denied");
    }
    fs::remove_file(&pipe).unwrap();
    // The file belongs to another user, and everyone may write it. In its directory, only owners may replace files.
    if user.is_other {
        fs::set_permissions(&room.path, Permissions::from_mode(0o1777)).unwrap();
        chown(&room.path, Some(0), Some(0)).unwrap();
        for kind in KINDS {
            let path = room.at(kind.name);
            chown(&path, Some(0), Some(0)).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
            fs::write(&path, "old").unwrap();
            lines(&user.train(&room, kind, &path));
            assert_right(kind, &path);
            assert_eq!(fs::metadata(&path).unwrap().uid(), 0);
        }
    }
}

/// A mounted file system that is unmounted on drop.
struct Mount(PathBuf);

impl Mount {
    /// Mounts a file system. If this is impossible, prints the reason and returns `None`.
    fn new(arguments: &[&str], onto: &Path) -> Option<Self> {
        let mut command = Command::new("mount");
        let output = command
            .args(arguments)
            .arg(onto)
            .stderr(Stdio::piped())
            .output();
        match output {
            Ok(output) if output.status.success() => Some(Self(onto.to_owned())),
            Ok(output) => {
                println!("skipped: {}", text(&output.stderr));
                None
            }
            Err(error) => {
                println!("skipped: no mount: {error}");
                None
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// A single file may be a mount point. In this way, a container sees a file of its host.
#[test]
fn a_file_that_is_mounted_by_itself_is_written_in_place() {
    let room = OutputDirectory::new();
    fs::create_dir(room.at("host")).unwrap();
    let mut mounts = Vec::new();
    for kind in KINDS {
        let [outside, inside] = [room.at("host").join(kind.name), room.at(kind.name)];
        fs::write(&outside, "old").unwrap();
        fs::write(&inside, "").unwrap();
        let Some(mount) = Mount::new(&["--bind", &outside.display().to_string()], &inside) else {
            return;
        };
        mounts.push(mount);
    }
    for _ in 0..2 {
        lines(&room.train_all(|kind| room.at(kind.name)));
        for kind in KINDS {
            assert_right(kind, &room.at("host").join(kind.name));
        }
    }
}

#[test]
fn a_read_only_file_system_is_told_at_once() {
    let Some((room, _mount)) = OutputDirectory::of_size("1m") else {
        return;
    };
    for kind in KINDS {
        fs::write(room.at(kind.name), "old").unwrap();
    }
    let remount = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(&room.path)
        .status();
    assert!(remount.unwrap().success());
    for kind in KINDS {
        let new = room.at(&format!("new.{}", kind.name));
        let link = room.few.path.join(kind.name);
        symlink(room.at(kind.name), &link).unwrap();
        for path in [room.at(kind.name), new, link] {
            let output = room.train(&[(kind, &path)]);
            assert_refused_at_once(&output, kind, &path, "Read-only file system");
        }
    }
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    let Some((room, _mount)) = OutputDirectory::of_size("64k") else {
        return;
    };
    for kind in KINDS {
        fs::write(room.at(kind.name), "old").unwrap();
        let mut filler = fs::File::create(room.at("filler")).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
        // The file system is now full, except for the rest of the memory page that holds the old file. The run writes
        // more lines than fit into this page.
        let mut command = room.command(&program(), [4000, 50]);
        let output = command
            .arg(kind.option)
            .arg(room.at(kind.name))
            .output()
            .unwrap();
        let stderr = text(&output.stderr);
        assert_refused(&output, &[kind.name, "No space left"]);
        assert!(!text(&output.stdout).contains("test_accuracy="), "{stderr}");
        if ["--save", "--plot", "--samples"].contains(&kind.option) {
            assert_eq!(fs::read_to_string(room.at(kind.name)).unwrap(), "old");
        }
        assert_eq!(
            fs::read_dir(&room.path).unwrap().count(),
            2,
            "{}",
            kind.option
        );
        fs::remove_file(room.at(kind.name)).unwrap();
        fs::remove_file(room.at("filler")).unwrap();
    }
}

#[test]
fn outputs_that_would_destroy_one_another_are_refused() {
    let room = OutputDirectory::new();
    fs::create_dir(room.at("below")).unwrap();
    symlink("below/file", room.at("link")).unwrap();
    symlink("below", room.at("way")).unwrap();
    // Once without the file, once with it.
    for contents in [None, Some("old")] {
        for (at, one) in KINDS.into_iter().enumerate() {
            for &other in &KINDS[..at] {
                let names = [
                    "below/file",
                    "below/./file",
                    "below/../below/file",
                    "way/file",
                    "link",
                ];
                for name in names {
                    let output =
                        room.train(&[(other, &room.at("below/file")), (one, &room.at(name))]);
                    let expected = format!(
                        "{} must be a different file from that of {}",
                        one.option, other.option
                    );
                    assert_refused(&output, &[&expected]);
                    assert_eq!(text(&output.stdout), "");
                }
            }
        }
        let file = room.at("below/file");
        match contents {
            None => fs::write(file, "old").unwrap(),
            Some(old) => assert_eq!(fs::read_to_string(file).unwrap(), old),
        }
    }
    for kind in KINDS {
        // Several options may write to a device such as `/dev/null`: nothing is overwritten there.
        let null = Path::new("/dev/null");
        if kind.option != "--save" && kind.option != "--log" {
            lines(&room.train(&[(KINDS[2], null), (kind, null)]));
        }
    }
}

#[test]
fn what_is_read_and_standard_output_are_not_written_over() {
    let room = OutputDirectory::new();
    let saved = room.at("saved");
    lines(&room.train(&[(KINDS[0], &saved)]));
    let before = fs::read(&saved).unwrap();
    fs::hard_link(&saved, room.at("hard")).unwrap();
    symlink("saved", room.at("link")).unwrap();
    let resume = || {
        let mut command = room.command(&program(), [60, 20]);
        command.arg("--resume").arg(&saved);
        command
    };
    for kind in &KINDS[1..] {
        for name in ["saved", "./saved", "hard", "link"] {
            let output = resume().arg(kind.option).arg(room.at(name)).output();
            let expected = "a different file from that of --resume";
            assert_refused(&output.unwrap(), &[kind.option, expected]);
        }
    }
    let out = room.at("out");
    for kind in KINDS {
        let ending = Path::new(kind.name).extension().unwrap();
        let [link, hard] = ["data", "hard data"].map(|name| room.at(name).with_extension(ending));
        let pixels = room.few.path.join(super::NAMES[0]);
        symlink(&pixels, &link).unwrap();
        fs::hard_link(&pixels, &hard).unwrap();
        // This file does not exist yet. If it did, the next run would read it as data.
        let new = room.few.path.join("emnist-train-images-idx3-ubyte.gz");
        for path in [&pixels, &link, &hard, &new] {
            let output = room.train(&[(kind, path)]);
            let expected = "a file that does not belong to a data set";
            assert_refused(&output, &[kind.option, expected]);
        }
        for path in [&*out, Path::new("/dev/stdout")] {
            let mut command = room.command(&program(), [STEPS, 20]);
            command.arg(kind.option).arg(path).stderr(Stdio::piped());
            let child = command.stdout(fs::File::create(&out).unwrap()).spawn();
            let output = child.unwrap().wait_with_output().unwrap();
            let expected = "a different file from that of standard output";
            assert_refused(&output, &[kind.option, expected]);
        }
    }
    assert!(fs::read(&saved).unwrap() == before);
    // `--save` may name the file of `--resume` by another path: this continues the training in that file.
    lines(
        &resume()
            .arg("--save")
            .arg(room.at("link"))
            .output()
            .unwrap(),
    );
    assert!(room.at("link").is_symlink());
    assert!(fs::read(&saved).unwrap() != before);
}
