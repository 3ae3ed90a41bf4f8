//! The trainings, data sets and devices of these tests.

use std::sync::LazyLock;

use wgrad::data::{Dataset, Examples, Sampling, Table, synthetic};
use wgrad::distributed::{Distribution, Threads};
use wgrad::ndarray::Array2;
use wgrad::ops::{
    Adam, Dropout, LayerNorm, Linear, Loss, MeanSquaredError, Optimizer, Relu, Sgd,
    SoftmaxCrossEntropy,
};
use wgrad::reference::Float;
use wgrad::{Device, Error, Gpu, Parameters, Sequential, Train, TwoLayerNet, cpu};

const SAMPLING: Sampling = Sampling::Shuffled { seed: 3 };

/// The number of minibatches per step.
pub(crate) const SHARDS: usize = 4;

pub(crate) static DIGITS: LazyLock<Dataset> =
    LazyLock::new(|| synthetic::digits_of(1, 1200, 10).unwrap().train);

/// A kind of training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The book's network with SGD and 100 rows per step.
    Book,
    /// A regression with layer normalization and dropout, trained by Adam.
    Adam,
}

pub(crate) const KINDS: [Kind; 2] = [Kind::Book, Kind::Adam];

impl Kind {
    fn network(self) -> Sequential {
        match self {
            Self::Book => TwoLayerNet::spec(784, 50, 10).seed(2),
            Self::Adam => Sequential::input(3)
                .layer(Linear::new(33))
                .layer(LayerNorm::new())
                .layer(Relu)
                .layer(Dropout::new(0.2))
                .layer(Linear::new(2))
                .seed(5),
        }
    }

    fn loss_and_optimizer(self) -> (Box<dyn Loss>, Box<dyn Optimizer>) {
        match self {
            Self::Book => (Box::new(SoftmaxCrossEntropy), Box::new(Sgd::new(0.1))),
            Self::Adam => (Box::new(MeanSquaredError), Box::new(Adam::new(0.01))),
        }
    }

    /// Returns the examples, and the number of rows per minibatch.
    fn examples(self) -> (Examples, usize) {
        match self {
            Self::Book => ((&*DIGITS).into(), 25),
            Self::Adam => ((&surface()).into(), 7),
        }
    }

    /// Returns a trainer that is not distributed yet. Each step has [`SHARDS`] minibatches, which several processes can
    /// share.
    pub(crate) fn trainer(self, device: &Device) -> Box<dyn Train> {
        let (loss, optimizer) = self.loss_and_optimizer();
        let (examples, batch) = self.examples();
        let trainer = device.trainer(&self.network(), loss, optimizer, examples, batch, SAMPLING);
        let mut trainer = trainer.unwrap();
        trainer.accumulate(SHARDS).unwrap();
        trainer
    }

    /// Trains some steps in one process on the CPU engine, in the precision `F`. Returns the losses and the parameters.
    pub(crate) fn train_alone<F: Float>(self, steps: usize) -> [Vec<f64>; 2] {
        let network = cpu::Network::<F>::new(&self.network()).unwrap();
        let (loss, optimizer) = self.loss_and_optimizer();
        let (examples, batch) = self.examples();
        let trainer = cpu::Trainer::new(network, loss, optimizer, examples, batch, SAMPLING);
        let mut trainer = trainer.unwrap();
        trainer.accumulate(SHARDS).unwrap();
        let losses = trainer.steps(steps).unwrap();
        let parameters = trainer.network().parameters();
        let parameters = parameters.iter().flat_map(|(_, values)| values);
        [
            losses.into_iter().map(F::into_f64).collect(),
            parameters.map(|value| value.into_f64()).collect(),
        ]
    }
}

/// Returns one device for each engine.
pub(crate) fn devices() -> Vec<Device> {
    let gpu = Gpu::new().unwrap();
    vec![Device::cpu("a test"), Device::with_gpu(gpu, "a test")]
}

/// Trains with this many processes. Returns the result of each.
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

/// The losses of some steps, and the parameters after them.
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
