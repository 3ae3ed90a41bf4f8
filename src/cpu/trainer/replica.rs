//! The CPU engine's part of [distributed training](crate::distributed).

use std::any::Any;

use ndarray::Array2;

use super::super::dense::dense;
use super::super::updater::trained;
use super::{Trainer, as_f32, in_f32, no_data};
use crate::distributed::{DataParallel, Distribution, Replica, check_same_text, not_distributed};
use crate::error::Error;
use crate::ops::to_u32;
use crate::reference::Float;

impl Trainer<f32> {
    /// From now on, divides the minibatches of each step among processes: see [`crate::Trainer::distribute`].
    ///
    /// # Errors
    /// The errors of [`crate::Trainer::distribute`].
    pub fn distribute(&mut self, distribution: Distribution) -> Result<(), Error> {
        let of_data = self
            .minibatches
            .as_ref()
            .filter(|of| of.rows.examples().is_some());
        let shards = of_data.map(super::minibatches::Minibatches::accumulated);
        let shards = shards.ok_or_else(|| not_distributed("a trainer without a data set"))?;
        check_same_text(&*distribution.world, "device", "the CPU engine")?;
        let kept = self.updater.roles().len();
        let shared = DataParallel::new(distribution, (self.network.graph(), kept), shards)?;
        shared.check_same("training", &self.to_safetensors()?)?;
        if let Some(minibatches) = &mut self.minibatches {
            minibatches.share(shared.own().clone());
        }
        self.data_parallel = Some(Box::new(shared));
        Ok(())
    }
}

impl<F: Float> Replica for Trainer<F> {
    fn data_parallel(&mut self) -> &mut Option<Box<DataParallel>> {
        &mut self.data_parallel
    }

    fn steps_before(&self) -> u64 {
        self.steps_taken()
    }

    fn begin(&mut self, steps: usize) -> Result<(), Error> {
        self.updater.check_rates(steps)
    }

    fn compute(&mut self, shard: usize) -> Result<f32, Error> {
        let step = self.step_in_u32();
        let minibatches = self.minibatches.as_mut().ok_or_else(no_data)?;
        let loss = F::criterion(&self.criterion);
        let network = &mut self.network;
        let sharing = &mut self.sharing;
        let mean = sharing.take(|| minibatches.shard(network, loss, [step, to_u32(shard)]));
        Ok(as_f32(mean))
    }

    fn gradients(&mut self) -> Vec<&mut [f32]> {
        let minibatches = self.minibatches.as_mut();
        let gradients = minibatches.map(|of| &mut of.work.gradients);
        gradients.into_iter().flatten().map(numbers).collect()
    }

    fn update(&mut self, loss: f32) -> Result<(), Error> {
        let coefficients = self.updater.coefficients()?;
        let minibatches = self.minibatches.as_mut().ok_or_else(no_data)?;
        let gradients = &mut minibatches.work.gradients;
        self.updater
            .apply(coefficients, &mut self.network, gradients);
        self.remember(&[F::from_f64(loss.into())]);
        Ok(())
    }

    fn own_steps(&mut self, count: usize) -> Result<Vec<f32>, Error> {
        let until = self.steps_taken() + count as u64;
        let taken = self.steps(count);
        if matches!(taken, Err(Error::Diverged { .. })) {
            // Count all requested steps as taken, to agree with a GPU, which detects a divergence only after the last
            // of them.
            self.updater.count_from(until, self.updater.began());
        }
        Ok(in_f32(&taken?))
    }

    fn average_values(
        &mut self,
        average: impl FnOnce(Vec<&mut [f32]>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let parameters = trained(&mut self.network.parameters, self.updater.is_trained());
        let kept = self.updater.kept_of_trained_mut();
        average(parameters.chain(kept).map(numbers).collect())
    }

    fn judge(&mut self, before: u64, losses: &[f32]) -> Result<(), Error> {
        self.soundness.judge(before, losses)
    }

    fn is_sound(&self, loss: f32) -> bool {
        self.soundness.is_sound(loss)
    }
}

/// Returns the elements of a matrix as `f32`. Distributed training exists only in `f32`.
fn numbers<F: Float>(matrix: &mut Array2<F>) -> &mut [f32] {
    let Some(matrix) = (matrix as &mut dyn Any).downcast_mut::<Array2<f32>>() else {
        unreachable!("trainers in f32 alone are distributed");
    };
    dense(matrix.as_slice_mut())
}

pub(super) fn in_numbers<F: Float>(values: Vec<f32>) -> Vec<F> {
    let values = values.into_iter();
    values.map(|value| F::from_f64(value.into())).collect()
}
