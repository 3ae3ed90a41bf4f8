//! What all of these tests train, and on what.

use std::sync::LazyLock;

use wgrad::data::{Dataset, Sampling, Table, synthetic};
use wgrad::distributed::{Distribution, Threads};
use wgrad::ndarray::Array2;
use wgrad::ops::{
    Adam, Dropout, LayerNorm, Linear, MeanSquaredError, Relu, Sgd, SoftmaxCrossEntropy,
};
use wgrad::{Device, Error, Gpu, Parameters, Sequential, Train, TwoLayerNet};

/// The minibatches of a step.
pub(crate) const SHARDS: usize = 4;

pub(crate) static DIGITS: LazyLock<Dataset> =
    LazyLock::new(|| synthetic::digits_of(1, 1200, 10).unwrap().train);

/// A training that is known well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The book's network by SGD, with 100 rows in a step.
    Book,
    /// A regression with dropout, by Adam and weights that decay in groups.
    Adam,
}

pub(crate) const KINDS: [Kind; 2] = [Kind::Book, Kind::Adam];

impl Kind {
    /// Of this process alone, with the step in as many minibatches as several would share.
    pub(crate) fn trainer(self, device: &Device) -> Box<dyn Train> {
        let sampling = Sampling::Shuffled { seed: 3 };
        let trainer = match self {
            Self::Book => {
                let network = TwoLayerNet::spec(784, 50, 10).seed(2);
                let (loss, sgd) = (SoftmaxCrossEntropy, Sgd::new(0.1));
                device.trainer(&network, loss, sgd, &*DIGITS, 25, sampling)
            }
            Self::Adam => {
                let network = Sequential::input(3)
                    .layer(Linear::new(33))
                    .layer(LayerNorm::new())
                    .layer(Relu)
                    .layer(Dropout::new(0.2))
                    .layer(Linear::new(2))
                    .seed(5);
                let (loss, adam) = (MeanSquaredError, Adam::new(0.01));
                device.trainer(&network, loss, adam, &surface(), 7, sampling)
            }
        };
        let mut trainer = trainer.unwrap();
        trainer.accumulate(SHARDS).unwrap();
        trainer
    }
}

/// The engines.
pub(crate) fn devices() -> Vec<Device> {
    let gpu = Gpu::new().unwrap();
    vec![Device::cpu("a test"), Device::with_gpu(gpu, "a test")]
}

/// By so many processes; what each of them gives.
pub(crate) fn by<T: Send>(
    processes: usize,
    make: impl Fn() -> Box<dyn Train> + Sync,
    distribution: impl Fn(Distribution) -> Distribution + Sync,
    work: impl Fn(&mut dyn Train) -> Result<T, Error> + Sync,
) -> Result<Vec<T>, Error> {
    Threads::run(processes, |world| {
        let mut trainer = make();
        trainer.distribute(distribution(Distribution::new(world)))?;
        work(&mut *trainer)
    })
}

/// Losses and parameters behind some steps.
pub(crate) type Trained = (Vec<f32>, Parameters);

pub(crate) fn train(trainer: &mut dyn Train, steps: usize) -> Result<Trained, Error> {
    Ok((trainer.steps(steps)?, trainer.parameters()?))
}

fn surface() -> Table {
    let x = Array2::from_shape_fn((200, 3), |(row, column)| {
        ((row * (column + 3) * 7) % 41) as f32 / 20.0 - 1.0
    });
    let y = Array2::from_shape_fn((200, 2), |(row, column)| {
        (x[(row, 0)] * x[(row, 1)] + x[(row, column + 1)]).sin()
    });
    Table::regression("surface", x.view(), y.view()).unwrap()
}
