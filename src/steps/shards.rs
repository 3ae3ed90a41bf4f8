//! A step whose minibatches, the shards, several processes share out: gradients of each alone, and an update by the mean
//! that comes from outside.

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

/// The recorded step of one process.
pub(crate) struct Shards {
    first: usize,
    /// Of each shard of this process. The first also chooses the rows of all.
    of_shard: Vec<Plan>,
    update: Plan,
    /// Of the shard that was computed last, and then the mean of all.
    gradients: Arena,
    /// (1, rows): losses of the shard that was computed last.
    losses: Tensor,
    /// (1, 1): the mean loss of the step.
    loss: Tensor,
    /// `Layers` or `Head`.
    fusion: Fusion,
    submitted: VecDeque<Submitted>,
}

/// The gradients of a shard, a parameter after another, and the losses of its rows, on their way to the host.
type Submitted = Pin<Box<dyn Future<Output = Result<(Vec<Vec<f32>>, Vec<f32>), Error>> + Send>>;

impl Shards {
    /// Records the shards of this process, which are the parts of its minibatches.
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
            // Whole steps alone are fused into two dispatches.
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
        let (gradients, losses) = (room.pass.gradients.clone(), room.compared.losses.clone());
        let loss = Tensor::zeros(gpu, "mean loss of a step", [1, 1], Element::F32)?;
        let mut recorder = Recorder::new(gpu);
        updater.record(&mut recorder, model, &gradients)?;
        metrics::log_step(&mut recorder, &loss, history, updater.step_count());
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
        })
    }

    /// All that a step of this process runs, in order.
    pub(crate) fn plans(&self) -> impl Iterator<Item = &Plan> {
        self.of_shard.iter().chain([&self.update])
    }

    pub(crate) fn fusion(&self) -> Fusion {
        self.fusion
    }

    /// Writes the gradients of a shard, one parameter behind another, and behind them its mean loss. They are asked for in
    /// order: the next shard is submitted before this one is waited for, so that the device does not wait for the host.
    pub(crate) fn gradients(
        &mut self,
        gpu: &Gpu,
        shard: usize,
        to: &mut [f32],
    ) -> Result<(), Error> {
        let at = shard - self.first;
        if at == 0 {
            self.submitted.clear();
        }
        let before = at + self.submitted.len();
        for next in before..(at + 2).min(self.of_shard.len()) {
            gpu.submit(&self.of_shard[next], 1)?;
            let reads = (self.gradients.read(gpu), gpu.read_async(&self.losses));
            self.submitted.push_back(Box::pin(
                async move { Ok((reads.0.await?, reads.1.await?)) },
            ));
        }
        let Some(first) = self.submitted.pop_front() else {
            unreachable!("it was submitted");
        };
        let (gradients, losses) = block_on(first)?;
        #[expect(clippy::cast_precision_loss, reason = "rounded once")]
        let mean = losses.iter().sum::<f32>() / losses.len() as f32;
        copy(&gradients, to).fill(mean);
        Ok(())
    }

    /// Updates by mean gradients, behind which the mean loss is.
    pub(crate) fn update(&self, gpu: &Gpu, mean: &[f32]) -> Result<(), Error> {
        let loss = self.gradients.write_numbers(gpu, mean)?;
        gpu.write(&self.loss, loss)?;
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

/// Copies vectors, one behind another; the room that is left.
pub(crate) fn copy<'a, 'b>(
    vectors: impl IntoIterator<Item = &'b Vec<f32>>,
    to: &'a mut [f32],
) -> &'a mut [f32] {
    let mut left = to;
    for vector in vectors {
        let (own, rest) = left.split_at_mut(vector.len());
        own.copy_from_slice(vector);
        left = rest;
    }
    left
}
