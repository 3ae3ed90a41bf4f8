//! The book's experiments at a small size: their figures and numbers exist, and they show the expected effect.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use super::{Few, assert_refused, example, lines};

/// The output of an experiment: standard output and the figure.
struct Run {
    lines: Vec<String>,
    svg: String,
}

impl Run {
    /// Returns the number after `key=` in the last line.
    #[track_caller]
    fn number(&self, key: &str) -> f64 {
        let last = self.lines.last().unwrap();
        let pairs = last.split(' ').filter_map(|pair| pair.split_once('='));
        let value = pairs.clone().find(|(of, _)| *of == key);
        let (_, value) = value.unwrap_or_else(|| panic!("no {key} in {last}"));
        value.parse().unwrap()
    }

    #[track_caller]
    fn assert_has(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.svg.contains(part), "no \"{part}\" in {}", self.svg);
        }
    }

    /// Returns the number of curves in the figure.
    fn curves(&self) -> usize {
        // The axes and the lines in a legend are polylines of only two points. They do not count.
        let curves = self
            .svg
            .lines()
            .filter(|line| line.starts_with("<polyline "));
        curves.filter(|line| line.matches(',').count() > 2).count()
    }
}

fn output(few: &Few, words: &str) -> (PathBuf, Output) {
    let figure = few.path.join("figure.svg");
    let mut command = example("book");
    command.args(words.split(' ')).arg("--out").arg(&figure);
    (figure, command.output().unwrap())
}

#[track_caller]
fn run(few: &Few, words: &str) -> Run {
    let (figure, output) = output(few, words);
    let lines = lines(&output);
    let svg = fs::read_to_string(figure).unwrap();
    assert!(
        svg.starts_with("<svg ") && svg.ends_with("</svg>\n"),
        "{svg}"
    );
    // Figures must be small, so that a page with all figures loads fast.
    assert!(svg.len() < 60_000, "{words}: {} bytes", svg.len());
    Run { lines, svg }
}

/// Runs an experiment on the digits.
#[track_caller]
fn on(few: &Few, words: &str) -> Run {
    run(
        few,
        &format!("{words} --unverified --data {}", few.path.display()),
    )
}

/// Returns all numbers in the line that begins with `start`.
fn numbers(run: &Run, start: &str) -> Vec<f64> {
    let line = run
        .lines
        .iter()
        .find(|line| line.starts_with(start))
        .unwrap();
    let words = line.split([' ', ',']);
    words.filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn four_optimizers_go_down_as_the_formulas_of_the_book_say() {
    let few = Few::of(20, 10);
    let expected = [
        ("sgd", book_sgd as fn(usize) -> f64),
        ("momentum", book_momentum),
        ("adagrad", book_ada_grad),
        ("adam", book_adam),
    ];
    for device in ["cpu", "gpu"] {
        for steps in [1, 30] {
            let words = format!("optimizer-compare-naive --device {device} --steps {steps}");
            let found = run(&few, &words);
            found.assert_has(&["SGD", "Momentum", "AdaGrad", "Adam"]);
            // Each of the four panels has a path with a dot at the start and after each step.
            let dots = found.svg.matches("<circle ").count();
            assert_eq!(dots, 4 * (steps + 1));
            for (name, formula) in expected {
                let found = found.number(name);
                let expected = formula(steps);
                // The printed number has six decimal places. `f32` has seven digits, and errors grow with each step.
                let bound = 2e-6 + 1e-4 * expected;
                assert!(
                    (found - expected).abs() < bound,
                    "{name}: {found}, {expected}"
                );
            }
        }
    }
}

/// Returns f(x, y) = x²/20 + y² after the steps. Each coordinate depends only on its own gradient, x/10 or 2y.
fn by_coordinate(mut update: impl FnMut(usize, f64, f64) -> f64) -> f64 {
    let mut at = |start: f64, slope: f64| update_all(start, slope, &mut update);
    let [x, y] = [at(-7.0, 0.1), at(2.0, 2.0)];
    x * x / 20.0 + y * y
}

/// Returns the final value of a coordinate. `update` takes the step (at step 0 it resets its state), the value and the
/// gradient, and returns the next value, or NaN at the end.
fn update_all(start: f64, slope: f64, update: &mut impl FnMut(usize, f64, f64) -> f64) -> f64 {
    let mut place = start;
    let mut step = 0;
    loop {
        let next = update(step, place, slope * place);
        if next.is_nan() {
            return place;
        }
        (place, step) = (next, step + 1);
    }
}

fn until(steps: usize, step: usize, next: f64) -> f64 {
    if step < steps { next } else { f64::NAN }
}

fn book_sgd(steps: usize) -> f64 {
    by_coordinate(|step, place, gradient| until(steps, step, place - 0.95 * gradient))
}

/// Momentum: v ← 0.9·v − 0.1·g, p ← p + v.
fn book_momentum(steps: usize) -> f64 {
    let mut velocity = 0.0;
    by_coordinate(|step, place, gradient| {
        velocity = if step == 0 { 0.0 } else { velocity };
        velocity = 0.9 * velocity - 0.1 * gradient;
        until(steps, step, place + velocity)
    })
}

/// `AdaGrad`: h ← h + g², p ← p − 1.5·g/(√h + 10⁻⁷).
fn book_ada_grad(steps: usize) -> f64 {
    let mut sum = 0.0;
    by_coordinate(|step, place, gradient| {
        sum = if step == 0 { 0.0 } else { sum };
        sum += gradient * gradient;
        until(steps, step, place - 1.5 * gradient / (sum.sqrt() + 1e-7))
    })
}

/// Adam: p ← p − r·m/(√v + 10⁻⁷) with the rate r = 0.3·√(1 − 0.999ᵗ)/(1 − 0.9ᵗ).
fn book_adam(steps: usize) -> f64 {
    let mut means = [0.0; 2];
    by_coordinate(|step, place, gradient| {
        means = if step == 0 { [0.0; 2] } else { means };
        means[0] += 0.1 * (gradient - means[0]);
        means[1] += 0.001 * (gradient * gradient - means[1]);
        let t = i32::try_from(step).unwrap() + 1;
        let rate = 0.3 * (1.0 - 0.999f64.powi(t)).sqrt() / (1.0 - 0.9f64.powi(t));
        until(
            steps,
            step,
            place - rate * means[0] / (means[1].sqrt() + 1e-7),
        )
    })
}

#[test]
fn activations_keep_their_spread_with_the_right_weights() {
    let few = Few::of(20, 10);
    for device in ["cpu", "gpu"] {
        let words = "weight-init-activation-histogram --rows 200 --device";
        let sigmoid = run(&few, &format!("{words} {device}"));
        assert_eq!(sigmoid.svg.matches("<polygon ").count(), 20);
        sigmoid.assert_has(&["std 1, layer 1", "He, layer 5"]);
        // With large weights, the outputs of the sigmoid are near 0 or 1; with small weights, near ½; with Xavier's
        // weights, in between.
        assert!(sigmoid.number("std_1") > 0.4, "{:?}", sigmoid.lines);
        assert!(sigmoid.number("std_0.01") < 0.02, "{:?}", sigmoid.lines);
        assert!((0.08..0.2).contains(&sigmoid.number("xavier")));
        let relu = run(&few, &format!("{words} {device} --activation relu"));
        // With He's weights, the outputs' standard deviation is √(2·(½ − 1/2π)) = 0.83 in the first layer, and stays
        // about as large in all layers.
        let of_layers = numbers(&relu, "He:");
        assert_eq!(of_layers.len(), 5, "{:?}", relu.lines);
        assert!(
            (of_layers[0] - 0.83).abs() < 0.1 && of_layers[4] > 0.4,
            "{of_layers:?}"
        );
        // With Xavier's weights and ReLU, the mean square of the outputs is halved in each layer.
        assert!(
            relu.number("xavier") < 0.5 * of_layers[4],
            "{:?}",
            relu.lines
        );
    }
}

#[test]
fn digits_are_read_by_two_layers_of_sigmoids() {
    let few = Few::new();
    let found = on(&few, "neuralnet-mnist --device cpu --epochs 20 --batch 20");
    assert!(found.number("accuracy") > 0.8, "{:?}", found.lines);
    assert_eq!(found.number("images"), 500.0);
    // There are 20 digits, each with a frame and its class.
    assert_eq!(found.svg.matches("<g ").count(), 20);
    assert_eq!(found.svg.matches(" %</text>").count(), 20);
}

#[test]
fn a_two_layer_network_learns_on_both_engines() {
    let few = Few::new();
    for device in ["cpu", "gpu"] {
        let words = format!("train-neuralnet --epochs 20 --batch 20 --device {device}");
        let found = on(&few, &words);
        assert_eq!(found.number("steps"), 1000.0);
        assert!(found.number("test_accuracy") > 0.6, "{:?}", found.lines);
        assert!(found.number("train_accuracy") > found.number("test_accuracy"));
        found.assert_has(&["training loss", "accuracy", "train", "test"]);
        // One dot at the beginning and one per epoch, for both data sets.
        assert_eq!(found.svg.matches("<circle ").count(), 2 * 21);
    }
}

#[test]
fn optimizers_and_weights_are_compared_by_their_losses() {
    let few = Few::new();
    let found = on(
        &few,
        "optimizer-compare-mnist --device cpu --steps 150 --batch 50",
    );
    found.assert_has(&["SGD", "Momentum", "AdaGrad", "Adam"]);
    assert_eq!(found.curves(), 4);
    for faster in ["momentum", "adagrad", "adam"] {
        assert!(
            found.number(faster) < found.number("sgd"),
            "{:?}",
            found.lines
        );
    }
    let found = on(
        &few,
        "weight-init-compare --device cpu --steps 150 --batch 50",
    );
    assert_eq!(found.curves(), 3);
    // A network with small initial weights learns nothing: all ten classes stay equally likely.
    assert!(
        (found.number("std_0.01") - 10f64.ln()).abs() < 0.02,
        "{:?}",
        found.lines
    );
    assert!(
        found.number("he") < 0.8 * found.number("xavier"),
        "{:?}",
        found.lines
    );
}

#[test]
fn few_images_are_learned_by_heart_and_less_so_with_decay_or_dropout() {
    let few = Few::new();
    let held = "overfit-weight-decay --device cpu --batch 20 --epochs 60";
    let decay = on(&few, held);
    let dropout = on(
        &few,
        "overfit-dropout --device cpu --batch 20 --epochs 30 --dropout 0.4",
    );
    for found in [&decay, &dropout] {
        assert_eq!(found.curves(), 4);
        let [train, test, held] =
            ["without_train", "without_test", "with_train"].map(|key| found.number(key));
        assert!(train > 0.98 && test < train - 0.05, "{:?}", found.lines);
        assert!(held <= train, "{:?}", found.lines);
    }
    // The book's loss also has the term ½λΣW² with λ = 0.1. Before the training, ΣW² is about 200 in each of the six
    // hidden layers and 20 in the last layer, so the term is about 0.05·1,220 = 61.
    let losses = numbers(&decay, "  loss of");
    let [loss, with_penalty] = [losses[0], losses[1]];
    assert!((1.0..70.0).contains(&(with_penalty - loss)), "{losses:?}");
}

#[test]
fn batch_normalisation_trains_where_small_weights_alone_do_not() {
    let few = Few::new();
    for device in ["cpu", "gpu"] {
        let words = "batch-norm-test --scales 3 --epochs 5 --batch 20 --device";
        let found = on(&few, &format!("{words} {device}"));
        // There are three pairs of trainings. The training whose loss overflows ends before the end of its first epoch,
        // so it has no curve.
        assert_eq!(found.curves(), 5);
        found.assert_has(&["std 1.0000", "std 0.0100", "std 0.0001", "with", "without"]);
        let overflows = "where the loss overflows";
        let overflowing = found.lines.iter().filter(|line| line.ends_with(overflows));
        assert_eq!(overflowing.count(), 1, "{:?}", found.lines);
        let small = numbers(&found, "weights of std 0.0100");
        let [with, without] = [small[0], small[1]];
        assert!(with > without + 0.4, "{:?}", found.lines);
    }
}

#[test]
fn gradients_are_those_of_central_differences() {
    let few = Few::of(20, 10);
    for device in ["cpu", "gpu"] {
        let found = on(
            &few,
            &format!("gradient-check --hidden 5 --device {device}"),
        );
        // `f64` has 16 digits and `f32` has 7, so neither result is exact. A difference of 0 would mean that nothing
        // was computed.
        for (key, bound) in [("numerical", 1e-9), ("engine", 1e-6)] {
            let difference = found.number(key);
            assert!(0.0 < difference && difference < bound, "{:?}", found.lines);
        }
        // The table has one row per parameter: 6 for the convolutional network, 10 for the other network.
        let rows = found
            .lines
            .iter()
            .filter(|line| line.starts_with("  layers."));
        assert_eq!(rows.count(), 16);
        assert_eq!(found.svg.matches("<circle ").count(), 2 * 16);
    }
}

#[test]
fn a_search_ranks_its_trials() {
    let few = Few::new();
    let words = "hyperparameter-optimization --device cpu --trials 7 --epochs 4 --batch 20";
    let found = on(&few, words);
    assert_eq!(found.number("trials"), 7.0);
    assert_eq!(found.curves(), 14);
    found.assert_has(&["best 1: ", "best 7: ", "train", "validation"]);
    assert!(
        found.number("best") > found.number("worst"),
        "{:?}",
        found.lines
    );
    // The best learning rate is one of the larger ones in 10^−6 to 10^−2.
    assert!(
        (1e-4..=1e-2).contains(&found.number("best_rate")),
        "{:?}",
        found.lines
    );
    assert!((1e-8..=1e-4).contains(&found.number("best_decay")));
}

#[test]
fn a_convolutional_network_learns_and_its_filters_are_shown() {
    let few = Few::of(300, 50);
    let weights = few.path.join("convnet.safetensors");
    let words = "train-convnet --device cpu --epochs 3 --batch 20 --evaluated 50 --save";
    let found = on(&few, &format!("{words} {}", weights.display()));
    assert_eq!(found.number("steps"), 45.0);
    assert!(found.number("test_accuracy") > 0.4, "{:?}", found.lines);
    assert_eq!(found.svg.matches("<circle ").count(), 2 * 4);

    let with = format!("--device cpu --weights {}", weights.display());
    let found = run(&few, &format!("visualize-filter {with}"));
    found.assert_has(&["before training", "after training"]);
    assert_eq!(found.svg.matches("<g ").count(), 60);
    // Before the training, neighboring weights are independent, so their difference is √2 standard deviations. Training
    // makes neighbors similar.
    assert!(
        (found.number("before") - 2f64.sqrt()).abs() < 0.1,
        "{:?}",
        found.lines
    );
    assert!(
        found.number("after") < found.number("before"),
        "{:?}",
        found.lines
    );

    let found = on(&few, &format!("apply-filter {with}"));
    assert_eq!(found.svg.matches("<g ").count(), 17);
    assert_eq!([found.number("height"), found.number("width")], [24.0; 2]);
}

#[test]
fn a_deep_network_is_read_again_with_16_bits() {
    let few = Few::of(100, 40);
    let weights = few.path.join("deepnet.safetensors");
    let words = "train-deepnet --device cpu --epochs 2 --batch 20 --evaluated 40 --save";
    let trained = on(&few, &format!("{words} {}", weights.display()));
    assert_eq!(trained.number("steps"), 10.0);

    let with = format!("--device cpu --weights {}", weights.display());
    let found = on(&few, &format!("misclassified-mnist {with}"));
    // The network is the same, so it has the same accuracy as at the end of the training.
    assert_eq!(found.number("accuracy"), trained.number("test_accuracy"));
    let wrong = found.number("wrong");
    let shown = found.svg.matches(" read as ").count();
    assert_eq!(shown as f64, wrong.min(20.0), "{:?}", found.lines);

    let found = on(&few, &format!("half-float-network {with}"));
    assert_eq!(
        found.number("accuracy_f32"),
        trained.number("test_accuracy")
    );
    // Rounding changes probabilities by thousandths. Only for few digits are two classes so close that the prediction
    // changes.
    assert!(found.number("changed") <= 4.0, "{:?}", found.lines);
    assert_eq!(found.svg.matches("<polygon ").count(), 1);
}

#[test]
fn what_is_not_there_is_told_with_the_command_that_makes_it() {
    let few = Few::of(20, 10);
    let missing = few.path.join("none.safetensors");
    for (experiment, training) in [
        ("misclassified-mnist", "train-deepnet"),
        ("half-float-network", "train-deepnet"),
        ("visualize-filter", "train-convnet"),
        ("apply-filter", "train-convnet"),
    ] {
        let words = format!("{experiment} --device cpu --weights {}", missing.display());
        let (_, output) = output(&few, &words);
        let command = format!("book -- {training} --save");
        assert_refused(&output, &["no trained weights at", "--weights", &command]);
    }
    let mut command = example("book");
    command.args([
        "optimizer-compare-naive",
        "--device",
        "cpu",
        "--out",
        "no/such/figure.svg",
    ]);
    let output = command.output().unwrap();
    assert_refused(
        &output,
        &["cannot write the figure to no/such/figure.svg", "--out"],
    );
}
