use ndarray::Axis;

use super::{Backward, Float, Forward, Layer};

/// `y = x·w + b`; `dx = dy·wᵀ`, `dw = xᵀ·dy`, `db = Σ_rows dy`.
#[derive(Debug, Clone, Copy)]
pub struct Linear;

impl<F: Float> Layer<F> for Linear {
    fn forward(&self, pass: Forward<'_, F>) {
        let (x, w, b, mut y) = (pass.x, &pass.parameters[0], &pass.parameters[1], pass.y);
        y.assign(&(x.dot(w) + b));
    }

    fn backward(&self, pass: Backward<'_, F>) {
        let (x, dy, w) = (pass.x, pass.dy, &pass.parameters[0]);
        if let Some(mut dx) = pass.dx {
            dx.assign(&dy.dot(&w.t()));
        }
        pass.gradients[0].assign(&x.t().dot(&dy));
        pass.gradients[1].row_mut(0).assign(&dy.sum_axis(Axis(0)));
    }
}
