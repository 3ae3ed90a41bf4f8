use ndarray::Zip;

use super::{Backward, Float, Forward, Layer};

/// Hyperbolic tangent: `y = tanh x`; `dx = dy·(1 − y²)`.
#[derive(Debug, Clone, Copy)]
pub struct Tanh;

impl<F: Float> Layer<F> for Tanh {
    fn forward(&self, mut pass: Forward<'_, F>) {
        Zip::from(&mut pass.y)
            .and(&pass.x)
            .for_each(|y, &x| *y = x.tanh());
    }

    fn backward(&self, pass: Backward<'_, F>) {
        if let Some(mut dx) = pass.dx {
            Zip::from(&mut dx)
                .and(&pass.y)
                .and(&pass.dy)
                .for_each(|dx, &y, &dy| {
                    // Not `1 − y·y`: if `y` is almost ±1, only the rounding error of `y·y` would be left.
                    *dx = dy * (F::one() - y) * (F::one() + y);
                });
        }
    }
}
