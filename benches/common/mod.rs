//! The trainings that the benchmarks measure, and the limit on the work per submit. The numbers of the jobs are those
//! of `benches/peers/README.md`:
//!
//! - Job 1: the book's network 784→50→10, with minibatches of 100 examples.
//! - Job 2: a network 784→1024→1024→10, with minibatches of 1024 examples.
//! - Job 4: the book's convolutional network, with minibatches of 100 examples.
#![allow(dead_code, reason = "no bench uses all of it")]

use wgrad::data::{Sampling, Split, synthetic};
use wgrad::gpu::AdapterKind;
use wgrad::ops::{Adam, Linear, Relu, Sgd, SoftmaxCrossEntropy};
use wgrad::{
    Device, Error, Fusion, Gpu, Init, Sequential, SimpleConvNet, Train, Trainer, TwoLayerNet,
};

pub(crate) const SAMPLING: Sampling = Sampling::WithReplacement { seed: 42 };

/// Maximum number of floating-point operations per submit. With this limit, a submit takes at most 0.8 s on a GPU, and
/// 0.4 s on a software driver.
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
    // The peers draw their initial weights from the same distribution.
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

/// Returns synthetic digits, which have as many zero pixels as MNIST's. Needs no download.
pub(crate) fn digits() -> Split {
    synthetic::digits_of(1, 20_000, 100).expect("memory for digits")
}

const LOSS: SoftmaxCrossEntropy = SoftmaxCrossEntropy;
const SGD: Sgd = Sgd::new(0.1);
const ADAM: Adam = Adam::new(0.001);

/// Returns the training of a job on any device, with the default plan.
pub(crate) fn training(device: &Device, job: &Job, data: &Split) -> Result<Box<dyn Train>, Error> {
    let train = &data.train;
    let batch = job.batch;
    match job.method {
        Method::Sgd => device.trainer(&job.spec, LOSS, SGD, train, batch, SAMPLING),
        Method::Adam => device.trainer(&job.spec, LOSS, ADAM, train, batch, SAMPLING),
    }
}

/// Returns the training of a job on a GPU, with the plan that `fusion` requests.
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
