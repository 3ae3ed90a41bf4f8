use ndarray::Zip;

use super::{Backward, Float, Forward, Layer};

/// An activation: `y = f(x)`; `dx = dy·f′(x)`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elementwise {
    pub(super) function: fn(f64) -> f64,
    pub(super) derivative: fn(f64) -> f64,
}

impl<F: Float> Layer<F> for Elementwise {
    fn forward(&self, mut pass: Forward<'_, F>) {
        Zip::from(&mut pass.y)
            .and(&pass.x)
            .for_each(|y, &x| *y = F::from_f64((self.function)(x.into_f64())));
    }

    fn backward(&self, pass: Backward<'_, F>) {
        if let Some(mut dx) = pass.dx {
            Zip::from(&mut dx)
                .and(&pass.x)
                .and(&pass.dy)
                .for_each(|dx, &x, &dy| {
                    *dx = dy * F::from_f64((self.derivative)(x.into_f64()));
                });
        }
    }
}
