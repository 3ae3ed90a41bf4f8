use ndarray::{Array2, ArrayView2, ArrayViewMut2, Zip};

use super::{Backward, Float, Layer};

/// `y = 1 / (1 + e⁻ˣ)`; `dx = dy·(1 − y)·y`.
#[derive(Debug, Clone, Copy)]
pub struct Sigmoid;

impl<F: Float> Layer<F> for Sigmoid {
    fn forward(&self, x: ArrayView2<'_, F>, _: &[Array2<F>], mut y: ArrayViewMut2<'_, F>) {
        Zip::from(&mut y)
            .and(&x)
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
