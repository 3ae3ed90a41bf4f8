//! Minibatches of a data set in the host's memory.

use ndarray::{Array2, ArrayViewMut1};

use super::super::passes::Context;
use super::super::sparse::{Nonzero, SparseBatch, SparseRows};
use super::super::workspace::Workspace;
use super::super::{Network, footprint};
use crate::data::{Examples, Sampling};
use crate::error::Error;
use crate::fit::check_accumulated;
use crate::network::Wanted;
use crate::ops::to_u32;
use crate::reference::{Float, Loss, Targets};

/// Examples, and how they become minibatches.
#[derive(Debug)]
pub(super) struct Minibatches<F> {
    pub(super) examples: Examples,
    /// The same, where the first layer is faster over what is not 0 in it.
    sparse: Option<(SparseRows, SparseBatch<F>)>,
    pub(super) sampling: Sampling,
    pub(super) work: Workspace<F>,
    /// Minibatches whose gradients make a step.
    accumulated: usize,
    /// Of all of them.
    indices: Vec<u32>,
    /// Of one.
    labels: Vec<u32>,
    /// Of the minibatch, (batch, outputs), where the loss compares values.
    values: Array2<F>,
    unit: [F; 256],
}

impl<F: Float> Minibatches<F> {
    /// Of `batch` rows each, for a network of which so many numbers are kept for each parameter.
    ///
    /// # Errors
    /// [`Error::Memory`] when the host has no room for the training.
    pub(super) fn new(
        network: &Network<F>,
        kept: usize,
        examples: Examples,
        batch: usize,
        sampling: Sampling,
    ) -> Result<Self, Error> {
        let passes = &network.passes;
        // A first layer that has a form for rows given by what is not 0 in them, and bytes that are mostly 0.
        let nonzero = match (&examples, passes.fast_first()) {
            (Examples::Bytes(dataset), Some(first)) => {
                let outputs = first.spec.output.len();
                Nonzero::of(dataset, outputs).map(|nonzero| (dataset, nonzero, outputs))
            }
            _ => None,
        };
        let footprint = footprint::Training {
            passes,
            kept,
            examples: &examples,
            batch,
            nonzero: nonzero.as_ref().map(|(_, nonzero, _)| nonzero),
        };
        footprint.check::<F>()?;
        let wanted = Wanted::parameters(network.graph());
        let work = passes.workspace(batch, nonzero.is_some(), &wanted);
        let sparse = nonzero.map(|(dataset, nonzero, outputs)| {
            let rows = SparseRows::new(dataset, &nonzero);
            (rows, SparseBatch::new(outputs))
        });
        Ok(Self {
            work,
            sparse,
            values: match examples.values() {
                None => Array2::zeros((0, 0)),
                Some(_) => Array2::zeros((batch, examples.outputs())),
            },
            examples,
            sampling,
            accumulated: 1,
            indices: vec![0; batch],
            labels: vec![0; batch],
            unit: unit(),
        })
    }

    /// Number of rows of a minibatch.
    pub(super) fn batch(&self) -> usize {
        self.labels.len()
    }

    /// Number of minibatches of a step.
    pub(super) fn accumulated(&self) -> usize {
        self.accumulated
    }

    /// Makes each step of so many minibatches.
    ///
    /// # Errors
    /// [`Error::Setting`] when the data set or the list of minibatches has no such number of rows.
    pub(super) fn accumulate(&mut self, minibatches: usize) -> Result<(), Error> {
        check_accumulated(minibatches)?;
        let rows = self.batch().saturating_mul(minibatches);
        self.sampling.check(self.examples.len(), rows)?;
        (self.accumulated, self.indices) = (minibatches, vec![0; rows]);
        Ok(())
    }

    /// Computes other gradients from now on.
    pub(super) fn want(&mut self, network: &Network<F>, wanted: &Wanted) {
        let (batch, is_sparse) = (self.batch(), self.sparse.is_some());
        self.work = network.passes.workspace(batch, is_sparse, wanted);
    }

    /// Mean loss of a step, with its gradients in the work space.
    pub(super) fn forward_backward(
        &mut self,
        network: &mut Network<F>,
        loss: &dyn Loss<F>,
        step: u32,
    ) -> F {
        self.sampling
            .minibatch(self.examples.len(), step, &mut self.indices);
        if self.accumulated == 1 {
            return self.part(network, loss, [step, 0]);
        }
        let share = F::one() / F::from_f64(self.accumulated as f64);
        let mut sum = self.part(network, loss, [step, 0]);
        let mut gradients = self.work.gradients.clone();
        for part in 1..self.accumulated {
            sum += self.part(network, loss, [step, to_u32(part)]);
            for (sum, gradient) in gradients.iter_mut().zip(&self.work.gradients) {
                *sum += gradient;
            }
        }
        for (gradient, sum) in self.work.gradients.iter_mut().zip(gradients) {
            gradient.zip_mut_with(&sum, |gradient, &sum| *gradient = sum * share);
        }
        sum * share
    }

    /// Mean loss of a minibatch of a step.
    fn part(&mut self, network: &mut Network<F>, loss: &dyn Loss<F>, step: [u32; 2]) -> F {
        let first = step[1] as usize * self.batch();
        let indices = &self.indices[first..first + self.labels.len()];
        if let Some(of_all) = self.examples.labels() {
            for (label, &example) in self.labels.iter_mut().zip(indices) {
                *label = of_all.indices()[example as usize];
            }
        }
        let Network {
            passes,
            parameters,
            state,
        } = network;
        let mut context = Context {
            parameters,
            state,
            step: Some(step),
        };
        if let Some((rows, x)) = &mut self.sparse {
            x.gather(rows, indices, &self.unit);
            let compared = (loss, Targets::Classes(&self.labels));
            return passes.forward_backward(&mut self.work, &mut context, compared, Some(x));
        }
        for (input, first) in passes.inputs() {
            let rows = self.work.values[input].outer_iter_mut();
            for (x, &example) in rows.zip(indices) {
                copy_features(x, &self.examples, (example as usize, first), &self.unit);
            }
        }
        let targets = match self.examples.values() {
            None => Targets::Classes(&self.labels),
            Some(values) => {
                let rows = self.values.outer_iter_mut().zip(indices);
                rows.for_each(|(to, &example)| {
                    let first = to.len() * example as usize;
                    copy_row(to, &values[first..]);
                });
                Targets::Values(self.values.view())
            }
        };
        passes.forward_backward(&mut self.work, &mut context, (loss, targets), None)
    }
}

/// `byte / 255` for every byte.
pub(super) fn unit<F: Float>() -> [F; 256] {
    let mut unit = [F::zero(); 256];
    for (byte, unit) in (0u8..=255).zip(&mut unit) {
        *unit = F::from_f64(byte.into()) / F::from_f64(255.0);
    }
    unit
}

/// The features of one example from a column on; `unit` is `byte / 255` for every byte.
pub(super) fn copy_features<F: Float>(
    mut to: ArrayViewMut1<'_, F>,
    examples: &Examples,
    (example, first): (usize, usize),
    unit: &[F; 256],
) {
    match examples {
        Examples::Bytes(dataset) => {
            for (to, &byte) in to.iter_mut().zip(&dataset.row(example)[first..]) {
                *to = unit[usize::from(byte)];
            }
        }
        Examples::Table(table) => {
            copy_row(to, &table.features()[example * table.width() + first..]);
        }
    }
}

/// As many values as there is room for.
fn copy_row<F: Float>(mut to: ArrayViewMut1<'_, F>, values: &[f32]) {
    for (to, &value) in to.iter_mut().zip(values) {
        *to = F::from_f64(value.into());
    }
}

#[cfg(test)]
impl<F: Float> Minibatches<F> {
    /// Bytes of all that was allocated.
    pub(super) fn allocated(&self) -> u64 {
        use crate::memory::bytes_of;

        let sparse = self.sparse.as_ref();
        bytes_of::<F>((self.work.numbers() + self.values.len()) as u64)
            + bytes_of::<u32>((self.indices.len() + self.labels.len()) as u64)
            + sparse.map_or(0, |(rows, batch)| batch.memory(rows))
    }

    pub(super) fn is_sparse(&self) -> bool {
        self.sparse.is_some()
    }
}
