//! The same training without WebGPU: the formulas on ndarray, in WebAssembly.

use std::collections::VecDeque;
use std::future::ready;

use wgrad::data::Dataset;
use wgrad::ndarray::ArrayView2;
use wgrad::ops::SoftmaxCrossEntropy;
use wgrad::{Error, Evaluation, cpu};

use crate::engine::{Engine, FIRST_WEIGHT, Later};
use crate::settings::Settings;

/// Losses that are kept: as many as on a GPU.
const KEPT: usize = 16_384;

#[derive(Debug)]
pub(crate) struct OnCpu {
    trainer: cpu::Trainer<f32>,
    /// In a row.
    features: usize,
    losses: VecDeque<f32>,
}

impl OnCpu {
    pub(crate) fn new(settings: &Settings, train: &Dataset) -> Result<Self, Error> {
        let (network, optimizer) = (settings.network(train)?, settings.optimizer()?);
        let (batch, sampling) = (settings.batch as usize, settings.sampling());
        Ok(Self {
            features: network.features(),
            trainer: cpu::Trainer::new(
                network.on_cpu()?,
                SoftmaxCrossEntropy,
                optimizer,
                train,
                batch,
                sampling,
            )?,
            losses: VecDeque::new(),
        })
    }

    fn logits_now(&self, rows: &[f32]) -> Result<Vec<f32>, Error> {
        let network = self.trainer.network();
        let shape = [rows.len() / self.features, self.features];
        let x = ArrayView2::from_shape(shape, rows).map_err(|_| Error::Shape {
            what: "rows asked for".to_owned(),
            expected: Box::new(shape.into()),
            found: Box::new([1, rows.len()].into()),
            remedy: "Give as many values as the rows have",
        })?;
        Ok(network.predict(x)?.into_iter().collect())
    }
}

fn now<T: 'static>(answer: Result<T, Error>) -> Later<T> {
    Box::pin(ready(answer))
}

impl Engine for OnCpu {
    fn advance(&mut self, count: usize) -> Result<(), Error> {
        self.losses.extend(self.trainer.steps(count)?);
        let surplus = self.losses.len().saturating_sub(KEPT);
        self.losses.drain(..surplus);
        Ok(())
    }

    fn steps(&self) -> u64 {
        self.trainer.steps_taken()
    }

    fn done(&self) -> Later<()> {
        now(Ok(()))
    }

    fn losses(&self, count: usize) -> Later<Vec<f32>> {
        let Some(before) = self.losses.len().checked_sub(count) else {
            return now(Err(Error::Setting {
                name: "number of losses".to_owned(),
                expected: format!("at most {}, the losses that are kept", self.losses.len()),
                found: count.to_string(),
            }));
        };
        now(Ok(self.losses.range(before..).copied().collect()))
    }

    fn evaluate(&mut self, examples: &Dataset) -> Later<Evaluation> {
        now(self.trainer.evaluate(examples))
    }

    fn logits(&mut self, rows: &[f32]) -> Later<Vec<f32>> {
        now(self.logits_now(rows))
    }

    fn first_weights(&self) -> Later<Vec<f32>> {
        let weight = self.trainer.network().parameter(FIRST_WEIGHT);
        now(weight.map(|weight| weight.into_iter().collect()))
    }

    fn save(&self) -> Later<Vec<u8>> {
        now(self.trainer.to_safetensors())
    }

    fn resume(&mut self, file: &[u8]) -> Result<(), Error> {
        self.trainer.set_safetensors(file)?;
        self.losses.clear();
        Ok(())
    }

    fn set_weights(&mut self, file: &[u8]) -> Result<(), Error> {
        self.trainer.set_weights(file)
    }

    fn plan(&self) -> String {
        "formulas on the processor".to_owned()
    }
}
