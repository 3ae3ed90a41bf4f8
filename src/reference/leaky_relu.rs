use ndarray::Zip;

use super::{Backward, Float, Forward, Layer};

/// Leaky rectified linear unit: `y = x` and `dx = dy` where `x > 0`, else `y = negative_slope·x` and
/// `dx = negative_slope·dy`.
#[derive(Debug, Clone, Copy)]
pub struct LeakyRelu {
    /// Slope for negative inputs: `dy/dx` where `x ≤ 0`.
    pub negative_slope: f32,
}

impl<F: Float> Layer<F> for LeakyRelu {
    fn forward(&self, mut pass: Forward<'_, F>) {
        let slope = F::from_f64(self.negative_slope.into());
        Zip::from(&mut pass.y).and(&pass.x).for_each(|y, &x| {
            *y = if x > F::zero() { x } else { slope * x };
        });
    }

    fn backward(&self, pass: Backward<'_, F>) {
        let slope = F::from_f64(self.negative_slope.into());
        if let Some(mut dx) = pass.dx {
            Zip::from(&mut dx)
                .and(&pass.x)
                .and(&pass.dy)
                .for_each(|dx, &x, &dy| {
                    *dx = if x > F::zero() { dy } else { slope * dy };
                });
        }
    }
}
