//! Draws the minibatches of a training from a data set or a stream, and computes their losses and gradients.

use std::ops::Range;

use ndarray::{Array2, ArrayViewMut1, Axis};

use super::super::cores::{for_each_part, rows_of_part};
use super::super::features::{copy_features, copy_row, unit};
use super::super::passes::Context;
use super::super::sparse::{self, Sparse};
use super::super::workspace::Workspace;
use super::super::{Network, footprint};
#[cfg(not(target_arch = "wasm32"))]
use crate::data::Windows;
use crate::data::{Examples, Sampling};
use crate::error::Error;
#[cfg(not(target_arch = "wasm32"))]
use crate::error::TargetKind;
use crate::fit::{check_accumulated, nothing_to_accumulate};
use crate::network::Wanted;
use crate::ops::to_u32;
use crate::reference::{Float, Loss, Targets};

/// Minimum number of elements of a minibatch for which several cores gather it. For fewer, one core is faster.
const SHARED: usize = 1 << 16;

/// The source of minibatches, and the buffers of one minibatch.
#[derive(Debug)]
pub(super) struct Minibatches<F> {
    pub(super) rows: Source,
    /// The minibatch in sparse form, if the first layer is faster with it.
    sparse: Option<Sparse<F>>,
    pub(super) work: Workspace<F>,
    /// Number of minibatches per step, whose gradients are accumulated.
    accumulated: usize,
    /// The range of a step's minibatches that this process computes. Other processes may compute the others.
    own: Range<usize>,
    /// Sums of gradients over the minibatches of a step; empty if a step has one minibatch.
    sums: Vec<Array2<F>>,
    /// Indices of the examples in all minibatches of a step.
    indices: Vec<u32>,
    /// Classes of one minibatch.
    labels: Vec<u32>,
    /// Target values of one minibatch, (batch, outputs); (batch, 0) if the loss compares classes.
    values: Array2<F>,
    unit: [F; 256],
}

/// The source of minibatches.
#[derive(Debug)]
pub(super) enum Source {
    /// A data set.
    Examples(Examples, Sampling),
    /// A stream.
    #[cfg(not(target_arch = "wasm32"))]
    Stream(Box<Windows>),
}

impl Source {
    /// The data set and its sampling; `None` for a stream.
    pub(super) fn examples(&self) -> Option<(&Examples, &Sampling)> {
        match self {
            Self::Examples(examples, sampling) => Some((examples, sampling)),
            #[cfg(not(target_arch = "wasm32"))]
            Self::Stream(_) => None,
        }
    }
}

impl<F: Float> Minibatches<F> {
    /// Allocates minibatches of `batch` rows of a data set. `kept` is the number of state arrays of the optimizer per
    /// parameter.
    ///
    /// # Errors
    /// [`Error::Memory`] when the host has too little memory for the training.
    pub(super) fn new(
        network: &Network<F>,
        kept: usize,
        examples: Examples,
        batch: usize,
        sampling: Sampling,
    ) -> Result<Self, Error> {
        let passes = &network.passes;
        // The sparse form needs a `Linear` as first layer, and features in bytes that are mostly 0.
        let form = match (&examples, passes.fast_first()) {
            (Examples::Bytes(dataset), Some(first)) => {
                let outputs = first.spec.output.len();
                let form = sparse::Form::of::<F>(dataset, batch, outputs);
                form.map(|form| (form, dataset, outputs))
            }
            _ => None,
        };
        let training = footprint::Training {
            passes,
            kept,
            values: examples.values().map_or(0, |_| examples.outputs()),
            batch,
            sparse: form.as_ref().map(|(form, ..)| form),
            of_stream: 0,
        };
        training.check::<F>()?;
        let sparse = form
            .as_ref()
            .map(|(form, dataset, outputs)| Sparse::new(form, dataset, batch, *outputs));
        let rows = Source::Examples(examples.clone(), sampling);
        Ok(Self::with(&training, rows, sparse))
    }

    /// Allocates minibatches of a stream. `kept` is the number of state arrays of the optimizer per parameter.
    ///
    /// # Errors
    /// [`Error::Memory`] when the host has too little memory for the training and a window of the stream.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn streamed(
        network: &Network<F>,
        kept: usize,
        windows: Windows,
    ) -> Result<Self, Error> {
        let passes = &network.passes;
        let layout = windows.layout();
        let batch = windows.batch();
        let training = footprint::Training {
            passes,
            kept,
            values: match layout.targets {
                TargetKind::Classes => 0,
                TargetKind::Values | TargetKind::Probabilities => layout.outputs,
            },
            batch,
            sparse: None,
            of_stream: windows.bytes_of_window(),
        };
        training.check::<F>()?;
        let rows = Source::Stream(Box::new(windows));
        Ok(Self::with(&training, rows, None))
    }

    /// Allocates the memory that [`footprint::Training`] has counted.
    fn with(training: &footprint::Training<'_>, rows: Source, sparse: Option<Sparse<F>>) -> Self {
        let passes = training.passes;
        let batch = training.batch;
        let wanted = Wanted::parameters(&passes.graph);
        Self {
            work: passes.workspace(batch, sparse.is_some(), &wanted),
            sparse,
            values: Array2::zeros((batch, training.values)),
            rows,
            accumulated: 1,
            own: 0..1,
            sums: Vec::new(),
            indices: vec![0; batch],
            labels: vec![0; batch],
            unit: unit(),
        }
    }

    /// Returns the number of minibatches that are ready; `usize::MAX` for a data set. If none is ready, first reads the
    /// next window of the stream.
    pub(super) fn ready(&mut self) -> usize {
        match &mut self.rows {
            Source::Examples(..) => usize::MAX,
            #[cfg(not(target_arch = "wasm32"))]
            Source::Stream(windows) => windows.ready(),
        }
    }

    /// Number of rows per minibatch.
    pub(super) fn batch(&self) -> usize {
        self.labels.len()
    }

    /// Number of minibatches per step.
    pub(super) fn accumulated(&self) -> usize {
        self.accumulated
    }

    /// Sets the number of minibatches per step.
    ///
    /// # Errors
    /// [`Error::Setting`] when the data set or the list of minibatches has too few rows, or when the rows come from a
    /// stream; [`Error::Memory`] when the host has too little memory for the sums of gradients.
    pub(super) fn accumulate(
        &mut self,
        network: &Network<F>,
        minibatches: usize,
    ) -> Result<(), Error> {
        let (examples, sampling) = self.rows.examples().ok_or_else(nothing_to_accumulate)?;
        check_accumulated(minibatches, self.batch(), examples.len())?;
        let rows = self.batch() * minibatches;
        sampling.check(examples.len(), rows)?;
        self.sums = match minibatches {
            1 => Vec::new(),
            _ => {
                footprint::check_accumulation::<F>(&network.passes, rows)?;
                let gradients = self.work.gradients.iter();
                gradients.map(|of| Array2::zeros(of.raw_dim())).collect()
            }
        };
        (self.accumulated, self.indices) = (minibatches, vec![0; rows]);
        self.own = 0..minibatches;
        Ok(())
    }

    /// From now on, computes only the minibatches in the range `own` of each step.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn share(&mut self, own: Range<usize>) {
        self.own = own;
    }

    /// Computes one shard (minibatch of a distributed step). Returns its mean loss, and leaves its gradients in the
    /// workspace. Must be called for the shards of this process in ascending order.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn shard(
        &mut self,
        network: &mut Network<F>,
        loss: &dyn Loss<F>,
        [step, shard]: [u32; 2],
    ) -> F {
        if shard as usize == self.own.start {
            self.choose_rows(step);
        }
        self.part(network, loss, [step, shard])
    }

    fn choose_rows(&mut self, step: u32) {
        if let Some((examples, sampling)) = self.rows.examples() {
            sampling.minibatch(examples.len(), step, &mut self.indices);
        }
    }

    /// Computes all minibatches of a step. Returns the mean loss, and leaves the mean gradients in the workspace. For a
    /// stream, [`ready`](Self::ready) must have returned at least 1.
    pub(super) fn forward_backward(
        &mut self,
        network: &mut Network<F>,
        loss: &dyn Loss<F>,
        step: u32,
    ) -> F {
        self.choose_rows(step);
        let first = to_u32(self.own.start);
        if self.own.len() == 1 {
            return self.part(network, loss, [step, first]);
        }
        let share = F::one() / F::from_f64(self.own.len() as f64);
        let mut sum = self.part(network, loss, [step, first]);
        for (sum, gradient) in self.sums.iter_mut().zip(&self.work.gradients) {
            sum.assign(gradient);
        }
        for part in self.own.clone().skip(1) {
            sum += self.part(network, loss, [step, to_u32(part)]);
            for (sum, gradient) in self.sums.iter_mut().zip(&self.work.gradients) {
                *sum += gradient;
            }
        }
        for (gradient, sum) in self.work.gradients.iter_mut().zip(&self.sums) {
            gradient.zip_mut_with(sum, |gradient, &sum| *gradient = sum * share);
        }
        sum * share
    }

    /// Computes one minibatch of a step, given as `[step, minibatch]`. Returns its mean loss, and leaves its gradients
    /// in the workspace.
    fn part(&mut self, network: &mut Network<F>, loss: &dyn Loss<F>, step: [u32; 2]) -> F {
        let first = step[1] as usize * self.batch();
        let part = first..first + self.batch();
        let of_values = match &mut self.rows {
            Source::Examples(examples, _) => {
                let indices = &self.indices[part.clone()];
                if let Some(of_all) = examples.labels() {
                    choose(&mut self.labels, of_all.indices(), indices);
                }
                if let (Some(sparse), Examples::Bytes(dataset)) = (&mut self.sparse, &*examples) {
                    sparse.gather(dataset, indices, &self.unit);
                } else {
                    let copy = |example, first, x: ArrayViewMut1<'_, F>| {
                        copy_features(x, examples, (example, first), &self.unit);
                    };
                    gather(network, &mut self.work, indices, copy);
                }
                examples.values()
            }
            #[cfg(not(target_arch = "wasm32"))]
            Source::Stream(windows) => {
                let (order, rows) = windows.minibatches(1);
                self.indices.copy_from_slice(order);
                let width = windows.layout().width;
                let copy = |row: usize, first, x: ArrayViewMut1<'_, F>| {
                    copy_row(x, &rows.features[row * width + first..]);
                };
                gather(network, &mut self.work, &self.indices, copy);
                match windows.layout().targets {
                    TargetKind::Classes => {
                        choose(&mut self.labels, &rows.classes, &self.indices);
                        None
                    }
                    TargetKind::Values | TargetKind::Probabilities => Some(&*rows.values),
                }
            }
        };
        let indices = &self.indices[part];
        let targets = match of_values {
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
        let x = self.sparse.as_mut();
        let mean = passes.forward_backward(&mut self.work, &mut context, (loss, targets), x);
        #[cfg(not(target_arch = "wasm32"))]
        if let Source::Stream(windows) = &mut self.rows {
            windows.advance(1);
        }
        mean
    }
}

/// Fills all inputs of a network with the features of the rows `indices`. `copy` gets a row index, the input's first
/// column among the row's features, and the row of the input to write to.
fn gather<F: Float>(
    network: &Network<F>,
    work: &mut Workspace<F>,
    indices: &[u32],
    copy: impl Fn(usize, usize, ArrayViewMut1<'_, F>) + Sync,
) {
    for (input, first) in network.passes.inputs() {
        let values = &mut work.values[input];
        let is_shared = values.len() >= SHARED;
        let of_part = rows_of_part(indices.len());
        let parts = values.axis_chunks_iter_mut(Axis(0), of_part);
        for_each_part(
            parts.zip(indices.chunks(of_part)),
            is_shared,
            |(mut x, rows)| {
                for (x, &row) in x.outer_iter_mut().zip(rows) {
                    copy(row as usize, first, x);
                }
            },
        );
    }
}

fn choose(labels: &mut [u32], of_all: &[u32], indices: &[u32]) {
    for (label, &example) in labels.iter_mut().zip(indices) {
        *label = of_all[example as usize];
    }
}

#[cfg(test)]
impl<F: Float> Minibatches<F> {
    /// Number of allocated bytes.
    pub(super) fn allocated(&self) -> u64 {
        use crate::memory::bytes_of;

        let sparse = self.sparse.as_ref();
        let sums: usize = self.sums.iter().map(Array2::len).sum();
        bytes_of::<F>((self.work.numbers() + self.values.len() + sums) as u64)
            + bytes_of::<u32>((self.indices.len() + self.labels.len()) as u64)
            + sparse.map_or(0, Sparse::allocated)
    }

    pub(super) fn is_sparse(&self) -> bool {
        self.sparse.is_some()
    }
}
