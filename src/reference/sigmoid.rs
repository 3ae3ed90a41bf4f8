use ndarray::Zip;

use super::{Backward, Float, Forward, Layer};

/// Logistic sigmoid: `y = 1 / (1 + e⁻ˣ)`; `dx = dy·(1 − y)·y`.
#[derive(Debug, Clone, Copy)]
pub struct Sigmoid;

impl<F: Float> Layer<F> for Sigmoid {
    fn forward(&self, mut pass: Forward<'_, F>) {
        Zip::from(&mut pass.y)
            .and(&pass.x)
            .for_each(|y, &x| *y = F::one() / (F::one() + (-x).exp()));
    }

    fn backward(&self, pass: Backward<'_, F>) {
        if let Some(mut dx) = pass.dx {
            Zip::from(&mut dx)
                .and(&pass.y)
                .and(&pass.dy)
                .for_each(|dx, &y, &dy| {
                    *dx = dy * (F::one() - y) * y;
                });
        }
    }
}
