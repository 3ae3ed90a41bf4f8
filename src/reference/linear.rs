use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};

use super::product::{add_product, product};
use super::{Backward, Float, Forward, Layer, SparseBatch, SparseLayer};

/// `y = x·w + b`; `dx = dy·wᵀ`, `dw = xᵀ·dy`, `db = Σ_rows dy`.
#[derive(Debug, Clone, Copy)]
pub struct Linear;

impl<F: Float> Layer<F> for Linear {
    fn forward(&self, pass: Forward<'_, F>) {
        let Forward {
            x,
            parameters,
            mut y,
            ..
        } = pass;
        y.assign(&parameters[1]);
        add_product(&x, &parameters[0], &mut y);
    }

    fn backward(&self, pass: Backward<'_, F>) {
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
        }
        product(&x.t(), &dy, &mut gradients[0].view_mut());
        sum_of_rows(dy, &mut gradients[1]);
    }

    fn sparse(&self) -> Option<&dyn SparseLayer<F>> {
        Some(self)
    }
}

impl<F: Float> SparseLayer<F> for Linear {
    fn forward(&self, x: &SparseBatch<F>, parameters: &[Array2<F>], y: ArrayViewMut2<'_, F>) {
        x.times(&parameters[0], &parameters[1], y);
    }

    fn backward(&self, x: &SparseBatch<F>, dy: ArrayView2<'_, F>, gradients: &mut [Array2<F>]) {
        x.transposed_times(dy, &mut gradients[0]);
        sum_of_rows(dy, &mut gradients[1]);
    }
}

fn sum_of_rows<F: Float>(dy: ArrayView2<'_, F>, db: &mut Array2<F>) {
    let mut db = db.row_mut(0);
    db.fill(F::zero());
    for row in dy.axis_iter(Axis(0)) {
        db += &row;
    }
}
