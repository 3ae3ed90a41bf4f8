//! The log of a training: JSON lines for other programs, one line per evaluation.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use super::{Few, assert_refused, last_line, lines, train};

#[test]
fn the_log_has_an_object_for_every_evaluation() {
    let few = Few::new();
    let log = few.path.join("log.jsonl");
    fs::write(&log, "from an earlier run\n".repeat(1000)).unwrap();
    let data = [Path::new("--unverified"), Path::new("--data"), &few.path];
    let arguments = [&data[..], &[Path::new("--log"), &log]].concat();
    let words = "--device cpu --batch 20 --steps 250 --eval-every 100 --quiet";
    let last = last_line(&lines(&train(&arguments, words)));

    let contents = fs::read_to_string(&log).unwrap();
    let objects = contents.lines().map(serde_json::from_str);
    let objects: Vec<Value> = objects.map(Result::unwrap).collect();
    let all = |key: &str| -> Vec<f64> {
        let values = objects.iter().map(|object| object[key].as_f64().unwrap());
        values.collect()
    };
    assert_eq!(all("step"), [0.0, 100.0, 200.0, 250.0]);
    assert!(objects[0]["loss"].is_null(), "no step had been taken");
    assert!(objects[1]["loss"].as_f64() > objects[3]["loss"].as_f64());
    for key in ["train_loss", "test_loss"] {
        assert!(all(key).is_sorted_by(|a, b| a > b), "{key}: {contents}");
    }
    assert!(all("seconds").is_sorted_by(|a, b| a < b), "{contents}");
    for key in ["train_accuracy", "test_accuracy"] {
        assert_eq!(format!("{:.4}", all(key)[3]), last[key]);
    }
    assert!(objects.iter().all(|o| o.as_object().unwrap().len() == 7));
}

/// A training that was saved and can be resumed, with its log, losses and checkpoint.
struct Resumed {
    few: Few,
    log: PathBuf,
    losses: PathBuf,
    saved: PathBuf,
}

impl Resumed {
    /// Runs a training of 100 steps.
    fn new() -> Self {
        let few = Few::new();
        let [log, losses, saved] = ["log.jsonl", "losses.csv", "saved"].map(|n| few.path.join(n));
        let new = Self {
            few,
            log,
            losses,
            saved,
        };
        lines(&new.run(100, &[]));
        new
    }

    fn run(&self, steps: usize, resume: &[&Path]) -> Output {
        let data = [
            Path::new("--unverified"),
            Path::new("--data"),
            &self.few.path,
        ];
        let [log, losses, save] = ["--log", "--losses", "--save"].map(Path::new);
        let files = [log, &*self.log, losses, &self.losses, save, &self.saved];
        let arguments = [&data[..], &files, resume].concat();
        let words = format!("--device cpu --batch 20 --steps {steps} --eval-every 50 --quiet");
        train(&arguments, &words)
    }

    fn resume(&self, steps: usize) -> Output {
        self.run(steps, &[Path::new("--resume"), &self.saved])
    }

    /// Asserts that the losses have one line for each step, and the log one line for each evaluation.
    #[track_caller]
    fn assert_has_each_step_once(&self, last: u64) {
        let log = fs::read_to_string(&self.log).unwrap();
        let objects = log.lines().map(serde_json::from_str::<Value>);
        let objects: Vec<_> = objects.map(Result::unwrap).collect();
        let steps = objects
            .iter()
            .map(|object| object["step"].as_u64().unwrap());
        assert!(steps.eq((0..=last).step_by(50)), "{log}");
        // Every evaluation except the first has a loss, including the one at which the run was resumed.
        assert!(
            objects[1..].iter().all(|object| object["loss"].is_f64()),
            "{log}"
        );
        let losses = fs::read_to_string(&self.losses).unwrap();
        let numbers = losses.lines().map(|line| line.split_once(',').unwrap().0);
        let expected = (1..=last).map(|step| step.to_string());
        assert!(expected.eq(numbers.map(str::to_owned)), "{losses}");
    }

    fn append(&self, losses: &str, log: &str) {
        for (path, lines) in [(&self.losses, losses), (&self.log, log)] {
            let mut file = fs::File::options().append(true).open(path).unwrap();
            file.write_all(lines.as_bytes()).unwrap();
        }
    }
}

#[test]
fn a_resumed_training_goes_on_with_its_log_and_losses() {
    let resumed = Resumed::new();
    lines(&resumed.resume(200));
    resumed.assert_has_each_step_once(200);
}

#[test]
fn what_a_killed_run_wrote_after_its_last_checkpoint_is_cut_off() {
    for (losses, log) in [
        (
            "101,0.5\n102,0.25\n10",
            "{\"step\":150,\"loss\":1.0}\n{\"st",
        ),
        ("101,NaN\n", "{\"step\":150,\"loss\":null}\n"),
        ("1", "{"),
    ] {
        let resumed = Resumed::new();
        resumed.append(losses, log);
        lines(&resumed.resume(200));
        resumed.assert_has_each_step_once(200);
    }
}

#[test]
fn a_file_of_something_else_is_not_gone_on_with() {
    for (losses, log, parts) in [
        (
            "dear diary,\n",
            "",
            ["losses.csv", "line 101 of it is \"dear diary,\""],
        ),
        ("dear", "", ["losses.csv", "line 101 of it is \"dear\""]),
        (
            "101\n",
            "",
            ["line 101 of it is \"101\"", "expected `step,loss`"],
        ),
        (
            "",
            "[]\n",
            ["log.jsonl", "line 4 of it is \"[]\", expected a JSON"],
        ),
    ] {
        let resumed = Resumed::new();
        resumed.append(losses, log);
        let [before, log_before] =
            [&resumed.losses, &resumed.log].map(|path| fs::read(path).unwrap());
        assert_refused(&resumed.resume(200), &parts);
        assert!(fs::read(&resumed.losses).unwrap() == before);
        assert!(fs::read(&resumed.log).unwrap() == log_before);
    }
    let resumed = Resumed::new();
    fs::write(&resumed.losses, "all that I know").unwrap();
    assert_refused(&resumed.resume(200), &["line 1 of it is \"all that"]);
    assert_eq!(
        fs::read_to_string(&resumed.losses).unwrap(),
        "all that I know"
    );
}

/// Keeps only the first lines of a file.
fn cut(path: &Path, count: usize) {
    let lines = fs::read_to_string(path).unwrap();
    let lines = lines.split_inclusive('\n').take(count);
    fs::write(path, lines.collect::<String>()).unwrap();
}

#[test]
fn a_file_that_ends_before_the_checkpoint_is_not_gone_on_with() {
    let resumed = Resumed::new();
    let [losses, log] = [&resumed.losses, &resumed.log].map(|path| fs::read(path).unwrap());
    cut(&resumed.losses, 70);
    let parts = [
        "losses.csv: its last line is for step 70",
        "starts with step 101",
        "or name another file with --losses",
    ];
    assert_refused(&resumed.resume(200), &parts);
    assert_eq!(
        fs::read_to_string(&resumed.losses).unwrap().lines().count(),
        70
    );
    assert!(fs::read(&resumed.log).unwrap() == log);
    // A file that is empty, or has only a part of a line, is written from the beginning.
    for beginning in ["", "10", "101,0."] {
        let resumed = Resumed::new();
        fs::write(&resumed.losses, beginning).unwrap();
        lines(&resumed.resume(110));
        let losses = fs::read_to_string(&resumed.losses).unwrap();
        assert!(losses.starts_with("101,") && losses.lines().count() == 10);
    }

    let resumed = Resumed::new();
    lines(&resumed.resume(200));
    cut(&resumed.log, 3);
    let parts = ["log.jsonl: its last line is for step 100", "with --log"];
    assert_refused(&resumed.resume(300), &parts);
    assert!(fs::read(&resumed.losses).unwrap().starts_with(&losses));
    // A log with fewer evaluations is no error: the earlier run may have evaluated less often, and the resumed run adds
    // the evaluation at its start.
    let resumed = Resumed::new();
    cut(&resumed.log, 2);
    lines(&resumed.resume(200));
    let resumed = Resumed::new();
    let sparse = "{\"step\":0}\n{\"step\":60}\n";
    fs::write(&resumed.log, sparse).unwrap();
    lines(&resumed.resume(200));
}

#[test]
fn line_ends_of_another_system_are_taken() {
    let resumed = Resumed::new();
    for path in [&resumed.losses, &resumed.log] {
        let text = fs::read_to_string(path).unwrap();
        fs::write(path, text.replace('\n', "\r\n")).unwrap();
    }
    lines(&resumed.resume(200));
    resumed.assert_has_each_step_once(200);
}

#[test]
fn a_run_that_is_refused_empties_no_other_output() {
    let resumed = Resumed::new();
    let other = fs::File::open(&resumed.log).unwrap();
    other.lock().unwrap();
    let before = fs::read(&resumed.losses).unwrap();
    for resume in [false, true] {
        let output = if resume {
            resumed.resume(200)
        } else {
            resumed.run(100, &[])
        };
        let parts =
            ["another program is writing to it; wait for it, or name another file with --log"];
        assert_refused(&output, &parts);
        assert!(fs::read(&resumed.losses).unwrap() == before);
    }
}

#[test]
fn two_runs_do_not_write_one_log() {
    let resumed = Resumed::new();
    let other = fs::File::open(&resumed.log).unwrap();
    other.lock().unwrap();
    let before = fs::read(&resumed.log).unwrap();
    assert_refused(
        &resumed.run(100, &[]),
        &["log.jsonl", "another program is writing to it"],
    );
    assert!(fs::read(&resumed.log).unwrap() == before);
}

#[test]
fn files_that_would_overwrite_one_another_or_are_of_another_kind_are_refused() {
    for (words, parts) in [
        (
            "--log a --losses a",
            [
                "--log must be a different file from that of --losses",
                "is a",
            ],
        ),
        ("--plot a.png", ["--plot must be a file", ".svg"]),
        ("--samples a.svg", ["--samples must be a file", ".png"]),
    ] {
        let words = format!("--data no/such/directory --device cpu {words}");
        assert_refused(&train(&[], &words), &parts);
    }
}

#[test]
fn a_log_that_cannot_be_written_is_told_before_the_data_set_is_loaded() {
    let words = "--data no/such/directory --device cpu --log no/such/log.jsonl";
    let parts = ["cannot write the log to no/such/log.jsonl", "--log"];
    assert_refused(&train(&[], words), &parts);
}
