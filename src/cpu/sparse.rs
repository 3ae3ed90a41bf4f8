//! The first layer over bytes that are mostly 0, as the pixels of digits are: what is 0 adds nothing to a sum. A layer of few
//! outputs takes each row by itself, one of many outputs blocks of rows.

mod blocks;
mod rows;

use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use self::blocks::{Blocks, Sizes};
use self::rows::{Nonzero, SparseBatch, SparseRows};
use super::relu;
use crate::data::Dataset;
use crate::reference::Float;

/// Which form a data set and its minibatches take for a first layer.
#[derive(Debug)]
pub(super) enum Form {
    Rows(Nonzero),
    Blocks(Sizes),
}

impl Form {
    /// The form of minibatches of so many rows for a layer of so many outputs; `None` where a product of dense matrices is
    /// faster.
    pub(super) fn of<F>(dataset: &Dataset, batch: usize, outputs: usize) -> Option<Self> {
        if let Some(nonzero) = Nonzero::of(dataset, outputs) {
            return Some(Self::Rows(nonzero));
        }
        Sizes::of::<F>(dataset, batch, outputs).map(Self::Blocks)
    }

    /// Examples of the data set.
    pub(super) fn examples(&self) -> usize {
        match self {
            Self::Rows(nonzero) => nonzero.examples,
            Self::Blocks(sizes) => sizes.examples,
        }
    }

    /// Bytes of memory that the data set takes in this form.
    pub(super) fn of_examples(&self) -> u64 {
        match self {
            Self::Rows(nonzero) => nonzero.of_examples(),
            Self::Blocks(_) => 0,
        }
    }

    /// Bytes of memory that the data set takes in this form, with minibatches of so many rows.
    pub(super) fn memory<F>(&self, batch: usize) -> u64 {
        match self {
            Self::Rows(nonzero) => nonzero.memory::<F>(batch),
            Self::Blocks(sizes) => sizes.memory::<F>(batch),
        }
    }
}

/// A minibatch by what is not 0 in it.
#[derive(Debug)]
pub(super) enum Sparse<F> {
    /// Of the rows of a data set in this form.
    Rows(SparseRows, SparseBatch<F>),
    Blocks(Blocks<F>),
}

impl<F: Float> Sparse<F> {
    /// Room for minibatches of so many rows of a data set, before a layer of so many outputs.
    pub(super) fn new(form: &Form, dataset: &Dataset, batch: usize, outputs: usize) -> Self {
        match form {
            Form::Rows(nonzero) => {
                let rows = SparseRows::new(dataset, nonzero);
                Self::Rows(rows, SparseBatch::new(outputs, nonzero))
            }
            Form::Blocks(sizes) => Self::Blocks(Blocks::new(sizes, batch)),
        }
    }

    /// Copies the examples together; `unit` is `byte / 255` for every byte.
    pub(super) fn gather(&mut self, dataset: &Dataset, examples: &[u32], unit: &[F; 256]) {
        match self {
            Self::Rows(rows, batch) => batch.gather(rows, examples, unit),
            Self::Blocks(blocks) => blocks.gather(dataset, examples, unit),
        }
    }

    /// `y = x·w + b`, or `y = x·w` without a bias; with `relu`, what a `Relu` makes of it.
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

    /// `dw = xᵀ·dy`.
    pub(super) fn transposed_times(&mut self, dy: ArrayView2<'_, F>, dw: &mut Array2<F>) {
        match self {
            Self::Rows(_, batch) => batch.transposed_times(dy, dw),
            Self::Blocks(blocks) => blocks.transposed_times(dy, dw),
        }
    }

    /// Bytes that are allocated for it, with its data set.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> u64 {
        match self {
            Self::Rows(rows, batch) => batch.memory(rows),
            Self::Blocks(blocks) => blocks.allocated(),
        }
    }
}

/// Whether there is a form for layers of many outputs: not every processor has instructions for it.
#[cfg(test)]
pub(super) fn has_blocks() -> bool {
    blocks::Kernel::of_processor().next().is_some()
}

#[cfg(test)]
mod tests;
