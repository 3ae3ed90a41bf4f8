//! Weights saved here and loaded by PyTorch, and the other way round.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use wgrad::TwoLayerNet;
use wgrad::data::Sampling;
use wgrad::ndarray::Array2;
use wgrad::ops::{Adam, SoftmaxCrossEntropy};
use wgrad::{Model, Trainer};

use crate::common;
use crate::gpu::gpu;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pytorch.py");
const ROWS: usize = 1_000;

/// A Python with PyTorch and safetensors: what `WGRAD_PYTHON` names, or `python3`.
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

#[test]
fn pytorch_computes_the_same_from_our_file_and_we_from_its() {
    let (Some(python), Some(mnist)) = (python(), common::mnist()) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let spec = TwoLayerNet::spec(784, 50, 10).seed(3);
    let model = spec.build(gpu()).unwrap();
    let sampling = Sampling::WithReplacement { seed: 3 };
    let optimizer = Adam::new(1e-3);
    let mut trainer = Trainer::new(
        model,
        SoftmaxCrossEntropy,
        optimizer,
        &mnist.train,
        100,
        sampling,
    )
    .unwrap();
    trainer.steps(300).unwrap();
    trainer.save(path("ours.safetensors")).unwrap();

    let pixel = |(row, column)| f32::from(mnist.test.row(row)[column]) / 255.0;
    let x = Array2::from_shape_fn((ROWS, 784), pixel);
    let bytes: Vec<u8> = x.iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(path("x.f32"), bytes).unwrap();
    let status = Command::new(python)
        .arg(SCRIPT)
        .arg(directory.path())
        .status()
        .unwrap();
    assert!(status.success(), "examples/pytorch.py failed");

    let mut theirs = spec.build(gpu()).unwrap();
    theirs.load(path("theirs.safetensors")).unwrap();
    for (case, model, file) in [
        ("ours", trainer.model(), "ours.f32"),
        ("theirs", &theirs, "theirs.f32"),
    ] {
        let expected = floats(&path(file));
        let found = logits(model, &x);
        assert_eq!(found.len(), expected.len());
        let largest = found
            .iter()
            .zip(&expected)
            .fold(0.0f32, |largest, (a, b)| largest.max((a - b).abs()));
        assert!(largest < 1e-5, "{case}: {largest:e}");
    }
}
