use ndarray::{Array2, ArrayView2, ArrayViewMut2, Zip};

use super::{Backward, Float, Layer};

/// `y = tanh x`; `dx = dy·(1 − y²)`.
#[derive(Debug, Clone, Copy)]
pub struct Tanh;

impl<F: Float> Layer<F> for Tanh {
    fn forward(&self, x: ArrayView2<'_, F>, _: &[Array2<F>], mut y: ArrayViewMut2<'_, F>) {
        Zip::from(&mut y).and(&x).for_each(|y, &x| *y = x.tanh());
    }

    fn backward(&self, pass: Backward<'_, F>) {
        if let Some(mut dx) = pass.dx {
            Zip::from(&mut dx)
                .and(&pass.y)
                .and(&pass.dy)
                .for_each(|dx, &y, &dy| {
                    // Not `1 − y·y`, whose rounding is all that is left of it where y is almost ±1.
                    *dx = dy * (F::one() - y) * (F::one() + y);
                });
        }
    }
}
