//! Central differences in `f64`, with bounds for their distance from the true slope.

use ndarray::Array2;

use crate::error::CheckError;

/// The smaller of the two step sizes with which [`slope`] computes a central difference. It is relative to the
/// magnitude of the changed number, or to 1 if this magnitude is smaller than 1.
const H: f64 = 1.0 / (1 << 17) as f64;
/// Bound for all errors other than rounding, a kink, and the step size; relative to 1 + |slope|.
const REST: f64 = 1e-7;
/// Maximum number of tested elements per tensor.
const ELEMENTS: usize = 256;

/// Returns the indices of the tested elements, which are evenly spread.
pub(crate) fn sampled(elements: usize) -> impl Iterator<Item = usize> {
    (0..elements).step_by(elements.div_ceil(ELEMENTS).max(1))
}

/// The one-sided slopes of `Σ weight·output` with respect to one number.
struct Slopes {
    left: f64,
    right: f64,
    /// `Σ |weight·output|` over the outputs that change.
    magnitude: f64,
}

impl Slopes {
    fn central(&self) -> f64 {
        f64::midpoint(self.left, self.right)
    }
}

/// Computes the slope of `Σ weight·output` with respect to a number with the value `value`, and a bound for the
/// distance of the computed slope from the true one. `outputs` computes the outputs from the number; `at` are the
/// outputs for `value`.
pub(crate) fn slope(
    value: f64,
    weights: &Array2<f64>,
    at: &Array2<f64>,
    mut outputs: impl FnMut(f64) -> Result<Array2<f64>, CheckError>,
) -> Result<[f64; 2], CheckError> {
    let mut slopes = |h: f64| {
        let [above, below] = [outputs(value + h)?, outputs(value - h)?];
        let [mut left, mut right, mut magnitude] = [0.0; 3];
        let sides = above.iter().zip(&below);
        for ((&y, &weight), (&above, &below)) in at.iter().zip(weights).zip(sides) {
            right += weight * (above - y) / h;
            left += weight * (y - below) / h;
            if above != y || below != y {
                magnitude += (weight * y).abs();
            }
        }
        Ok::<_, CheckError>(Slopes {
            left,
            right,
            magnitude,
        })
    };
    let h = H * value.abs().max(1.0);
    let coarse = slopes(2.0 * h)?;
    let fine = slopes(h)?;
    let slope = fine.central();
    let kink = (fine.right - fine.left).abs() / 2.0;
    let halving = 2.0 * (coarse.central() - slope).abs();
    let rounding = 16.0 * f64::EPSILON * fine.magnitude / h;
    Ok([
        slope,
        kink + halving + rounding + REST * (1.0 + slope.abs()),
    ])
}
