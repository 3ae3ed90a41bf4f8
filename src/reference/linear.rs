use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};

use super::{Backward, Float, Layer};

/// `y = x·w + b`; `dx = dy·wᵀ`, `dw = xᵀ·dy`, `db = Σ_rows dy`.
#[derive(Debug, Clone, Copy)]
pub struct Linear;

impl<F: Float> Layer<F> for Linear {
    fn forward(&self, x: ArrayView2<'_, F>, parameters: &[Array2<F>], mut y: ArrayViewMut2<'_, F>) {
        let [w, b] = [&parameters[0], &parameters[1]];
        y.assign(b);
        general_mat_mul(F::one(), &x, w, F::one(), &mut y);
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
        let (zero, one) = (F::zero(), F::one());
        if let Some(mut dx) = dx {
            general_mat_mul(one, &dy, &w.t(), zero, &mut dx);
        }
        general_mat_mul(one, &x.t(), &dy, zero, &mut gradients[0]);
        let mut db = gradients[1].row_mut(0);
        db.fill(zero);
        for row in dy.axis_iter(Axis(0)) {
            db += &row;
        }
    }
}
