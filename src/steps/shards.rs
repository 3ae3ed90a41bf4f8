//! A step of a [distributed training](crate::distributed) on a GPU. A shard is one of the step's minibatches. The
//! gradients of each shard are computed separately; the caller averages them over all processes, and passes the mean
//! gradient back for the update.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;

use super::layers::MinibatchTensors;
use super::{Fusion, Minibatches, Training, head};
use crate::error::{Error, Unfused};
use crate::gpu::{Gpu, block_on};
use crate::kernel::Element;
use crate::ops::metrics;
use crate::plan::{Plan, Recorder};
use crate::tensor::{Arena, Tensor};

/// The plans of one process for a distributed step.
pub(crate) struct Shards {
    first: usize,
    /// One plan for each shard of this process. The first plan also draws the examples of all shards.
    of_shard: Vec<Plan>,
    update: Plan,
    /// Gradients on the device: those of the latest shard, and during the update the mean over all shards.
    gradients: Arena,
    /// Losses of the latest shard, (1, rows).
    losses: Tensor,
    /// The mean loss of the step, (1, 1).
    loss: Tensor,
    /// `Layers` or `Head`.
    fusion: Fusion,
    submitted: VecDeque<Submitted>,
    /// Gradients on the host, one vector per block of the arena: those of the latest shard, then the mean over all
    /// shards.
    host: Vec<Vec<f32>>,
}

/// The pending readback of a shard's gradients, one vector per block of the arena, and of the losses of its rows.
type Submitted = Pin<Box<dyn Future<Output = Result<(Vec<Vec<f32>>, Vec<f32>), Error>> + Send>>;

impl Shards {
    /// Records the plans for the shards that this process computes.
    pub(crate) fn record(
        training: &Training<'_>,
        minibatches: Minibatches<'_>,
        fusion: Fusion,
    ) -> Result<Self, Error> {
        let &Training {
            model,
            updater,
            history,
            ..
        } = training;
        let parts = minibatches.parts;
        let gpu = model.gpu();
        let head = match fusion {
            Fusion::Layers => None,
            Fusion::Head => Some(head::of(training).map_err(Error::Plan)?),
            // Only whole steps can be fused into two dispatches.
            Fusion::Auto | Fusion::Fused => head::of_rows(training, Unfused::Steered).ok(),
        };
        let tensors = MinibatchTensors::new(training, minibatches, head.as_ref())?;
        let of_shard = parts.range().map(|shard| {
            let mut recorder = Recorder::new(gpu);
            if shard == parts.first {
                tensors.choose(&mut recorder)?;
            }
            tensors.record(&mut recorder, shard)?;
            recorder.finish()
        });
        let of_shard = of_shard.collect::<Result<_, _>>()?;
        let gradients = tensors.pass.gradients.clone();
        let losses = tensors.compared.losses.clone();
        let loss = Tensor::zeros(gpu, "mean loss of a step", [1, 1], Element::F32)?;
        let mut recorder = Recorder::new(gpu);
        updater.record(&mut recorder, model, &gradients)?;
        metrics::log_step(&mut recorder, &loss, history, updater.step_count());
        let host = gradients.blocks().iter().map(|of| vec![0.0; of.len()]);
        let host = host.collect();
        Ok(Self {
            first: parts.first,
            of_shard,
            update: recorder.finish()?,
            gradients,
            losses,
            loss,
            fusion: match head {
                None => Fusion::Layers,
                Some(_) => Fusion::Head,
            },
            submitted: VecDeque::new(),
            host,
        })
    }

    /// All plans that this process runs in a step, in order.
    pub(crate) fn plans(&self) -> impl Iterator<Item = &Plan> {
        self.of_shard.iter().chain([&self.update])
    }

    pub(crate) fn fusion(&self) -> Fusion {
        self.fusion
    }

    /// Computes the gradients of shard `shard` and returns its mean loss. Call it for the shards of this process in
    /// ascending order. It submits the next shard before it waits for this one, so that the device does not idle.
    pub(crate) fn compute(&mut self, gpu: &Gpu, shard: usize) -> Result<f32, Error> {
        let at = shard - self.first;
        if at == 0 {
            self.submitted.clear();
        }
        let before = at + self.submitted.len();
        for next in before..(at + 2).min(self.of_shard.len()) {
            gpu.submit(&self.of_shard[next], 1)?;
            let blocks = self.gradients.blocks().iter();
            let gradients: Vec<_> = blocks.map(|block| gpu.read_async(block)).collect();
            let losses = gpu.read_async(&self.losses);
            self.submitted.push_back(Box::pin(async move {
                let mut read = Vec::new();
                for block in gradients {
                    read.push(block.await?);
                }
                Ok((read, losses.await?))
            }));
        }
        let Some(first) = self.submitted.pop_front() else {
            unreachable!("it was submitted");
        };
        let (gradients, losses) = block_on(first)?;
        self.host = gradients;
        #[expect(clippy::cast_precision_loss, reason = "rounded once")]
        let mean = losses.iter().sum::<f32>() / losses.len() as f32;
        Ok(mean)
    }

    /// The gradients of the latest shard, one vector per block of the arena.
    pub(crate) fn gradients(&mut self) -> Vec<&mut [f32]> {
        self.host.iter_mut().map(|of| &mut of[..]).collect()
    }

    /// Updates the parameters by [`gradients`](Self::gradients), in which the caller has stored the mean over all
    /// shards. Stores `loss`, the step's mean loss, in the history of losses.
    pub(crate) fn update(&self, gpu: &Gpu, loss: f32) -> Result<(), Error> {
        for (block, mean) in self.gradients.blocks().iter().zip(&self.host) {
            gpu.write(block, mean)?;
        }
        gpu.write(&self.loss, &[loss])?;
        gpu.submit(&self.update, 1).map(drop)
    }
}

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shards = self.first..self.first + self.of_shard.len();
        f.debug_struct("Shards")
            .field("shards", &shards)
            .finish_non_exhaustive()
    }
}
