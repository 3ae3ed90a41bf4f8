use super::{Backward, Float, Forward, Layer};

/// Flattening: `y = x`, `dx = dy`. The arrays hold each row as a vector already.
#[derive(Debug, Clone, Copy)]
pub struct Flatten;

impl<F: Float> Layer<F> for Flatten {
    fn forward(&self, mut pass: Forward<'_, F>) {
        pass.y.assign(&pass.x);
    }

    fn backward(&self, pass: Backward<'_, F>) {
        if let Some(mut dx) = pass.dx {
            dx.assign(&pass.dy);
        }
    }
}
