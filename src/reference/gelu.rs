use ndarray::Zip;

use super::{Backward, Float, Forward, Layer};

/// Gaussian error linear unit: `y = x·Φ(x)`; `dx = dy·(Φ(x) + x·φ(x))`, with the standard normal distribution function
/// Φ and its density φ.
#[derive(Debug, Clone, Copy)]
pub struct Gelu;

/// Returns `Φ(x) = erfc(−x/√2)/2`. It equals `(1 + erf(x/√2))/2`, but has no cancellation for `x < 0`.
fn distribution(x: f64) -> f64 {
    0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt()
}

impl<F: Float> Layer<F> for Gelu {
    fn forward(&self, mut pass: Forward<'_, F>) {
        Zip::from(&mut pass.y).and(&pass.x).for_each(|y, &x| {
            *y = x * F::from_f64(distribution(x.into_f64()));
        });
    }

    fn backward(&self, pass: Backward<'_, F>) {
        if let Some(mut dx) = pass.dx {
            Zip::from(&mut dx)
                .and(&pass.x)
                .and(&pass.dy)
                .for_each(|dx, &x, &dy| {
                    let x = x.into_f64();
                    *dx = dy * F::from_f64(distribution(x) + x * density(x));
                });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{density, distribution};

    /// Compares with values that are known to 30 digits, up to the last bits of `f64`.
    #[test]
    fn the_normal_distribution_is_that_of_tables() {
        for (x, expected) in TABLE {
            let found = distribution(x);
            // The relative rounding error of the argument is multiplied by x·φ/Φ, which is at most about x² + 1.
            let error = (4.0 + x * x) * f64::EPSILON * expected;
            assert!(
                (found - expected).abs() <= error,
                "{x}: {found:e} {expected:e}"
            );
        }
        assert!((density(0.0) - 0.398_942_280_401_432_7).abs() <= f64::EPSILON);
    }

    const TABLE: [(f64, f64); 6] = [
        (-30.0, 4.906_713_927_148_187e-198),
        (-5.0, 2.866_515_718_791_939e-7),
        (-1.0, 0.158_655_253_931_457_05),
        (0.0, 0.5),
        (0.5, 0.691_462_461_274_013_1),
        (2.0, 0.977_249_868_051_820_8),
    ];
}
