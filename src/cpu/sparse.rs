//! A fast fully connected first layer for features in bytes that are mostly 0, such as the pixels of digits. It skips
//! the zeros, which add nothing to a sum. With few outputs, it skips the zeros of each row separately; with many
//! outputs, it handles blocks of rows, and skips features that are 0 in all rows of a block.

mod blocks;
mod rows;

use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use self::blocks::{Blocks, Sizes};
use self::rows::{Nonzero, SparseBatch, SparseRows};
use super::relu;
use crate::data::Dataset;
use crate::reference::Float;

/// The kind and the sizes of the sparse form of a data set and its minibatches.
#[derive(Debug)]
pub(super) enum Form {
    Rows(Nonzero),
    Blocks(Sizes),
}

impl Form {
    /// Chooses the form for minibatches of `batch` rows and a layer of `outputs` outputs. Returns `None` if a product
    /// of dense matrices is faster.
    pub(super) fn of<F>(dataset: &Dataset, batch: usize, outputs: usize) -> Option<Self> {
        if let Some(nonzero) = Nonzero::of(dataset, outputs) {
            return Some(Self::Rows(nonzero));
        }
        Sizes::of::<F>(dataset, batch, outputs).map(Self::Blocks)
    }

    /// Number of examples in the data set.
    pub(super) fn examples(&self) -> usize {
        match self {
            Self::Rows(nonzero) => nonzero.examples,
            Self::Blocks(sizes) => sizes.examples,
        }
    }

    /// Memory of the data set in this form, in bytes.
    pub(super) fn of_examples(&self) -> u64 {
        match self {
            Self::Rows(nonzero) => nonzero.of_examples(),
            Self::Blocks(_) => 0,
        }
    }

    /// Memory of the data set in this form and of a minibatch of `batch` rows, in bytes.
    pub(super) fn memory<F>(&self, batch: usize) -> u64 {
        match self {
            Self::Rows(nonzero) => nonzero.memory::<F>(batch),
            Self::Blocks(sizes) => sizes.memory::<F>(batch),
        }
    }
}

/// A minibatch in sparse form.
#[derive(Debug)]
pub(super) enum Sparse<F> {
    /// Separate rows: the rows of the whole data set, and the rows of the minibatch.
    Rows(SparseRows, SparseBatch<F>),
    Blocks(Blocks<F>),
}

impl<F: Float> Sparse<F> {
    /// Allocates a minibatch of `batch` rows of a data set, for a layer of `outputs` outputs.
    pub(super) fn new(form: &Form, dataset: &Dataset, batch: usize, outputs: usize) -> Self {
        match form {
            Form::Rows(nonzero) => {
                let rows = SparseRows::new(dataset, nonzero);
                Self::Rows(rows, SparseBatch::new(outputs, nonzero))
            }
            Form::Blocks(sizes) => Self::Blocks(Blocks::new(sizes, batch)),
        }
    }

    /// Copies the examples of a minibatch to this form; `unit` has `byte / 255` for every byte.
    pub(super) fn gather(&mut self, dataset: &Dataset, examples: &[u32], unit: &[F; 256]) {
        match self {
            Self::Rows(rows, batch) => batch.gather(rows, examples, unit),
            Self::Blocks(blocks) => blocks.gather(dataset, examples, unit),
        }
    }

    /// Computes `y = x·w + b`, or `y = x·w` without a bias, for the minibatch `x`; with `relu`, then applies a `Relu`.
    pub(super) fn times(
        &mut self,
        w: &Array2<F>,
        b: Option<&Array2<F>>,
        mut y: ArrayViewMut2<'_, F>,
        relu: bool,
    ) {
        match self {
            Self::Rows(_, batch) => {
                batch.times(w, b, y.view_mut());
                if relu {
                    relu::in_place(y);
                }
            }
            Self::Blocks(blocks) => blocks.times(w, b, y, relu),
        }
    }

    /// Computes `dw = xᵀ·dy` for the minibatch `x`.
    pub(super) fn transposed_times(&mut self, dy: ArrayView2<'_, F>, dw: &mut Array2<F>) {
        match self {
            Self::Rows(_, batch) => batch.transposed_times(dy, dw),
            Self::Blocks(blocks) => blocks.transposed_times(dy, dw),
        }
    }

    /// Number of allocated bytes, including the data set.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> u64 {
        match self {
            Self::Rows(rows, batch) => batch.memory(rows),
            Self::Blocks(blocks) => blocks.allocated(),
        }
    }
}

/// Whether this processor has the instructions that [`Sparse::Blocks`] needs.
#[cfg(test)]
pub(super) fn has_blocks() -> bool {
    blocks::Kernel::of_processor().next().is_some()
}

#[cfg(test)]
mod tests;
