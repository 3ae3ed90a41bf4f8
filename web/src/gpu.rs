//! A training through WebGPU.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use wgrad::data::{Dataset, Examples};
use wgrad::kernel::Element;
use wgrad::ops::SoftmaxCrossEntropy;
use wgrad::plan::Plan;
use wgrad::tensor::Tensor;
use wgrad::{Error, Evaluation, Fusion, Gpu, Model, Trainer};

use crate::engine::{Engine, FIRST_WEIGHT, Later};
use crate::settings::Settings;

#[derive(Debug)]
pub(crate) struct OnGpu {
    trainer: Trainer,
    /// By number of rows.
    passes: HashMap<usize, Pass>,
}

/// A forward pass over some rows.
#[derive(Debug)]
struct Pass {
    x: Tensor,
    y: Tensor,
    plan: Plan,
}

impl OnGpu {
    pub(crate) fn new(gpu: &Gpu, settings: &Settings, train: &Dataset) -> Result<Self, Error> {
        let model = settings.network(train)?.build(gpu)?;
        let trainer = Trainer::with_fusion(
            model,
            SoftmaxCrossEntropy,
            settings.optimizer()?,
            train,
            settings.batch as usize,
            settings.sampling(),
            settings.fusion()?,
        )?;
        Ok(Self {
            trainer,
            passes: HashMap::new(),
        })
    }

    fn gpu(&self) -> &Gpu {
        self.trainer.model().gpu()
    }

    fn submit_pass(&mut self, rows: &[f32]) -> Result<Tensor, Error> {
        let model = self.trainer.model();
        let count = rows.len() / model.features();
        let pass = match self.passes.entry(count) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Pass::record(model, count)?),
        };
        model.gpu().write(&pass.x, rows)?;
        model.gpu().submit(&pass.plan, 1)?;
        Ok(pass.y.clone())
    }
}

impl Pass {
    fn record(model: &Model, rows: usize) -> Result<Self, Error> {
        let (gpu, inputs, outputs) = (model.gpu(), model.features(), model.output());
        let x = Tensor::zeros(gpu, "rows asked for", [rows, inputs], Element::F32)?;
        let y = Tensor::zeros(gpu, "their logits", (rows, outputs), Element::F32)?;
        let plan = model.forward_plan(&x, &y)?;
        Ok(Self { x, y, plan })
    }
}

impl Drop for OnGpu {
    fn drop(&mut self) {
        self.trainer.destroy();
    }
}

impl Engine for OnGpu {
    fn advance(&mut self, count: usize) -> Result<(), Error> {
        self.trainer.advance(count)
    }

    fn steps(&self) -> u64 {
        self.trainer.steps_taken()
    }

    fn done(&self) -> Later<()> {
        Box::pin(self.gpu().wait_async())
    }

    fn losses(&self, count: usize) -> Later<Vec<f32>> {
        Box::pin(self.trainer.losses_async(count))
    }

    fn evaluate(&mut self, examples: &Dataset) -> Later<Evaluation> {
        Box::pin(self.trainer.evaluate_async(Examples::from(examples)))
    }

    fn logits(&mut self, rows: &[f32]) -> Later<Vec<f32>> {
        let submitted = self.submit_pass(rows);
        let read = submitted.map(|y| self.gpu().read_async(&y));
        Box::pin(async move { read?.await })
    }

    fn first_weights(&self) -> Later<Vec<f32>> {
        let weight = self.trainer.model().parameter_tensor(FIRST_WEIGHT);
        let read = weight.map(|weight| self.gpu().read_async(weight));
        Box::pin(async move { read?.await })
    }

    fn save(&self) -> Later<Vec<u8>> {
        Box::pin(self.trainer.to_safetensors())
    }

    fn resume(&mut self, file: &[u8]) -> Result<(), Error> {
        self.trainer.set_safetensors(file)
    }

    fn set_weights(&mut self, file: &[u8]) -> Result<(), Error> {
        self.trainer.set_weights(file)
    }

    fn plan(&self) -> String {
        let dispatches = self.trainer.plan().len();
        let kind = match self.trainer.fusion() {
            Fusion::Fused => "fused",
            _ => "layer by layer",
        };
        format!("{kind}, {dispatches} dispatches a step")
    }
}
