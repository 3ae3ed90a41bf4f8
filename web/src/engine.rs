//! The engine that trains a session's network: on a GPU or on the CPU.

use std::future::ready;

use wgrad::data::{Examples, Sampling};
use wgrad::ndarray::{Array2, ArrayD, ArrayView2};
use wgrad::ops::{Loss, Optimizer};
use wgrad::{Error, Evaluation, Fusion, Later, Sequential, Train, Trainer, cpu};

use crate::device::Device;

/// Everything that defines a training: network, loss, optimizer, data and minibatches.
#[derive(Debug)]
pub(crate) struct Training {
    pub(crate) network: Sequential,
    pub(crate) loss: Box<dyn Loss>,
    pub(crate) optimizer: Box<dyn Optimizer>,
    pub(crate) examples: Examples,
    pub(crate) batch: usize,
    pub(crate) sampling: Sampling,
    /// How the operations of a step are fused into dispatches on a GPU.
    pub(crate) fusion: Fusion,
}

/// A training on either engine, with the methods of [`Train`] that the page calls. This is an enum, because a
/// `dyn Train` would also link the methods that the page never calls. They are a tenth of the WebAssembly module that a
/// visitor downloads.
///
/// On the CPU, `advance`, `evaluate` and `predict` call generic methods of [`cpu::Trainer`] instead of [`Train`]. The
/// compiler therefore compiles their loops in this crate, which is optimized for speed. The library `wgrad` is
/// optimized for size, which makes these loops four times as slow.
#[derive(Debug)]
pub(crate) enum Engine {
    Gpu(Box<Trainer>),
    Cpu(Box<cpu::Trainer<f32>>),
}

impl Engine {
    /// Creates a training on this device. It has not taken any step yet.
    pub(crate) fn begin(device: &Device, training: Training) -> Result<Self, Error> {
        let Training {
            network,
            loss,
            optimizer,
            examples,
            batch,
            sampling,
            fusion,
        } = training;
        Ok(match &device.gpu {
            Some(gpu) => {
                let model = network.build(gpu)?;
                Self::Gpu(Box::new(Trainer::with_fusion(
                    model, loss, optimizer, examples, batch, sampling, fusion,
                )?))
            }
            None => {
                let network = network.on_cpu()?;
                Self::Cpu(Box::new(cpu::Trainer::new(
                    network, loss, optimizer, examples, batch, sampling,
                )?))
            }
        })
    }

    pub(crate) fn advance(&mut self, count: usize) -> Result<(), Error> {
        match self {
            Self::Gpu(trainer) => Train::advance(&mut **trainer, count),
            Self::Cpu(trainer) => trainer.advance(count),
        }
    }

    pub(crate) fn steps_taken(&self) -> u64 {
        match self {
            Self::Gpu(trainer) => Train::steps_taken(&**trainer),
            Self::Cpu(trainer) => Train::steps_taken(&**trainer),
        }
    }

    pub(crate) fn plan_in_words(&self) -> String {
        match self {
            Self::Gpu(trainer) => Train::plan_in_words(&**trainer),
            Self::Cpu(trainer) => Train::plan_in_words(&**trainer),
        }
    }

    pub(crate) fn done(&self) -> Later<()> {
        match self {
            Self::Gpu(trainer) => Train::done(&**trainer),
            Self::Cpu(trainer) => Train::done(&**trainer),
        }
    }

    pub(crate) fn losses(&self, count: usize) -> Later<Vec<f32>> {
        match self {
            Self::Gpu(trainer) => Train::losses_async(&**trainer, count),
            Self::Cpu(trainer) => Train::losses_async(&**trainer, count),
        }
    }

    pub(crate) fn evaluate(&mut self, examples: &Examples) -> Later<Evaluation> {
        match self {
            Self::Gpu(trainer) => Train::evaluate_async(&mut **trainer, examples),
            Self::Cpu(trainer) => Box::pin(ready(trainer.evaluate(examples.clone()))),
        }
    }

    pub(crate) fn predict(&mut self, x: ArrayView2<'_, f32>) -> Later<Array2<f32>> {
        match self {
            Self::Gpu(trainer) => Train::predict_async(&mut **trainer, x),
            Self::Cpu(trainer) => Box::pin(ready(trainer.network().predict(x))),
        }
    }

    pub(crate) fn parameter(&self, name: &str) -> Later<ArrayD<f32>> {
        match self {
            Self::Gpu(trainer) => Train::parameter_async(&**trainer, name),
            Self::Cpu(trainer) => Train::parameter_async(&**trainer, name),
        }
    }

    pub(crate) fn to_safetensors(&self) -> Later<Vec<u8>> {
        match self {
            Self::Gpu(trainer) => Train::to_safetensors_async(&**trainer),
            Self::Cpu(trainer) => Train::to_safetensors_async(&**trainer),
        }
    }

    pub(crate) fn set_safetensors(&mut self, file: &[u8]) -> Result<(), Error> {
        match self {
            Self::Gpu(trainer) => Train::set_safetensors(&mut **trainer, file),
            Self::Cpu(trainer) => Train::set_safetensors(&mut **trainer, file),
        }
    }

    pub(crate) fn set_weights(&mut self, file: &[u8]) -> Result<(), Error> {
        match self {
            Self::Gpu(trainer) => Train::set_weights(&mut **trainer, file),
            Self::Cpu(trainer) => Train::set_weights(&mut **trainer, file),
        }
    }

    /// Frees the copies of the data sets in GPU memory.
    pub(crate) fn destroy(&self) {
        match self {
            Self::Gpu(trainer) => Train::destroy(&**trainer),
            Self::Cpu(trainer) => Train::destroy(&**trainer),
        }
    }
}
