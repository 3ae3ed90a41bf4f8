//! A fully connected layer, fast: the formulas of [`reference::Linear`](crate::reference::Linear) by the quickest
//! products there are, or over what is not 0 in bytes.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};

use super::product::{add_product, product};
use super::relu;
use super::row::row_times;
use super::sparse::{SparseBatch, dense};
use crate::reference::{Backward, Float, Forward, Layer};

/// The layer. A sum of rows goes from the first to the last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Linear;

impl<F: Float> Layer<F> for Linear {
    fn forward(&self, pass: Forward<'_, F>) {
        let Forward {
            x,
            parameters,
            mut y,
            ..
        } = pass;
        let (w, b) = (&parameters[0], parameters.get(1));
        if x.nrows() == 1
            && let (Some(x), Some(w), Some(y)) = (x.as_slice(), w.as_slice(), y.as_slice_mut())
        {
            row_times(x, w, b.map(|b| dense(b.as_slice())), y);
            return;
        }
        match b {
            Some(b) => {
                y.assign(b);
                add_product(&x, w, &mut y);
            }
            None => product(&x, w, &mut y),
        }
    }

    fn backward(&self, pass: Backward<'_, F>) {
        Self::backward_with(pass, false);
    }
}

impl Linear {
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
        x: &SparseBatch<F>,
        parameters: &[Array2<F>],
        mut y: ArrayViewMut2<'_, F>,
        relu: bool,
    ) {
        x.times(&parameters[0], parameters.get(1), y.view_mut());
        if relu {
            relu::in_place(y);
        }
    }

    /// The gradients by the parameters.
    pub(super) fn sparse_backward<F: Float>(
        x: &SparseBatch<F>,
        dy: ArrayView2<'_, F>,
        gradients: &mut [Array2<F>],
    ) {
        x.transposed_times(dy, &mut gradients[0]);
        sum_of_rows(dy, gradients.get_mut(1));
    }
}

/// The gradient by the bias, if there is one.
fn sum_of_rows<F: Float>(dy: ArrayView2<'_, F>, db: Option<&mut Array2<F>>) {
    let Some(db) = db else {
        return;
    };
    let mut db = db.row_mut(0);
    db.fill(F::zero());
    for row in dy.axis_iter(Axis(0)) {
        db += &row;
    }
}
