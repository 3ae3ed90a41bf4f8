//! The trainings that are timed. Job 1 is the book's 784→50→10 with a batch of 100, job 2 is 784→1024→1024→10 with a
//! batch of 1024, job 4 is the book's convolutional network with a batch of 100. Also the work that one submit may
//! contain.
#![allow(dead_code, reason = "no bench uses all of it")]

use wgrad::data::{Sampling, Split, synthetic};
use wgrad::gpu::AdapterKind;
use wgrad::ops::{Adam, Linear, Relu, Sgd, SoftmaxCrossEntropy};
use wgrad::{
    Device, Error, Fusion, Gpu, Init, Sequential, SimpleConvNet, Train, Trainer, TwoLayerNet,
};

pub(crate) const SAMPLING: Sampling = Sampling::WithReplacement { seed: 42 };

/// The most floating-point operations of one submit. A submit then takes at most 0.8 s on a GPU, and 0.4 s on a
/// software driver.
pub(crate) fn flops_per_submit(gpu: &Gpu) -> u64 {
    match gpu.kind() {
        AdapterKind::Hardware => 40_000_000_000,
        AdapterKind::Software => 4_000_000_000,
    }
}

pub(crate) struct Job {
    pub(crate) name: &'static str,
    pub(crate) spec: Sequential,
    pub(crate) batch: usize,
    pub(crate) method: Method,
}

/// The optimizer of a job.
#[derive(Clone, Copy)]
pub(crate) enum Method {
    Sgd,
    Adam,
}

pub(crate) fn jobs() -> [Job; 3] {
    // The peers start with these weights, too.
    let linear = |outputs| Linear::new(outputs).weight_init(Init::Normal { std: 0.01 });
    let wide = Sequential::input(784)
        .layer(linear(1024))
        .layer(Relu)
        .layer(linear(1024))
        .layer(Relu)
        .layer(linear(10));
    [
        Job {
            name: "job 1",
            spec: TwoLayerNet::spec(784, 50, 10).seed(42),
            batch: 100,
            method: Method::Sgd,
        },
        Job {
            name: "job 2",
            spec: wide.seed(42),
            batch: 1024,
            method: Method::Sgd,
        },
        Job {
            name: "job 4",
            spec: SimpleConvNet::default().spec().seed(42),
            batch: 100,
            method: Method::Adam,
        },
    ]
}

/// Digits with as many zero pixels as MNIST's. Nothing is downloaded.
pub(crate) fn digits() -> Split {
    synthetic::digits_of(1, 20_000, 100).expect("memory for digits")
}

const LOSS: SoftmaxCrossEntropy = SoftmaxCrossEntropy;
const SGD: Sgd = Sgd::new(0.1);
const ADAM: Adam = Adam::new(0.001);

/// A job on either engine.
pub(crate) fn training(device: &Device, job: &Job, data: &Split) -> Result<Box<dyn Train>, Error> {
    let train = &data.train;
    let batch = job.batch;
    match job.method {
        Method::Sgd => device.trainer(&job.spec, LOSS, SGD, train, batch, SAMPLING),
        Method::Adam => device.trainer(&job.spec, LOSS, ADAM, train, batch, SAMPLING),
    }
}

/// A job on a GPU, with or without fused dispatches.
pub(crate) fn trainer(
    gpu: &Gpu,
    job: &Job,
    data: &Split,
    fusion: Fusion,
) -> Result<Trainer, Error> {
    let model = job.spec.build(gpu)?;
    let train = &data.train;
    let batch = job.batch;
    match job.method {
        Method::Sgd => Trainer::with_fusion(model, LOSS, SGD, train, batch, SAMPLING, fusion),
        Method::Adam => Trainer::with_fusion(model, LOSS, ADAM, train, batch, SAMPLING, fusion),
    }
}
