//! Checkpoints: a resumed training has the bits of an uninterrupted one, no file is lost, damaged files are refused.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "common/gpu.rs"]
mod gpu;
#[path = "common/layers.rs"]
mod layers;
#[path = "common/parts.rs"]
mod parts;

#[path = "checkpoint/contents.rs"]
mod contents;
#[path = "checkpoint/decay.rs"]
mod decay;
#[path = "checkpoint/earlier.rs"]
mod earlier;
#[path = "checkpoint/foreign.rs"]
mod foreign;
#[path = "checkpoint/hostile.rs"]
mod hostile;
#[path = "checkpoint/kills.rs"]
mod kills;
#[path = "checkpoint/kinds.rs"]
mod kinds;
#[path = "checkpoint/names.rs"]
mod names;
#[path = "checkpoint/opened.rs"]
mod opened;
#[path = "checkpoint/pytorch.rs"]
mod pytorch;
#[path = "checkpoint/resume.rs"]
mod resume;
#[path = "checkpoint/shapes.rs"]
mod shapes;

use wgrad::data::{Dataset, Labels, Sampling, synthetic};
use wgrad::ops::{
    AdaGrad, Adam, AdamW, BatchNorm, Dropout, LayerNorm, Linear, Optimizer, Relu, RmsProp,
    Schedule, Sgd, SoftmaxCrossEntropy,
};
use wgrad::{Fusion, Gpu, Init, Sequential, Trainer};

const BATCH: usize = 8;

fn spec() -> Sequential {
    let linear = |outputs| Linear::new(outputs).weight_init(Init::Normal { std: 0.2 });
    let spec = Sequential::input(48).layer(linear(7)).layer(Relu);
    spec.layer(linear(4)).seed(3)
}

/// Returns a network with dropout, which draws random numbers in every step.
fn dropping() -> Sequential {
    let spec = Sequential::input(48).layer(Linear::new(7)).layer(Relu);
    let spec = spec.layer(Dropout::new(0.4));
    spec.layer(Linear::new(4)).seed(3)
}

/// Returns a network with state: running values that each step changes.
fn normalizing() -> Sequential {
    let spec = Sequential::input(48)
        .layer(BatchNorm::new())
        .layer(Linear::new(7));
    let spec = spec
        .layer(BatchNorm::new())
        .layer(Relu)
        .layer(LayerNorm::new());
    spec.layer(Linear::new(4)).seed(3)
}

/// Returns parts of the images of digits, in four classes.
fn dataset() -> Dataset {
    let digits = synthetic::digits_of(2, 90, 1).unwrap().train;
    let rows = (0..digits.len()).flat_map(|example| digits.row(example)[380..428].to_vec());
    let labels = digits.labels().indices().iter().map(|label| label % 4);
    let labels = Labels::from_classes(labels.collect(), 4).unwrap();
    Dataset::new("pieces", 48, rows.collect(), labels).unwrap()
}

fn sampling() -> Sampling {
    Sampling::Shuffled { seed: 8 }
}

fn optimizers() -> Vec<fn() -> Box<dyn Optimizer>> {
    vec![
        || Box::new(Sgd::new(0.1)),
        || Box::new(Sgd::new(0.1).weight_decay(1e-3)),
        || Box::new(Sgd::new(0.05).momentum(0.9)),
        || Box::new(Sgd::new(0.05).momentum(0.9).nesterov()),
        || Box::new(Adam::new(1e-2)),
        || Box::new(AdamW::new(1e-2)),
        || Box::new(AdaGrad::new(1e-2)),
        || Box::new(RmsProp::new(1e-3)),
        || Box::new(Sgd::new(0.1).momentum(0.9).clip_norm(0.5)),
        || Box::new(Adam::new(1e-2).scheduled(Schedule::cosine(50).warm_up(9))),
    ]
}

fn trainer(gpu: &Gpu, optimizer: Box<dyn Optimizer>, fusion: Fusion) -> Trainer {
    trainer_of(&spec(), gpu, optimizer, fusion)
}

fn trainer_of(
    spec: &Sequential,
    gpu: &Gpu,
    optimizer: Box<dyn Optimizer>,
    fusion: Fusion,
) -> Trainer {
    let model = spec.build(gpu).unwrap();
    let data = dataset();
    let loss = SoftmaxCrossEntropy;
    Trainer::with_fusion(model, loss, optimizer, &data, BATCH, sampling(), fusion).unwrap()
}

/// Asserts that a message contains all of these texts.
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "no \"{part}\" in: {message}");
    }
}
