//! How a run ends: its results, its saved files and its messages.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::saving::contents;
use super::{Few, assert_refused, example, last_line, lines, text, train};

/// Returns the command `train_gpu` on the data set `few`, with the arguments in `words`. `files` has further options,
/// each with the file that it takes.
fn command(few: &Few, files: &[(&str, &Path)], words: &str) -> Command {
    let mut command = example("train_gpu");
    command.args(["--unverified", "--data"]).arg(&few.path);
    command.args(words.split_whitespace());
    for (option, file) in files {
        command.arg(option).arg(file);
    }
    command
}

/// Asserts that a training can be resumed for ten steps from a file that was saved after `step`.
#[track_caller]
pub(super) fn assert_resumes(few: &Few, saved: &Path, words: &str, step: usize) {
    let steps = (step + 10).to_string();
    let words = format!("--device cpu --eval-every 0 {words} --steps {steps}");
    let resumed = command(few, &[("--resume", saved)], &words)
        .output()
        .unwrap();
    assert_eq!(last_line(&lines(&resumed))["steps"], steps);
    // The file was saved after exactly `step` steps, so a run of `step` steps is refused.
    let words = words.replace(&steps, &step.to_string());
    let refused = command(few, &[("--resume", saved)], &words)
        .output()
        .unwrap();
    let has = format!("already has {step} steps;");
    assert_refused(&refused, &["nothing is left to do", &has]);
}

/// Asserts that the output has no results: neither the last line (`key=value`) nor the tables.
#[track_caller]
fn assert_no_result(output: &Output) {
    let stdout = text(&output.stdout);
    for part in ["results are for", "test_accuracy=", "precision", "samples:"] {
        assert!(!stdout.contains(part), "{stdout}");
    }
}

/// The learning rate is 0.1 for ten steps, then 10²⁹. The training therefore diverges at the eleventh update.
const RUINED: &str =
    "--batch 20 --schedule step --schedule-every 10 --schedule-factor 1e30 --steps 40 --confusion";

#[test]
fn a_run_that_diverges_fails_and_keeps_the_last_good_file() {
    for device in ["cpu", "gpu"] {
        // The divergence is detected in the evaluation after step 11, or, if there is none, in the loss of step 12.
        for (every, what, evaluated) in [
            (1, "after step 11, the loss over the training data is", 11),
            (5, "the loss of step 12 is", 10),
        ] {
            let few = Few::new();
            let [saved, losses, log, plot, samples] = [
                "saved",
                "losses.csv",
                "log.jsonl",
                "plot.svg",
                "samples.png",
            ]
            .map(|name| few.path.join(name));
            let files = [
                ("--save", &*saved),
                ("--losses", &losses),
                ("--log", &log),
                ("--plot", &plot),
                ("--samples", &samples),
            ];
            let words = format!("--device {device} --eval-every {every} {RUINED}");
            let output = command(&few, &files, &words).output().unwrap();
            let has = format!("{} has the training after step 10", saved.display());
            let parts = [
                "training diverged",
                what,
                "the learning rate with --learning-rate (it is 0.1)",
                "--schedule-factor",
                &has,
            ];
            assert_refused(&output, &parts);
            assert_no_result(&output);
            assert_eq!(contents(&saved).0, "10");
            let losses = fs::read_to_string(&losses).unwrap();
            let steps = losses.lines().map(|line| line.split_once(',').unwrap().0);
            assert!(steps.eq((1..=11).map(|step: i32| step.to_string())));
            let log = fs::read_to_string(&log).unwrap();
            let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
            assert_eq!(last["step"], evaluated, "{log}");
            assert_eq!(last["train_loss"].is_null(), evaluated == 11, "{log}");
            // No pictures of a diverged network are drawn.
            for drawing in [plot, samples] {
                assert!(!drawing.exists());
            }
        }
    }
}

/// The message must not advise a resumed training to change the options of its steps: this is not possible.
#[test]
fn a_resumed_run_that_diverges_is_advised_to_start_anew() {
    let few = Few::new();
    let saved = few.path.join("saved");
    let words = format!("--device cpu --eval-every 10 {RUINED}");
    let files = [("--save", &*saved)];
    let first = command(&few, &files, &words).output().unwrap();
    assert_refused(&first, &["training diverged"]);
    let resumed = command(&few, &[("--resume", &*saved)], &words).output();
    let has = format!("{} has the training after step 10", saved.display());
    let parts = [
        "training diverged: the loss of step 12 is",
        "start again without --resume, and lower the learning rate",
        &has,
    ];
    assert_refused(&resumed.unwrap(), &parts);
}

#[test]
fn weight_decay_that_makes_a_training_diverge_is_named_first() {
    let few = Few::new();
    for (words, expected) in [
        (
            "--optimizer adamw --learning-rate 0.1 --weight-decay 1000",
            "lower the weight decay with --weight-decay (it is 1000), or lower the learning rate with --learning-rate \
             (it is 0.1): their product is 100, and at 2 or above the weight decay alone",
        ),
        (
            "--weight-decay 30",
            "lower the weight decay with --weight-decay (it is 30)",
        ),
        (
            "--learning-rate 1e9 --weight-decay 1e-12",
            "lower the learning rate with --learning-rate (it is 1000000000)",
        ),
    ] {
        let words = format!("--device cpu --batch 20 --steps 3000 {words}");
        assert_refused(&few.train(&words), &["training diverged", expected]);
    }
}

/// Runs a command, and closes its standard output after `count` lines.
fn closed_after(command: &mut Command, count: usize) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..count {
        stdout.next().unwrap().unwrap();
    }
    drop(stdout);
    child.wait_with_output().unwrap()
}

#[track_caller]
fn assert_interrupted(output: &Output, parts: &[&str]) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(
        stderr.starts_with("interrupted") && stderr.lines().count() == 1,
        "{stderr}"
    );
    for part in ["standard output was closed"].iter().chain(parts) {
        assert!(stderr.contains(part), "no \"{part}\" in: {stderr}");
    }
}

/// The reader of standard output closes it early, as `head` does in `train_gpu … | head`.
#[test]
fn a_training_whose_standard_output_is_closed_is_saved() {
    let few = Few::new();
    let saved = few.path.join("saved");
    let run = |words: &str, count| {
        let words = format!("--device cpu --batch 20 {words}");
        let mut command = command(&few, &[("--save", &saved)], &words);
        closed_after(&mut command, count)
    };
    // Closes standard output in the middle of the training, after the first evaluation. The process may or may not
    // still write the second evaluation.
    let output = run("--steps 100000000 --eval-every 500", 9);
    let go_on = format!(
        "the training was saved: run the same command with --resume {}",
        saved.display()
    );
    assert_interrupted(&output, &[" after step ", &go_on]);
    let stderr = text(&output.stderr);
    let step = stderr.strip_prefix("interrupted after step ").unwrap();
    let step: usize = step.split(',').next().unwrap().parse().unwrap();
    assert_eq!(step % 500, 0, "{stderr}");
    assert_resumes(&few, &saved, "--batch 20", step);

    // If there is nothing to save yet, an earlier file stays unchanged.
    let good = fs::read(&saved).unwrap();
    let output = run("--steps 100", 0);
    assert_interrupted(&output, &[]);
    assert!(fs::read(&saved).unwrap() == good);

    // If only the last lines of the output are lost, all steps have been taken, so the message does not suggest
    // `--resume`.
    let output = run("--steps 3000 --eval-every 0 --quiet", 1);
    let done = "no step was left to take, and the training was saved to";
    assert_interrupted(&output, &["after step 3000", done]);
    assert!(!text(&output.stderr).contains("--resume"));
    assert_eq!(contents(&saved).0, "3000");
}

#[test]
fn a_training_without_a_file_says_that_it_was_not_saved() {
    let few = Few::new();
    let words = "--device cpu --batch 20 --steps 100000000 --eval-every 500";
    let output = closed_after(&mut command(&few, &[], words), 9);
    assert_interrupted(&output, &["nothing was saved: with --save"]);
    let words = "--device cpu --batch 20 --steps 3000 --eval-every 0 --quiet";
    let output = closed_after(&mut command(&few, &[], words), 1);
    assert_interrupted(
        &output,
        &["no step was left to take", "--save was left out"],
    );
}

/// These programs lose their output, so their exit code must not be 0.
#[test]
fn programs_whose_standard_output_is_closed_do_not_end_as_if_all_were_done() {
    let few = Few::new();
    let directory = tempfile::tempdir().unwrap();
    let run = |name: &str, words: &str, path: &[&Path]| {
        let mut command = example(name);
        command.args(words.split_whitespace()).args(path);
        closed_after(&mut command, 0)
    };
    let small = "--size 16 --steps 8 --batch 64 --out";
    for output in [
        run("gradient_check", "--unverified --data", &[&few.path]),
        run("matmul", "--device cpu --shapes 8x8x8 --repeats 1", &[]),
        run("in_your_program", "", &[]),
        run("learn_image", small, &[directory.path()]),
        run("learn_shape", small, &[directory.path()]),
        run("stream_csv", "--made --rows 1000", &[]),
    ] {
        assert_interrupted(&output, &[]);
    }
    for name in ["custom_layer", "custom_loss", "custom_optimizer"] {
        let output = run(name, "", &[]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}

#[cfg(target_os = "linux")]
mod full {
    use super::*;

    #[test]
    fn an_output_that_is_full_at_once_is_told_before_the_training() {
        let few = Few::new();
        let saved = few.path.join("saved");
        let old = few.path.join("old");
        fs::write(&old, "old").unwrap();
        let full = Path::new("/dev/full");
        for option in ["--losses", "--log", "--plot", "--samples", "stdout"] {
            let other = if option == "--log" {
                "--losses"
            } else {
                "--log"
            };
            let words = "--device cpu --batch 20 --steps 2000 --eval-every 500";
            let files = [("--save", &*saved), (other, &old), (option, full)];
            let count = if option == "stdout" { 2 } else { 3 };
            let mut command = command(&few, &files[..count], words);
            if option == "stdout" {
                command.stdout(fs::File::options().write(true).open(full).unwrap());
            }
            let output = command.output().unwrap();
            assert_refused(&output, &["cannot write", "No space left"]);
            assert_no_result(&output);
            assert!(!saved.exists());
            assert_eq!(fs::read_to_string(&old).unwrap(), "old");
        }
    }

    /// Returns the command, run in a shell that limits files to 64 KiB.
    fn limited(command: &Command) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -f 128; exec \"$@\"", "sh"]);
        shell.arg(command.get_program()).args(command.get_args());
        shell
    }

    /// If an output file can no longer be written, the training is saved and the run fails. The message must not
    /// suggest a command that would lose steps.
    #[test]
    fn a_training_whose_losses_cannot_be_written_is_saved() {
        let few = Few::new();
        let [saved, csv, more] = ["saved", "losses.csv", "more.csv"].map(|n| few.path.join(n));
        let words = "--device cpu --hidden none --batch 20 --eval-every 0 --quiet --steps";
        let files = [("--save", &*saved), ("--losses", &csv)];
        let endless = command(&few, &files, &format!("{words} 100000000"));
        let output = limited(&endless).output().unwrap();
        assert_no_result(&output);
        let losses = fs::read_to_string(&csv).unwrap();
        assert!(losses.ends_with('\n'));
        let last = losses.lines().last().unwrap().split(',').next().unwrap();
        let ends =
            format!("another file for --losses, because that one ends with step {last}, to go on");
        let go_on = format!("with --resume {}", saved.display());
        let parts = [
            "losses.csv: File too large",
            "ended after step",
            "saved",
            &go_on,
            &ends,
        ];
        assert_refused(&output, &parts);

        let step: usize = contents(&saved).0.parse().unwrap();
        let words = format!("{words} {}", step + 10);
        let resume = |csv: &Path| {
            let files = [("--resume", &*saved), ("--losses", csv)];
            command(&few, &files, &words).output().unwrap()
        };
        let parts = [
            format!("its last line is for step {last}"),
            format!("starts with step {}", step + 1),
            "name another file with --losses".to_owned(),
        ];
        assert_refused(&resume(&csv), &parts.each_ref().map(String::as_str));
        assert_eq!(fs::read_to_string(&csv).unwrap(), losses);
        lines(&resume(&more));
        let more = fs::read_to_string(&more).unwrap();
        assert!(more.starts_with(&format!("{},", step + 1)), "{more}");
    }

    #[test]
    fn a_file_that_grows_beyond_a_limit_is_told_and_the_old_one_stays() {
        let few = Few::new();
        let saved = few.path.join("saved");
        fs::write(&saved, "old").unwrap();
        let words = "--device cpu --batch 20 --steps 50 --eval-every 20";
        let command = command(&few, &[("--save", &saved)], words);
        let output = limited(&command).output().unwrap();
        let parts = [
            "File too large",
            "ended after step 20; this training was not saved",
        ];
        assert_refused(&output, &parts);
        assert_eq!(fs::read_to_string(&saved).unwrap(), "old");
    }

    #[test]
    fn standard_output_that_is_opened_for_reading_is_told() {
        let few = Few::new();
        let mut command = command(&few, &[], "--device cpu --batch 20 --steps 5");
        command.stdout(fs::File::open("/dev/null").unwrap());
        let output = command.stderr(Stdio::piped()).spawn().unwrap();
        let output = output.wait_with_output().unwrap();
        assert_refused(&output, &["standard output", "opened only for reading"]);
    }

    /// The losses are written to a pipe whose reader closes it during the training.
    #[test]
    fn a_training_whose_reader_leaves_is_saved() {
        let few = Few::new();
        for option in ["--losses", "--log"] {
            let saved = few.path.join(format!("{option}.saved"));
            let pipe = few.path.join(option);
            assert!(
                Command::new("mkfifo")
                    .arg("--")
                    .arg(&pipe)
                    .status()
                    .unwrap()
                    .success()
            );
            let files = [("--save", &*saved), (option, &pipe)];
            let words = "--device cpu --batch 20 --steps 100000000 --eval-every 100 --quiet";
            let mut command = command(&few, &files, words);
            command.stdout(Stdio::null()).stderr(Stdio::piped());
            let child = command.spawn().unwrap();
            let mut reader = BufReader::new(fs::File::open(&pipe).unwrap());
            for _ in 0..3 {
                reader.read_line(&mut String::new()).unwrap();
            }
            drop(reader);
            let output = child.wait_with_output().unwrap();
            let stderr = text(&output.stderr);
            let saved_there = format!("--resume {}", saved.display());
            let parts = [
                "cannot write the",
                option,
                "the training was saved",
                &saved_there,
            ];
            assert_refused(&output, &parts);
            let step = stderr.split("ended after step ").nth(1).unwrap();
            let step = step.split(';').next().unwrap().parse().unwrap();
            assert_resumes(&few, &saved, "--batch 20", step);
        }
    }
}

/// A line feed in a name adds no line to standard output, not even in the name of the data set.
#[cfg(unix)]
#[test]
fn a_name_makes_no_more_lines_of_standard_output() {
    let few = Few::new();
    let odd = few.path.with_file_name("a\nb");
    fs::rename(&few.path, &odd).unwrap();
    let arguments = [Path::new("--unverified"), Path::new("--data"), &odd];
    let words = "--device cpu --batch 10 --steps 5 --quiet";
    let lines = lines(&train(&arguments, words));
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[1], "results are for a\\nb");
}

/// Control characters in file names are escaped: they would add lines to a message, or move the cursor.
#[test]
fn names_of_files_are_shown_as_they_are() {
    let data = [Path::new("--data"), Path::new("no/such/directory")];
    for (name, shown) in [
        ("no  dir/m  1", "no  dir/m  1"),
        ("no\n dir/\tm\u{1b}[31m", "no\\n dir/\\tm\\u{1b}[31m"),
        ("keine Straße/模型", "keine Straße/模型"),
    ] {
        for option in ["--save", "--losses", "--log", "--plot", "--samples"] {
            let arguments = [&data[..], &[Path::new(option), Path::new(name)]].concat();
            assert_refused(&train(&arguments, "--device cpu"), &[shown]);
        }
    }
}
