use super::{Backward, Float, Forward, Layer};

/// One-blob encoding: `y_k = exp(−u²/2)` with `u = bins·x − (k + ½)`, for each input `x` and each bin `k`. All outputs
/// of one input are next to each other. `dx = −bins·Σ_k dy_k·u·y_k`.
#[derive(Debug, Clone, Copy)]
pub struct OneBlob {
    /// Number of bins per input.
    pub bins: usize,
}

impl OneBlob {
    /// Returns the distance from the center of a bin to `x`, in widths of a bin.
    fn distance(self, x: f64, bin: usize) -> f64 {
        self.bins as f64 * x - (bin as f64 + 0.5)
    }
}

fn gaussian(u: f64) -> f64 {
    (-0.5 * u * u).exp()
}

impl<F: Float> Layer<F> for OneBlob {
    fn forward(&self, mut pass: Forward<'_, F>) {
        for (x, mut y) in pass.x.outer_iter().zip(pass.y.outer_iter_mut()) {
            for (&x, mut y) in x.iter().zip(y.exact_chunks_mut(self.bins)) {
                for (bin, y) in y.iter_mut().enumerate() {
                    *y = F::from_f64(gaussian(self.distance(x.into_f64(), bin)));
                }
            }
        }
    }

    fn backward(&self, pass: Backward<'_, F>) {
        let Some(mut dx) = pass.dx else { return };
        let rows = pass.x.outer_iter().zip(pass.dy.outer_iter());
        for ((x, dy), mut dx) in rows.zip(dx.outer_iter_mut()) {
            for ((&x, dy), dx) in x.iter().zip(dy.exact_chunks(self.bins)).zip(&mut dx) {
                let slopes = dy.iter().enumerate().map(|(bin, dy)| {
                    let u = self.distance(x.into_f64(), bin);
                    dy.into_f64() * u * gaussian(u)
                });
                let sum: f64 = slopes.sum();
                *dx = F::from_f64(-(self.bins as f64) * sum);
            }
        }
    }
}
