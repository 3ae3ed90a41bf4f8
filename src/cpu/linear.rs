//! A fast fully connected layer: the formulas of [`reference::Linear`](crate::reference::Linear) with fast matrix
//! products, or with sums over only the nonzero features of a row.

use multiversion::multiversion;
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use super::cores::{for_each_part, rows_of_part};
use super::dense::dense;
use super::product::product;
use super::relu;
use super::row::row_times;
use super::sparse::Sparse;
use crate::reference::{Backward, Float, Forward, Layer};

/// Minimum number of elements for which several cores share elementwise work. For fewer, one core is faster.
const SHARED: usize = 1 << 16;
/// Number of columns that are summed over the rows at the same time.
const COLUMNS: usize = 64;

/// The layer. It sums the bias's gradient from the first row to the last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Linear;

impl<F: Float> Layer<F> for Linear {
    fn forward(&self, pass: Forward<'_, F>) {
        Self::forward_with(pass, false);
    }

    fn backward(&self, pass: Backward<'_, F>) {
        Self::backward_with(pass, false);
    }
}

impl Linear {
    /// Computes the forward pass of the layer; with `relu`, also of the `Relu` after it.
    pub(super) fn forward_with<F: Float>(pass: Forward<'_, F>, relu: bool) {
        let Forward {
            x,
            parameters,
            mut y,
            ..
        } = pass;
        let w = &parameters[0];
        let b = parameters.get(1);
        if x.nrows() == 1
            && let (Some(x), Some(w), Some(y)) = (x.as_slice(), w.as_slice(), y.as_slice_mut())
        {
            row_times(x, w, b.map(|b| dense(b.as_slice())), y);
            if relu {
                relu::rectify(y);
            }
            return;
        }
        product(&x, w, &mut y);
        if b.is_some() || relu {
            let b = b.map(|b| dense(b.as_slice()));
            finish(y, b, relu);
        }
    }

    /// Computes the backward pass of the layer; with `relu`, also of the `Relu` before it, whose output is the layer's
    /// input `x`.
    pub(super) fn backward_with<F: Float>(pass: Backward<'_, F>, relu: bool) {
        let Backward {
            x,
            dy,
            parameters,
            gradients,
            dx,
            ..
        } = pass;
        let w = &parameters[0];
        if let Some(mut dx) = dx {
            product(&dy, &w.t(), &mut dx);
            if relu {
                relu::mask(x, dx);
            }
        }
        product(&x.t(), &dy, &mut gradients[0].view_mut());
        sum_of_rows(dy, gradients.get_mut(1));
    }
}

/// The passes for an input in sparse form, which only a network's first layer can have. All arrays except the
/// parameters are contiguous in memory, row by row.
impl Linear {
    /// Computes `y = x·w + b`, or `y = x·w` without a bias; with `relu`, then applies a `Relu`.
    pub(super) fn sparse_forward<F: Float>(
        x: &mut Sparse<F>,
        parameters: &[Array2<F>],
        y: ArrayViewMut2<'_, F>,
        relu: bool,
    ) {
        x.times(&parameters[0], parameters.get(1), y, relu);
    }

    /// Computes the gradients with respect to the parameters.
    pub(super) fn sparse_backward<F: Float>(
        x: &mut Sparse<F>,
        dy: ArrayView2<'_, F>,
        gradients: &mut [Array2<F>],
    ) {
        x.transposed_times(dy, &mut gradients[0]);
        sum_of_rows(dy, gradients.get_mut(1));
    }
}

/// Adds the bias to every row of `y`, and with `relu` applies a `Relu`, in one pass over the memory.
fn finish<F: Float>(y: ArrayViewMut2<'_, F>, b: Option<&[F]>, relu: bool) {
    let (rows, columns) = y.dim();
    let y = dense(y.into_slice());
    let is_shared = y.len() >= SHARED;
    let parts = y.chunks_mut((rows_of_part(rows) * columns).max(1));
    for_each_part(parts, is_shared, |rows| {
        if let Some(b) = b {
            add_to_rows(b, rows);
        }
        if relu {
            relu::rectify(rows);
        }
    });
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn add_to_rows<F: Float>(b: &[F], rows: &mut [F]) {
    for row in rows.chunks_exact_mut(b.len()) {
        for (y, &b) in row.iter_mut().zip(b) {
            // In the same order as in a sum that starts with the bias.
            *y = b + *y;
        }
    }
}

/// Computes the gradient with respect to the bias, if there is one.
fn sum_of_rows<F: Float>(dy: ArrayView2<'_, F>, db: Option<&mut Array2<F>>) {
    let Some(db) = db else {
        return;
    };
    let columns = dy.ncols();
    let dy = dense(dy.to_slice());
    let parts = dense(db.as_slice_mut()).chunks_mut(COLUMNS);
    for_each_part(parts.enumerate(), dy.len() >= SHARED, |(part, db)| {
        sum_columns(dy, columns, part * COLUMNS, db);
    });
}

/// Sums the columns from `first` on over all rows, from the first row to the last.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn sum_columns<F: Float>(rows: &[F], columns: usize, first: usize, sums: &mut [F]) {
    let mut local = [F::zero(); COLUMNS];
    let local = &mut local[..sums.len()];
    for row in rows.chunks_exact(columns) {
        for (sum, &value) in local.iter_mut().zip(&row[first..]) {
            *sum += value;
        }
    }
    sums.copy_from_slice(local);
}
