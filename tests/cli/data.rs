//! Data sets with other names and classes than MNIST, and the temporary files that are used to read a data set.

use super::*;

#[test]
fn classes_are_found_or_named_and_a_prefix_chooses() {
    let few = Few::new();
    for (at, count) in [(1, 1000), (3, 500)] {
        let labels: Vec<u8> = (0..count)
            .map(|n: u32| (1 + n % 26).to_le_bytes()[0])
            .collect();
        let contents = idx(0x801, &[count], &labels);
        fs::write(few.path.join(NAMES[at]), contents).unwrap();
    }
    let words = "--device cpu --batch 10 --steps 5 --eval-every 0 --quiet";
    let description = |output: &Output| lines(output)[0].clone();
    assert!(description(&few.train(words)).contains("in 26 classes (label 1 is class 0), from"));
    let data = [Path::new("--data"), &few.path];
    let named = train(&data, &format!("{words} --labels 0-30"));
    assert!(description(&named).contains("in 31 classes, from"));
    let refused = train(&data, &format!("{words} --labels 1-25"));
    assert_refused(
        &refused,
        &[NAMES[1], "from 1 to 25", "found 26", "--labels"],
    );
    let damaged = idx(0x801, &[500], &[200; 500]);
    fs::write(few.path.join(NAMES[3]), damaged).unwrap();
    assert_refused(
        &few.train(words),
        &[NAMES[3], "found 200", "--labels 1-200"],
    );

    for name in NAMES {
        for prefix in ["one", "other"] {
            fs::copy(
                few.path.join(name),
                few.path.join(format!("{prefix}-{name}")),
            )
            .unwrap();
        }
        fs::remove_file(few.path.join(name)).unwrap();
    }
    assert_refused(&few.train(words), &["several data sets", "one and other"]);
    let one = few.path.join("one");
    let output = train(
        &[Path::new("--data"), &one],
        &format!("{words} --labels 1-200"),
    );
    assert!(description(&output).starts_with("data: one, 1000 training"));
    let output = train(&[], "--data synthetic --labels 1-26");
    assert_refused(&output, &["--labels", "--data"]);
}

/// Creates a data set of blank images, as many as MNIST has. Files of this size are read through a temporary copy.
fn blank() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, count) in NAMES.into_iter().zip([60_000, 60_000, 10_000, 10_000]) {
        let contents = if name.contains("images") {
            idx(0x803, &[count, 28, 28], &vec![0; count as usize * 784])
        } else {
            idx(0x801, &[count], &vec![0; count as usize])
        };
        let file = fs::File::create(directory.path().join(name)).unwrap();
        let mut encoder = GzEncoder::new(file, Compression::fast());
        std::io::Write::write_all(&mut encoder, &contents).unwrap();
        encoder.finish().unwrap();
    }
    directory
}

fn with_temporary(data: &Path, temporary: &Path) -> Command {
    let mut command = example("train_gpu");
    for variable in ["TMPDIR", "TMP", "TEMP"] {
        command.env(variable, temporary);
    }
    let words = "--unverified --device cpu --steps 3 --eval-every 0 --quiet --data";
    command.args(words.split(' ')).arg(data);
    command
}

#[test]
fn a_temporary_directory_is_not_needed() {
    let data = blank();
    let missing = data.path().join("missing");
    let output = with_temporary(data.path(), &missing).output().unwrap();
    assert!(lines(&output)[0].contains("60000 training and 10000 test examples"));
}

#[test]
#[cfg(unix)]
fn a_run_that_is_killed_while_it_reads_leaves_nothing_behind() {
    let data = blank();
    let temporary = tempfile::tempdir().unwrap();
    for milliseconds in (20..400).step_by(20) {
        let mut command = with_temporary(data.path(), temporary.path());
        command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        let left: Vec<_> = fs::read_dir(temporary.path()).unwrap().collect();
        assert!(left.is_empty(), "after {milliseconds} ms: {left:?}");
    }
}

/// File names need not be UTF-8. If a name is similar to the name of a data set, the message suggests that data set.
#[test]
fn names_of_data_sets() {
    let few = Few::new();
    let words = "--device cpu --batch 10 --steps 5 --eval-every 0 --quiet";
    let output = train(&[Path::new("--unverified"), Path::new("--data=")], words);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("--data is empty"), "{stderr}");
    let file = few.path.join(NAMES[0]);
    assert_refused(
        &train(&[Path::new("--data"), &file], words),
        &[
            "one of the four files",
            &format!("name {}", few.path.display()),
        ],
    );
    let refused = train(&[Path::new("--data"), &few.path], words);
    assert_refused(
        &refused,
        &["another data set is intended, use --unverified; otherwise delete"],
    );
    assert!(!text(&refused.stderr).contains("mnist::"));
    #[cfg(target_os = "linux")]
    {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt as _;

        let named = few.path.with_file_name(OsStr::from_bytes(b"f\xffw"));
        fs::rename(&few.path, &named).unwrap();
        let output = train(
            &[Path::new("--unverified"), Path::new("--data"), &named],
            words,
        );
        assert!(lines(&output)[0].starts_with("data: f\u{fffd}w, 1000 training"));
    }
}

#[test]
fn numbers_that_are_none_are_told_by_an_example() {
    for (words, expected) in [
        ("--steps 1e6", "a whole number such as 1000000"),
        ("--seed -1", "a whole number such as 1000000"),
        ("--seed 18446744073709551616", "a whole number below 2^64"),
        ("--warm-up x", "a whole number such as 1000000"),
        ("--patience 1.5", "a whole number such as 1000000"),
        ("--learning-rate abc", "a number such as 0.1"),
        ("--dropout 10%", "a number such as 0.1"),
        ("--schedule-factor ,5", "a number such as 0.1"),
    ] {
        let output = train(&[], words);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
}

#[test]
fn a_batch_that_is_too_large_is_told_by_its_option() {
    let refused = Few::new().train("--device cpu --batch 1001");
    assert_refused(&refused, &["--batch must be 1 to 1000", "it is 1001"]);
}
