//! What a training writes for programs, evaluation by evaluation.

use std::fs;
use std::path::Path;

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

#[test]
fn a_resumed_training_goes_on_with_its_log_and_losses() {
    let few = Few::new();
    let [log, losses, saved] = ["log.jsonl", "losses.csv", "saved"].map(|n| few.path.join(n));
    let run = |steps: usize, resume: &[&Path]| {
        let data = [Path::new("--unverified"), Path::new("--data"), &few.path];
        let files = [
            Path::new("--log"),
            &log,
            Path::new("--losses"),
            &losses,
            Path::new("--save"),
            &saved,
        ];
        let arguments = [&data[..], &files, resume].concat();
        let words = format!("--device cpu --batch 20 --steps {steps} --eval-every 100 --quiet");
        lines(&train(&arguments, &words));
    };
    run(100, &[]);
    run(200, &[Path::new("--resume"), &saved]);
    let log = fs::read_to_string(&log).unwrap();
    let step = |line: &str| serde_json::from_str::<Value>(line).unwrap()["step"].as_u64();
    let steps: Vec<_> = log.lines().map(step).collect();
    assert_eq!(steps.first(), Some(&Some(0)), "{log}");
    assert_eq!(steps.last(), Some(&Some(200)), "{log}");
    let losses = fs::read_to_string(&losses).unwrap();
    let numbers = losses.lines().map(|line| line.split_once(',').unwrap().0);
    assert!(
        numbers
            .map(str::to_owned)
            .eq((1..=200).map(|n: usize| n.to_string()))
    );
}

#[test]
fn files_that_would_overwrite_one_another_or_are_of_another_kind_are_refused() {
    for (words, parts) in [
        (
            "--log a --losses a",
            ["--log must be another file than that of --losses", "is a"],
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
