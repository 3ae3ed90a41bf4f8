//! Trainings that end when they no longer improve.

use std::path::Path;

use super::{Few, assert_refused, last_line, lines, train};

const WORDS: &str = "--device cpu --batch 20 --steps 1000000 --eval-every 50 --patience 3";

#[test]
fn a_training_that_no_longer_gets_better_ends_early() {
    let few = Few::new();
    ends_early(&lines(&few.train(WORDS)));
}

/// In a resumed training, only new evaluations count, because the file contains neither the earlier evaluations nor the
/// best of them.
#[test]
fn patience_begins_anew_when_a_training_is_resumed() {
    let few = Few::new();
    let file = few.path.join("early.safetensors");
    let run = |option: &str| {
        let data = [Path::new("--unverified"), Path::new("--data"), &few.path];
        let arguments = [&data[..], &[Path::new(option), &file]].concat();
        ends_early(&lines(&train(&arguments, WORDS)))
    };
    let first = run("--save");
    let second = run("--resume");
    assert!(second >= first + 3 * 50, "{second} after {first}");
    let help = lines(&train(&[], "--help")).join(" ");
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        help.contains("those before `--resume` do not count"),
        "{help}"
    );
}

/// Asserts that a training has ended at the right step, and returns that step.
fn ends_early(lines: &[String]) -> usize {
    let evaluated = lines.iter().filter(|line| line.starts_with("step "));
    let evaluated: Vec<(usize, f64)> = evaluated
        .map(|line| line.split_whitespace())
        .map(|mut words| (words.nth(1).unwrap(), words.last().unwrap()))
        .map(|(step, accuracy)| (step.parse().unwrap(), accuracy.parse().unwrap()))
        .collect();

    // The last three evaluations are no better than the best evaluation before them. This is the first time that it is
    // so for three evaluations in a row.
    let best = |evaluated: &[(usize, f64)]| {
        let accuracies = evaluated.iter().map(|&(_, accuracy)| accuracy);
        accuracies.fold(0.0, f64::max)
    };
    let ends_at = |end: usize| best(&evaluated[end - 3..end]) <= best(&evaluated[..end - 3]);
    let count = evaluated.len();
    assert!(ends_at(count), "{lines:?}");
    assert!((4..count).all(|end| !ends_at(end)), "{lines:?}");

    let step = evaluated[count - 1].0;
    assert_eq!(last_line(lines)["steps"], step.to_string());
    let expected = format!(
        "stopped early at step {step}: test accuracy has not risen above {:.4} in 3 evaluations",
        best(&evaluated)
    );
    assert!(lines.contains(&expected), "{lines:?}");
    step
}

#[test]
fn patience_that_makes_no_sense() {
    for (words, parts) in [
        ("--patience 0", ["--patience must be at least 1", "is 0"]),
        (
            "--patience 2 --eval-every 0",
            ["--patience must be left out with --eval-every 0", "is 2"],
        ),
    ] {
        let words = format!("--data no/such/directory --device cpu {words}");
        assert_refused(&train(&[], &words), &parts);
    }
}
