//! A step whose minibatches, the shards, are shared among processes. Each shard's gradients are computed separately,
//! and the caller provides the mean gradient for the update.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;

use super::layers::Room;
use super::{Fusion, Minibatches, Training, head};
use crate::error::{Error, Unfused};
use crate::gpu::{Gpu, block_on};
use crate::kernel::Element;
use crate::ops::metrics;
use crate::plan::{Plan, Recorder};
use crate::tensor::{Arena, Tensor};

/// One process's part of a recorded step.
pub(crate) struct Shards {
    first: usize,
    /// The plan of each shard of this process. The first one also chooses the examples of all shards.
    of_shard: Vec<Plan>,
    update: Plan,
    /// Gradients of the shard computed last; before the update, the mean over all shards.
    gradients: Arena,
    /// Losses of the shard computed last (1, rows).
    losses: Tensor,
    /// The mean loss of the step (1, 1).
    loss: Tensor,
    /// `Layers` or `Head`.
    fusion: Fusion,
    submitted: VecDeque<Submitted>,
    /// The gradients on the host, by block: those of the shard awaited last, then the mean over all shards.
    host: Vec<Vec<f32>>,
}

/// A shard's gradients, by block, and the losses of its rows, on their way to the host.
type Submitted = Pin<Box<dyn Future<Output = Result<(Vec<Vec<f32>>, Vec<f32>), Error>> + Send>>;

impl Shards {
    /// Records the shards of this process: its parts of the step's minibatches.
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
        let room = Room::new(training, minibatches, head.as_ref())?;
        let of_shard = parts.range().map(|shard| {
            let mut recorder = Recorder::new(gpu);
            if shard == parts.first {
                room.choose(&mut recorder)?;
            }
            room.record(&mut recorder, shard)?;
            recorder.finish()
        });
        let of_shard = of_shard.collect::<Result<_, _>>()?;
        let gradients = room.pass.gradients.clone();
        let losses = room.compared.losses.clone();
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

    /// The plans of this process's part of a step, in order.
    pub(crate) fn plans(&self) -> impl Iterator<Item = &Plan> {
        self.of_shard.iter().chain([&self.update])
    }

    pub(crate) fn fusion(&self) -> Fusion {
        self.fusion
    }

    /// Computes the gradients of a shard and returns its mean loss. Call it for the shards in order. The next shard is
    /// submitted before this one is awaited, so that the device does not wait for the host.
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

    /// The gradients computed last, by block.
    pub(crate) fn gradients(&mut self) -> Vec<&mut [f32]> {
        self.host.iter_mut().map(|of| &mut of[..]).collect()
    }

    /// Updates the parameters by [`gradients`](Self::gradients), which must hold the mean over all shards. Logs
    /// `loss`, the step's mean loss.
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
