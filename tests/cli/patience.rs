//! Trainings that end when they no longer get better.

use super::{Few, assert_refused, last_line, lines, train};

#[test]
fn a_training_that_no_longer_gets_better_ends_early() {
    let few = Few::new();
    let words = "--device cpu --batch 20 --steps 1000000 --eval-every 50 --patience 3";
    let lines = lines(&few.train(words));
    let evaluated = lines.iter().filter(|line| line.starts_with("step "));
    let evaluated: Vec<(usize, f64)> = evaluated
        .map(|line| line.split_whitespace())
        .map(|mut words| (words.nth(1).unwrap(), words.last().unwrap()))
        .map(|(step, accuracy)| (step.parse().unwrap(), accuracy.parse().unwrap()))
        .collect();

    // The last three are no better than the best before them, which no three in a row were.
    let best = |evaluated: &[(usize, f64)]| {
        let accuracies = evaluated.iter().map(|&(_, accuracy)| accuracy);
        accuracies.fold(0.0, f64::max)
    };
    let ends_at = |end: usize| best(&evaluated[end - 3..end]) <= best(&evaluated[..end - 3]);
    let count = evaluated.len();
    assert!(ends_at(count), "{lines:?}");
    assert!((4..count).all(|end| !ends_at(end)), "{lines:?}");

    let step = evaluated[count - 1].0.to_string();
    assert_eq!(last_line(&lines)["steps"], step);
    let expected = format!(
        "stopped early at step {step}: test accuracy has not risen above {:.4} in 3 evaluations",
        best(&evaluated)
    );
    assert!(lines.contains(&expected), "{lines:?}");
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
