//! What the processor does of steps that several processes share.

use ndarray::Array2;

use super::super::dense::dense;
use super::super::updater::trained;
use super::{Trainer, as_f32, in_f32, no_data};
use crate::distributed::{DataParallel, Distribution, Replica, check_same, not_distributed};
use crate::error::Error;
use crate::ops::to_u32;
use crate::reference::Float;

impl Trainer<f32> {
    /// Shares the steps from now on out among processes: see [`crate::Trainer::distribute`].
    ///
    /// # Errors
    /// As there.
    pub fn distribute(&mut self, distribution: Distribution) -> Result<(), Error> {
        let of_data = self
            .minibatches
            .as_ref()
            .filter(|of| of.rows.examples().is_some());
        let shards = of_data.map(super::minibatches::Minibatches::accumulated);
        let shards = shards.ok_or_else(|| not_distributed("a trainer without a data set"))?;
        check_same(&*distribution.world, "device", b"the CPU engine")?;
        let shared = DataParallel::new(distribution, self.network.graph(), shards)?;
        shared.check_same("training", &self.to_safetensors()?)?;
        if let Some(minibatches) = &mut self.minibatches {
            minibatches.share(shared.own().clone());
        }
        self.data_parallel = Some(Box::new(shared));
        Ok(())
    }
}

impl<F: Float> Trainer<F> {
    /// All that is trained, and kept of it from step to step.
    fn trained(&self) -> impl Iterator<Item = &Array2<F>> {
        let parameters = trained(&self.network.parameters, self.updater.is_trained());
        parameters.chain(self.updater.kept_of_trained())
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

    fn gradient_count(&self) -> usize {
        numbers(self.network.parameters.iter()) + 1
    }

    fn gradients(&mut self, shard: usize, to: &mut [f32]) -> Result<(), Error> {
        let step = self.step_in_u32();
        let minibatches = self.minibatches.as_mut().ok_or_else(no_data)?;
        let loss = F::criterion(&self.criterion);
        let (network, sharing) = (&mut self.network, &mut self.sharing);
        let mean = sharing.take(|| minibatches.shard(network, loss, [step, to_u32(shard)]));
        copy(minibatches.work.gradients.iter(), to).fill(as_f32(mean));
        Ok(())
    }

    fn update(&mut self, mean: &[f32]) -> Result<(), Error> {
        let coefficients = self.updater.coefficients()?;
        let minibatches = self.minibatches.as_mut().ok_or_else(no_data)?;
        let gradients = &mut minibatches.work.gradients;
        let loss = fill(gradients.iter_mut(), mean);
        self.updater
            .apply(coefficients, &mut self.network, gradients);
        self.remember(&in_numbers(loss.to_vec()));
        Ok(())
    }

    fn own_steps(&mut self, count: usize) -> Result<Vec<f32>, Error> {
        let until = self.steps_taken() + count as u64;
        let taken = self.steps(count);
        if matches!(taken, Err(Error::Diverged { .. })) {
            // As a GPU, which knows of it when all are done.
            self.updater.count_from(until, self.updater.began());
        }
        Ok(in_f32(&taken?))
    }

    fn value_count(&self) -> usize {
        numbers(self.trained())
    }

    fn values(&self, to: &mut [f32]) -> Result<(), Error> {
        copy(self.trained(), to);
        Ok(())
    }

    fn set_values(&mut self, values: &[f32]) -> Result<(), Error> {
        let parameters = trained(&mut self.network.parameters, self.updater.is_trained());
        let left = fill(parameters, values);
        fill(self.updater.kept_of_trained_mut(), left);
        Ok(())
    }

    fn judge(&mut self, before: u64, losses: &[f32]) -> Result<(), Error> {
        self.soundness.judge(before, losses)
    }

    fn is_sound(&self, loss: f32) -> bool {
        self.soundness.is_sound(loss)
    }
}

/// Elements of all matrices.
fn numbers<'a, F: 'a>(matrices: impl Iterator<Item = &'a Array2<F>>) -> usize {
    matrices.map(Array2::len).sum()
}

/// Copies matrices, one behind another; the room that is left.
fn copy<'a, 'b, F: Float>(
    matrices: impl Iterator<Item = &'a Array2<F>>,
    to: &'b mut [f32],
) -> &'b mut [f32] {
    let mut left = to;
    for matrix in matrices {
        let (own, rest) = left.split_at_mut(matrix.len());
        let both = own.iter_mut().zip(dense(matrix.as_slice()));
        both.for_each(|(to, &number)| *to = as_f32(number));
        left = rest;
    }
    left
}

/// Copies numbers into matrices, one behind another; those that are left.
fn fill<'a, 'b, F: Float>(
    to: impl Iterator<Item = &'a mut Array2<F>>,
    numbers: &'b [f32],
) -> &'b [f32] {
    let mut left = numbers;
    for to in to {
        let (own, rest) = left.split_at(to.len());
        let both = dense(to.as_slice_mut()).iter_mut().zip(own);
        both.for_each(|(to, &number)| *to = F::from_f64(number.into()));
        left = rest;
    }
    left
}

pub(super) fn in_numbers<F: Float>(values: Vec<f32>) -> Vec<F> {
    let values = values.into_iter();
    values.map(|value| F::from_f64(value.into())).collect()
}
