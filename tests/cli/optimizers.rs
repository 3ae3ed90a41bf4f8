//! Optimizers and schedules from the command line.

use std::fs;
use std::path::Path;

use super::{Few, assert_refused, last_line, lines, number, train};

#[test]
fn every_optimizer_learns_with_its_own_learning_rate_and_is_named() {
    let few = Few::new();
    for (name, rate) in [
        ("sgd", "0.1"),
        ("momentum", "0.05"),
        ("nesterov", "0.05"),
        ("adagrad", "0.01"),
        ("rmsprop", "0.001"),
        ("adam", "0.001"),
        ("adamw", "0.001"),
    ] {
        let words =
            format!("--device cpu --batch 20 --steps 400 --eval-every 0 --optimizer {name}");
        let lines = lines(&few.train(&words));
        let expected = format!("optimizer: {name}, learning rate {rate}");
        assert!(lines.contains(&expected), "{lines:?}");
        let accuracy = number(&last_line(&lines), "train_accuracy");
        assert!(accuracy > 0.85, "{name}: {accuracy}");
    }
}

#[test]
fn what_the_optimizer_was_set_to_is_printed_and_has_an_effect() {
    let few = Few::new();
    let run = |words: &str| {
        let words = format!("--device cpu --batch 20 --steps 60 --eval-every 0 {words}");
        let lines = lines(&few.train(&words));
        let described = lines.iter().find(|line| line.starts_with("optimizer: "));
        let evaluated = lines.iter().find(|line| line.starts_with("step "));
        [described, evaluated].map(|line| line.unwrap().clone())
    };
    let [_, plain] = run("");
    for (words, expected) in [
        ("--weight-decay 0.5", "weight decay 0.5"),
        ("--schedule cosine", "cosine decay to 0 at step 60"),
        (
            "--schedule step --schedule-every 20",
            "times 0.1 every 20 steps",
        ),
        (
            "--schedule step --schedule-every 20 --schedule-factor 0.5",
            "times 0.5 every 20 steps",
        ),
        ("--warm-up 30", "warm-up of 30 steps"),
        ("--clip-norm 0.1", "gradients clipped to a norm of 0.1"),
    ] {
        let [described, evaluated] = run(words);
        assert!(described.ends_with(expected), "{described}");
        assert_ne!(evaluated, plain, "{words}");
    }
}

/// Until the learning rate changes, the losses equal the losses with a constant learning rate.
#[test]
fn a_step_schedule_changes_the_learning_rate_when_it_says() {
    let few = Few::new();
    let file = few.path.join("losses.csv");
    let losses = |words: &str| {
        let data = [Path::new("--unverified"), Path::new("--data"), &few.path];
        let arguments = [&data[..], &[Path::new("--losses"), &file]].concat();
        let words = format!("--device cpu --batch 20 --steps 60 --eval-every 0 {words}");
        lines(&train(&arguments, &words));
        let text = fs::read_to_string(&file).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let constant = losses("");
    let step = losses("--schedule step --schedule-every 30");
    // The 31st update is the first with another learning rate. The 32nd loss is the first loss after that update.
    let same = constant.iter().zip(&step).take_while(|(a, b)| a == b);
    assert_eq!((same.count(), step.len()), (31, 60));
}

#[test]
fn an_optimizer_with_a_schedule_does_the_same_on_cpu_and_gpu() {
    let few = Few::new();
    let [cpu, gpu] = ["cpu", "gpu"].map(|device| {
        let words = format!(
            "--device {device} --batch 20 --steps 300 --eval-every 0 --optimizer adam \
             --schedule cosine --warm-up 20 --clip-norm 0.5 --hidden 40,30 --dropout 0.1"
        );
        lines(&few.train(&words))
    });
    let plan = "plan: layers, because ";
    assert!(gpu.iter().any(|line| line.starts_with(plan)), "{gpu:?}");
    let [cpu, gpu] = [cpu, gpu].map(|lines| number(&last_line(&lines), "train_accuracy"));
    assert!(cpu > 0.6 && (cpu - gpu).abs() < 0.01, "{cpu} {gpu}");
}

/// With label smoothing, a loss is at least the entropy of the smoothed labels.
#[test]
fn labels_are_smoothed_on_cpu_and_gpu() {
    let few = Few::new();
    let file = few.path.join("losses.csv");
    let run = |words: &str| {
        let data = [Path::new("--unverified"), Path::new("--data"), &few.path];
        let arguments = [&data[..], &[Path::new("--losses"), &file]].concat();
        let words = format!("--batch 20 --steps 300 --eval-every 0 {words}");
        let lines = lines(&train(&arguments, &words));
        let said = lines.contains(&"loss: labels smoothed by 0.2".to_owned());
        let text = fs::read_to_string(&file).unwrap();
        let losses = text.lines().map(|line| line.split_once(',').unwrap().1);
        let losses: Vec<f64> = losses.map(|loss| loss.parse().unwrap()).collect();
        (said, losses, number(&last_line(&lines), "train_accuracy"))
    };
    let least = |losses: &[f64]| losses.iter().copied().fold(f64::INFINITY, f64::min);
    let entropy = -(0.82f64 * 0.82f64.ln() + 9.0 * 0.02 * 0.02f64.ln());
    let (said, losses, _) = run("--device cpu");
    assert!(!said && least(&losses) < entropy, "{}", least(&losses));
    let all = ["cpu", "gpu"].map(|of| run(&format!("--device {of} --label-smoothing 0.2")));
    for (said, losses, accuracy) in &all {
        assert!(*said && *accuracy > 0.8, "{accuracy}");
        assert!(least(losses) > entropy, "{}", least(losses));
    }
    for (cpu, gpu) in all[0].1.iter().zip(&all[1].1) {
        assert!((cpu - gpu).abs() < 1e-3, "{cpu} {gpu}");
    }
}

#[test]
fn settings_of_optimizers_that_are_wrong() {
    for (words, parts) in [
        ("--weight-decay -1", ["--weight-decay must be", "is -1"]),
        (
            "--learning-rate 1e-40",
            ["--learning-rate must be at least", "is 1e-40"],
        ),
        (
            "--weight-decay -1e30",
            ["--weight-decay must be", "is -1e30"],
        ),
        ("--weight-decay nan", ["--weight-decay must be", "is NaN"]),
        ("--clip-norm 0", ["--clip-norm must be", "is 0"]),
        (
            "--label-smoothing 1.5",
            ["--label-smoothing must be 0 to 1", "is 1.5"],
        ),
        (
            "--label-smoothing 0.1 --plan fused",
            ["--label-smoothing must be left out", "--plan fused"],
        ),
        ("--dropout 1", ["--dropout must be", "is 1"]),
        ("--dropout -0.1", ["--dropout must be", "is -0.1"]),
        (
            "--dropout 0.5 --hidden none",
            ["--dropout must be", "--hidden none"],
        ),
        (
            "--steps 50 --warm-up 50",
            ["--warm-up must be below --steps, which is 50", "is 50"],
        ),
        (
            "--schedule step",
            ["--schedule-every must be a number of steps", "is left out"],
        ),
        (
            "--schedule step --schedule-every 0",
            ["--schedule-every must be at least 1", "is 0"],
        ),
        (
            "--schedule step --schedule-every 10 --schedule-factor -1",
            ["--schedule-factor must be", "is -1"],
        ),
        (
            "--schedule cosine --schedule-every 10",
            ["--schedule-every must be left out", "is 10"],
        ),
        (
            "--schedule-factor 0.5",
            ["--schedule-factor must be left out", "is 0.5"],
        ),
        (
            "--optimizer adam --learning-rate 0",
            ["--learning-rate must be a finite number above 0", "is 0"],
        ),
    ] {
        let words = format!("--data no/such/directory --device cpu {words}");
        assert_refused(&train(&[], &words), &parts);
    }
}
