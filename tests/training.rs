//! Training. Two runs have the same bits, and the GPU agrees with the reference.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation
)]

#[path = "common/bounds.rs"]
mod bounds;
#[path = "common/mod.rs"]
mod common;
#[path = "common/gpu.rs"]
mod gpu;

#[path = "training/accumulation.rs"]
mod accumulation;
#[path = "training/averages.rs"]
mod averages;
#[path = "training/best.rs"]
mod best;
#[path = "training/determinism.rs"]
mod determinism;
#[path = "training/dropout.rs"]
mod dropout;
#[path = "training/evaluation.rs"]
mod evaluation;
#[path = "training/extremes.rs"]
mod extremes;
#[path = "training/heads.rs"]
mod heads;
#[path = "training/history.rs"]
mod history;
#[path = "training/indices.rs"]
mod indices;
#[path = "training/lazy.rs"]
mod lazy;
#[path = "training/long.rs"]
mod long;
#[path = "training/losses.rs"]
mod losses;
#[path = "training/many_rows.rs"]
mod many_rows;
#[path = "training/metrics.rs"]
mod metrics;
#[path = "training/mistakes.rs"]
mod mistakes;
#[path = "training/normalization.rs"]
mod normalization;
#[path = "training/outside.rs"]
mod outside;
#[path = "training/parts.rs"]
mod parts;
#[path = "training/plans.rs"]
mod plans;
#[path = "training/predictions.rs"]
mod predictions;
#[path = "training/refused.rs"]
mod refused;
#[path = "training/regression.rs"]
mod regression;
#[path = "training/relu.rs"]
mod relu;
#[path = "training/schedules.rs"]
mod schedules;
#[path = "training/soundness.rs"]
mod soundness;
#[path = "training/steering.rs"]
mod steering;
#[path = "training/streams.rs"]
mod streams;
#[path = "training/trajectory.rs"]
mod trajectory;
#[path = "training/watched.rs"]
mod watched;

use wgrad::data::{Dataset, Labels, Sampling, Split, synthetic};
use wgrad::ops::{Linear, Sgd, Sigmoid, SoftmaxCrossEntropy};
use wgrad::{Gpu, Init, Sequential, Trainer, TwoLayerNet};

use gpu::{ROUNDING, assert_close};

/// Returns enough digits for several epochs of a few steps each.
fn digits() -> Split {
    synthetic::digits_of(3, 1_037, 211).unwrap()
}

fn relu_net() -> Sequential {
    TwoLayerNet::spec(784, 50, 10).seed(5)
}

/// Returns a network of three linear layers with odd widths and sigmoids.
fn sigmoid_net() -> Sequential {
    let linear = |outputs, std| Linear::new(outputs).weight_init(Init::Normal { std });
    Sequential::input(784)
        .layer(linear(37, 0.05))
        .layer(Sigmoid)
        .layer(linear(19, 0.5))
        .layer(Sigmoid)
        .layer(linear(10, 0.5))
        .seed(6)
}

fn trainer(gpu: &Gpu, spec: &Sequential, data: &Dataset, batch: usize, how: Sampling) -> Trainer {
    let model = spec.build(gpu).unwrap();
    Trainer::new(model, SoftmaxCrossEntropy, Sgd::new(0.1), data, batch, how).unwrap()
}

/// Asserts that the GPU's losses are as near to the `f64` losses as the CPU's `f32` losses are, up to a factor by which
/// the rounding errors of two engines may differ. The tolerance of the last loss must be below `limit`.
fn assert_near(case: &str, found: &[f32], double: &[f64], single: &[f32], limit: f64) {
    const FACTOR: f64 = 16.0;
    let mut widest = 0.0f64;
    let tolerance = single.iter().zip(double).map(|(&single, &double)| {
        widest = widest.max((f64::from(single) - double).abs());
        // The loss itself is rounded, and `log` has an error of 2⁻²¹ or 3 ULP.
        FACTOR * widest + 8.0 * ROUNDING * (1.0 + double)
    });
    let tolerance: Vec<f64> = tolerance.collect();
    assert!(tolerance[double.len() - 1] < limit, "{case}: {tolerance:?}");
    let double = double.iter().copied();
    let near = tolerance.iter().copied();
    assert_close(&format!("{case}, f64"), found, double, near);
    let single = single.iter().copied().map(f64::from);
    let doubled = tolerance.iter().map(|tolerance| 2.0 * tolerance);
    assert_close(&format!("{case}, f32"), found, single, doubled);
}

/// Returns four examples with two features. Thousands of steps on them take almost no time.
fn tiny() -> Dataset {
    let labels = Labels::from_classes(vec![0, 1, 1, 0], 2).unwrap();
    Dataset::new("tiny", 2, vec![0, 0, 0, 255, 255, 0, 255, 255], labels).unwrap()
}
