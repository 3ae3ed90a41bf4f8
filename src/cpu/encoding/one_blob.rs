use multiversion::multiversion;

use super::Points;
use crate::cpu::activation::exp;
use crate::reference;
use crate::reference::Layer;

/// The encoding of a number by a Gaussian around it: see [`crate::ops::OneBlob`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Blobs {
    pub(super) bins: usize,
}

impl Points for Blobs {
    fn sizes(&self) -> [usize; 2] {
        [1, self.bins]
    }

    fn definition(&self) -> impl Layer<f64> {
        reference::OneBlob { bins: self.bins }
    }

    fn encode(&self, x: &[f32], y: &mut [f32]) {
        blobs(x, y, self.bins);
    }

    fn gradient(&self, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        slopes(x, dy, dx, self.bins);
    }
}

/// Returns the distance of `x` from the center of bin `bin`, in bins, clamped to 15 bins, and the Gaussian at that
/// distance. (At 15 bins, the Gaussian is 0.)
#[inline(always)]
fn blob(x: f32, bin: usize, bins: f32) -> [f32; 2] {
    let u = (bins * x - (bin as f32 + 0.5)).clamp(-15.0, 15.0);
    [u, exp(-0.5 * (u * u))]
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn blobs(x: &[f32], y: &mut [f32], bins: usize) {
    for (&x, y) in x.iter().zip(y.chunks_exact_mut(bins)) {
        for (bin, y) in y.iter_mut().enumerate() {
            *y = blob(x, bin, bins as f32)[1];
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn slopes(x: &[f32], dy: &[f32], dx: &mut [f32], bins: usize) {
    for ((&x, dy), dx) in x.iter().zip(dy.chunks_exact(bins)).zip(dx) {
        let mut sum = 0.0;
        for (bin, &dy) in dy.iter().enumerate() {
            let [u, height] = blob(x, bin, bins as f32);
            sum += dy * (u * height);
        }
        *dx = -(bins as f32) * sum;
    }
}

#[cfg(test)]
mod tests {
    use super::Blobs;
    use crate::cpu::encoding::testing::{ROUNDING, passes};

    /// The numbers are between 0 and 1, just outside this range, and very far away.
    #[test]
    fn blobs_are_as_defined() {
        let near = (-5000..25_000).map(|at| at as f32 / 20_000.0);
        let x: Vec<f32> = near.chain([1e9, -1e9, 1e38]).collect();
        for bins in [1, 4, 33] {
            let [[y, dx], [expected, of_input]] = passes(Blobs { bins }, &x);
            let size = bins as f64;
            for (found, expected) in y.iter().zip(&expected) {
                // The distance `u` is at most 1.5 · bins and has an error of two roundings. The slope of e^(−u²/2) is
                // at most e^(−½). The exponential adds a relative error of 4 roundings, and its exponent one rounding.
                let error = (3.0 * size * 0.61 + 6.0) * ROUNDING;
                assert!((found - expected).abs() <= error, "{found:e} {expected:e}");
            }
            for (found, expected) in dx.iter().zip(&of_input) {
                // The slope of u·e^(−u²/2) is at most 1, and the sum of u·e^(−u²/2) over all bins is at most 2.
                let error = size * (3.0 * size + 14.0 + size) * ROUNDING * 2.0;
                assert!((found - expected).abs() <= error, "{found:e} {expected:e}");
            }
        }
    }

    #[test]
    fn a_nan_stays_one() {
        let [[y, dx], _] = passes(Blobs { bins: 3 }, &[f32::NAN, 0.5]);
        assert!(y.row(0).iter().all(|y| y.is_nan()) && dx[[0, 0]].is_nan());
        assert!(y.row(1).iter().all(|y| y.is_finite()) && dx[[1, 0]].is_finite());
    }
}
