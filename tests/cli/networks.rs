//! The book's networks and their options.

use std::fs;

use super::{Few, assert_refused, last_line, lines, train};

const BRIEF: &str = "--device cpu --batch 10 --eval-every 0 --steps";

#[test]
fn convolutional_networks_are_trained_by_the_books_settings() {
    let few = Few::new();
    for (network, parameters, layer) in [
        ("simple-conv", 433_890, "layers.0 Conv2d(30, 5×5)"),
        (
            "deep-conv",
            123_552,
            "layers.2 Conv2d(16, 3×3, padding 1×1)",
        ),
    ] {
        let lines = lines(&few.train(&format!("--network {network} {BRIEF} 3")));
        let total = format!("{parameters} parameters");
        assert!(lines.iter().any(|line| line.ends_with(&total)), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains(layer)), "{lines:?}");
        let optimizer = "optimizer: adam, learning rate 0.001".to_owned();
        assert!(lines.contains(&optimizer), "{lines:?}");
        assert_eq!(last_line(&lines)["steps"], "3");
    }
}

#[test]
fn a_convolutional_training_goes_on_with_the_same_bits() {
    let few = Few::new();
    let file = |name: &str| few.path.join(name);
    let run = |steps: usize, from: Option<&str>, to: &str| {
        let mut words = format!(
            "--network deep-conv {BRIEF} {steps} --save {}",
            file(to).display()
        );
        if let Some(from) = from {
            words += &format!(" --resume {}", file(from).display());
        }
        lines(&few.train(&words));
    };
    run(4, None, "whole.safetensors");
    run(2, None, "half.safetensors");
    run(4, Some("half.safetensors"), "both.safetensors");
    let [whole, both] =
        ["whole.safetensors", "both.safetensors"].map(|name| fs::read(file(name)).unwrap());
    assert!(whole == both);
}

#[test]
fn options_that_a_network_has_no_use_for_are_refused_by_name() {
    let few = Few::new();
    for network in ["simple-conv", "deep-conv"] {
        for (option, value) in [
            ("--hidden", "100,50"),
            ("--activation", "tanh"),
            ("--dropout", "0.2"),
        ] {
            let words = format!("--network {network} {option} {value} {BRIEF} 3");
            let expected = format!("left out with --network {network}");
            assert_refused(&few.train(&words), &[option, &expected, value]);
        }
    }
    let output = few.train(&format!("--network lenet {BRIEF} 3"));
    assert_eq!(output.status.code(), Some(2));
    let help = lines(&train(&[], "--help")).join(" ");
    assert!(
        help.contains("two-layer") && help.contains("simple-conv"),
        "{help}"
    );
}
