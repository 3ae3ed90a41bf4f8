//! Weights are exchanged with PyTorch in both directions.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use wgrad::data::{Sampling, Table};
use wgrad::ndarray::Array2;
use wgrad::ops::{Adam, Linear, MeanSquaredError, Relu, SoftmaxCrossEntropy};
use wgrad::{Model, Sequential, Trainer, TwoLayerNet};

use crate::common;
use crate::gpu::gpu;

/// The path is relative to the package's directory, where cargo runs tests.
const SCRIPT: &str = "examples/pytorch.py";
const ROWS: usize = 1_000;

/// Returns a Python with PyTorch and safetensors: `WGRAD_PYTHON` if it is set, otherwise `python3`. Returns `None` if
/// it lacks these packages.
fn python() -> Option<String> {
    let python = std::env::var("WGRAD_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let tried = Command::new(&python)
        .args(["-c", "import torch, safetensors"])
        .output();
    if tried.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let text = "SKIPPED: needs PyTorch; `pip install torch safetensors`, or name a Python that has \
        them in WGRAD_PYTHON\n";
    std::io::stderr().write_all(text.as_bytes()).unwrap();
    None
}

fn logits(model: &Model, x: &Array2<f32>) -> Array2<f32> {
    model.predict(x.view()).unwrap()
}

fn floats(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|&four| f32::from_le_bytes(four))
        .collect()
}

/// Saves a training's weights, and lets PyTorch load them and save other weights. For both sets of weights, compares
/// the outputs of PyTorch and of the crate for `x`.
fn exchange(python: &str, spec: &Sequential, trainer: &Trainer, x: &Array2<f32>) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    trainer.save(path("ours.safetensors")).unwrap();
    let summary = spec.summary().unwrap();
    let outputs = summary.layers.iter().map(|layer| layer.output.len());
    let mut widths: Vec<usize> = std::iter::once(summary.features).chain(outputs).collect();
    // Removes the widths of activations: an activation has the same width as the layer before it.
    widths.dedup();
    let widths: Vec<String> = widths.iter().map(ToString::to_string).collect();
    std::fs::write(path("widths.txt"), widths.join(" ")).unwrap();
    let bytes: Vec<u8> = x.iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(path("x.f32"), bytes).unwrap();
    let status = Command::new(python)
        .arg(SCRIPT)
        .arg(directory.path())
        .status()
        .unwrap();
    assert!(status.success(), "examples/pytorch.py failed");

    let mut theirs = spec.build(gpu()).unwrap();
    theirs.load_weights(path("theirs.safetensors")).unwrap();
    for (case, model, file) in [
        ("ours", trainer.model(), "ours.f32"),
        ("theirs", &theirs, "theirs.f32"),
    ] {
        let expected = floats(&path(file));
        let found = logits(model, x);
        assert_eq!(found.len(), expected.len());
        let largest = found
            .iter()
            .zip(&expected)
            .fold(0.0f32, |largest, (a, b)| largest.max((a - b).abs()));
        assert!(largest < 1e-5, "{case}: {largest:e}");
    }
}

#[test]
fn pytorch_computes_the_same_from_our_file_and_we_from_its() {
    let (Some(python), Some(mnist)) = (python(), common::mnist()) else {
        return;
    };
    let spec = TwoLayerNet::spec(784, 50, 10).seed(3);
    let model = spec.build(gpu()).unwrap();
    let sampling = Sampling::WithReplacement { seed: 3 };
    let loss = SoftmaxCrossEntropy;
    let optimizer = Adam::new(1e-3);
    let mut trainer = Trainer::new(model, loss, optimizer, &mnist.train, 100, sampling).unwrap();
    trainer.steps(300).unwrap();
    let pixel = |(row, column)| f32::from(mnist.test.row(row)[column]) / 255.0;
    let x = Array2::from_shape_fn((ROWS, 784), pixel);
    exchange(&python, &spec, &trainer, &x);
}

/// A weight with one row or one column is still a matrix in PyTorch.
#[test]
fn layers_of_one_input_or_output_are_exchanged_too() {
    let Some(python) = python() else {
        return;
    };
    let spec = Sequential::input(1)
        .layer(Linear::new(7))
        .layer(Relu)
        .layer(Linear::new(1))
        .seed(4);
    let model = spec.build(gpu()).unwrap();
    let x = Array2::from_shape_fn((50, 1), |(row, _)| row as f32 / 50.0);
    let table = Table::regression("parabola", x.view(), x.mapv(|x| x * x).view()).unwrap();
    let sampling = Sampling::WithReplacement { seed: 4 };
    let loss = MeanSquaredError;
    let optimizer = Adam::new(1e-2);
    let mut trainer = Trainer::new(model, loss, optimizer, &table, 10, sampling).unwrap();
    trainer.steps(50).unwrap();
    exchange(&python, &spec, &trainer, &x);
}
