//! Trainings that are saved, interrupted and resumed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;

use safetensors::SafeTensors;

use super::{Few, assert_refused, last_line, lines, number, text, train};

/// Trains on `few` with the arguments in `words`. `files` has further options, each with the file that it takes.
fn train_with(few: &Few, files: &[(&str, &Path)], words: &str) -> Output {
    let data = [Path::new("--unverified"), Path::new("--data"), &few.path];
    let files = files
        .iter()
        .flat_map(|(option, file)| [Path::new(*option), *file]);
    let arguments: Vec<_> = data.into_iter().chain(files).collect();
    train(&arguments, words)
}

/// Returns the step of a saved training, and the bytes of all its tensors by name.
pub(super) fn contents(path: &Path) -> (String, BTreeMap<String, Vec<u8>>) {
    let bytes = fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let step = header.metadata().as_ref().unwrap()["step"].clone();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter();
    let tensors = tensors.map(|(name, view)| (name, view.data().to_vec()));
    (step, tensors.collect())
}

/// Compares a run of 200 steps with a run of 100 steps that is resumed for 100 further steps.
fn assert_resumes(device: &str) {
    let few = Few::new();
    let [whole, half, rest] =
        ["whole", "half", "rest"].map(|name| few.path.join(name).with_extension("safetensors"));
    let words = format!(
        "--device {device} --batch 20 --eval-every 60 --optimizer adam --warm-up 50 --steps"
    );
    let at_once = train_with(&few, &[("--save", &whole)], &format!("{words} 200"));
    lines(&train_with(
        &few,
        &[("--save", &half)],
        &format!("{words} 100"),
    ));
    let files = [("--resume", &*half), ("--save", &*rest)];
    let resumed = train_with(&few, &files, &format!("{words} 200"));

    let [at_once, resumed] = [at_once, resumed].map(|output| lines(&output));
    let steps = |lines: &[String]| -> Vec<String> {
        let evaluated = lines.iter().filter(|line| line.starts_with("step "));
        let steps = evaluated.map(|line| line.split_whitespace().nth(1).unwrap());
        steps.map(str::to_owned).collect()
    };
    assert_eq!(steps(&at_once), ["0", "60", "120", "180", "200"]);
    assert_eq!(steps(&resumed), ["100", "120", "180", "200"]);
    let [at_once, resumed] = [at_once, resumed].map(|lines| last_line(&lines));
    for key in ["steps", "train_accuracy", "test_accuracy"] {
        assert_eq!(at_once[key], resumed[key], "{key}");
    }
    // `train_s` is the duration of this run's 100 steps, rounded to milliseconds.
    let seconds = 100.0 / number(&resumed, "steps_per_s");
    assert!(
        (seconds - number(&resumed, "train_s")).abs() < 0.001,
        "{resumed:?}"
    );
    assert_eq!(contents(&half).0, "100");
    let (step, tensors) = contents(&whole);
    assert_eq!((step.as_str(), tensors.len()), ("200", 12));
    assert!((step, tensors) == contents(&rest));
}

#[test]
fn a_resumed_training_on_the_cpu_is_the_same_as_one_at_once() {
    assert_resumes("cpu");
}

#[test]
fn a_resumed_training_on_the_gpu_is_the_same_as_one_at_once() {
    assert_resumes("gpu");
}

#[test]
fn losses_of_a_resumed_training_count_on() {
    let few = Few::new();
    let saved = few.path.join("saved");
    let csv = few.path.join("losses.csv");
    let words = "--device cpu --batch 10 --eval-every 0 --quiet --steps";
    lines(&train_with(
        &few,
        &[("--save", &saved)],
        &format!("{words} 7"),
    ));
    let files = [("--resume", &*saved), ("--losses", &*csv)];
    lines(&train_with(&few, &files, &format!("{words} 9")));
    let losses = fs::read_to_string(&csv).unwrap();
    let steps = losses.lines().map(|line| line.split_once(',').unwrap().0);
    assert!(steps.eq(["8", "9"]), "{losses}");
}

/// A cosine schedule ends at `--steps`, so a longer training would be refused. The message must not suggest it.
#[test]
fn a_cosine_that_has_ended_is_not_advised_to_go_on() {
    let few = Few::new();
    let saved = few.path.join("saved");
    let words = |steps| format!("--device cpu --batch 10 --schedule cosine --steps {steps}");
    lines(&train_with(&few, &[("--save", &saved)], &words(20)));
    let resume = |steps| train_with(&few, &[("--resume", &saved)], &words(steps));
    let output = resume(20);
    let anew = "start again without --resume and with more --steps";
    assert_refused(&output, &["nothing is left to do", "all 20 steps", anew]);
    assert!(!text(&output.stderr).contains("raise --steps"));
    let among = "the options it was saved with, including --steps";
    let anew = "if it has taken all these steps, start again without --resume";
    assert_refused(&resume(40), &["cannot resume", among, anew]);
}

#[test]
fn files_that_cannot_be_saved_to_or_resumed_from() {
    let few = Few::new();
    let words = "--device cpu --batch 10 --steps 20";
    let saved = few.path.join("saved");
    lines(&train_with(&few, &[("--save", &saved)], words));
    let before = fs::read(&saved).unwrap();

    let resume = |file: &Path, words: &str| train_with(&few, &[("--resume", file)], words);
    assert_refused(
        &resume(&saved, words),
        &[
            "nothing is left to do",
            "--steps is 20",
            "already has 20",
            "raise --steps above 20",
        ],
    );
    let more = "--device cpu --steps 40 --batch";
    for (words, parts) in [
        (
            format!("{more} 20"),
            ["batch: expected 20, found 10", "cannot resume"],
        ),
        (
            format!("{more} 10 --hidden 30"),
            ["another network: expected", "--resume"],
        ),
        (
            format!("{more} 10 --optimizer adam"),
            ["optimizer: expected Adam", "found Sgd"],
        ),
        (
            format!("{more} 10 --seed 1"),
            ["sampling: expected", "seed 42"],
        ),
        (
            format!("{more} 10 --learning-rate 0.2"),
            ["learning_rate: 0.2", "found Sgd { learning_rate: 0.1"],
        ),
        (
            format!("{more} 10 --warm-up 5"),
            ["optimizer: expected Scheduled", "found Sgd"],
        ),
    ] {
        assert_refused(&resume(&saved, &words), &parts);
    }
    assert_refused(
        &resume(Path::new("no/such"), words),
        &["cannot read no/such"],
    );
    let cut = few.path.join("cut");
    fs::write(&cut, &before[..before.len() / 2]).unwrap();
    assert_refused(
        &resume(&cut, words),
        &["safetensors file is damaged", "it is truncated"],
    );

    let files = [Path::new("--save"), Path::new("no/such/file")];
    let output = train(&files, "--data no/such/directory --device cpu");
    assert_refused(
        &output,
        &[
            "cannot save the training",
            "cannot write no/such/file",
            "--save",
        ],
    );
    assert_eq!(text(&output.stdout), "");
    let output = train_with(&few, &[("--save", &few.path)], words);
    assert_refused(&output, &["cannot save the training", "is a directory"]);

    // The saved file must stay unchanged: a refused run must not write it, not even to test whether it is writable.
    let files = [("--save", &*saved), ("--resume", &*saved)];
    assert_refused(&train_with(&few, &files, words), &["nothing is left to do"]);
    assert!(fs::read(&saved).unwrap() == before);
    let names = fs::read_dir(&few.path).unwrap();
    // Four files of the data set, and two of this test.
    assert_eq!(names.count(), 6);
}
