use ndarray::Axis;

use super::{Backward, Float, Forward, Layer};

/// Fully connected layer: `y = x·w + b`; `dx = dy·wᵀ`, `dw = xᵀ·dy`, `db = Σ_rows dy`. A layer without the parameter
/// `b` omits it.
#[derive(Debug, Clone, Copy)]
pub struct Linear;

impl<F: Float> Layer<F> for Linear {
    fn forward(&self, pass: Forward<'_, F>) {
        let x = pass.x;
        let w = &pass.parameters[0];
        let mut y = pass.y;
        match pass.parameters.get(1) {
            Some(b) => y.assign(&(x.dot(w) + b)),
            None => y.assign(&x.dot(w)),
        }
    }

    fn backward(&self, pass: Backward<'_, F>) {
        let x = pass.x;
        let dy = pass.dy;
        let w = &pass.parameters[0];
        if let Some(mut dx) = pass.dx {
            dx.assign(&dy.dot(&w.t()));
        }
        pass.gradients[0].assign(&x.t().dot(&dy));
        if let Some(db) = pass.gradients.get_mut(1) {
            db.row_mut(0).assign(&dy.sum_axis(Axis(0)));
        }
    }
}
