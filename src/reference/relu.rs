use ndarray::Zip;

use super::{Backward, Float, Forward, Layer};

/// Rectified linear unit: `y = x` and `dx = dy` where `x > 0`, else both are 0. A NaN counts as above 0.
#[derive(Debug, Clone, Copy)]
pub struct Relu;

impl<F: Float> Layer<F> for Relu {
    fn forward(&self, mut pass: Forward<'_, F>) {
        Zip::from(&mut pass.y).and(&pass.x).for_each(|y, &x| {
            // Not `max`, which would turn NaN into 0.
            *y = if x <= F::zero() { F::zero() } else { x };
        });
    }

    fn backward(&self, pass: Backward<'_, F>) {
        if let Some(mut dx) = pass.dx {
            Zip::from(&mut dx)
                .and(&pass.x)
                .and(&pass.dy)
                .for_each(|dx, &x, &dy| {
                    *dx = if x <= F::zero() { F::zero() } else { dy };
                });
        }
    }
}
