//! A fully connected layer, fast: the formulas of [`reference::Linear`](crate::reference::Linear) by the quickest
//! products there are, or over what is not 0 in bytes.

use multiversion::multiversion;
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use super::cores::{for_each_part, rows_of_part};
use super::dense::dense;
use super::product::product;
use super::relu;
use super::row::row_times;
use super::sparse::Sparse;
use crate::reference::{Backward, Float, Forward, Layer};

/// Elements from which cores share what is done with each of them, with profit.
const SHARED: usize = 1 << 16;
/// Columns whose sums are made at a time.
const COLUMNS: usize = 64;

/// The layer. A sum of rows goes from the first to the last.
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
    /// A forward pass; with `relu`, that of a `Relu` behind the layer as well.
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

    /// A backward pass; with `relu`, that of a `Relu` before the layer as well, of which `x` is the output.
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

/// The first layer over rows given by what is not 0 in them. All arrays but the parameters lie dense in memory, row
/// by row.
impl Linear {
    /// `y = x·w + b`, or `y = x·w` without a bias; with `relu`, what a `Relu` makes of it.
    pub(super) fn sparse_forward<F: Float>(
        x: &mut Sparse<F>,
        parameters: &[Array2<F>],
        y: ArrayViewMut2<'_, F>,
        relu: bool,
    ) {
        x.times(&parameters[0], parameters.get(1), y, relu);
    }

    /// The gradients by the parameters.
    pub(super) fn sparse_backward<F: Float>(
        x: &mut Sparse<F>,
        dy: ArrayView2<'_, F>,
        gradients: &mut [Array2<F>],
    ) {
        x.transposed_times(dy, &mut gradients[0]);
        sum_of_rows(dy, gradients.get_mut(1));
    }
}

/// Adds the bias to every row of a product, and with `relu` makes of it what a `Relu` does: while it is in a cache.
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
            // The order of a sum that begins with the bias.
            *y = b + *y;
        }
    }
}

/// The gradient by the bias, if there is one.
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

/// Sums of the rows' numbers in some columns, from the first row to the last.
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
