use std::f64::consts::PI;

use multiversion::multiversion;

use super::Points;
use crate::reference::{self, Float as _, Layer};

/// Maximum number of degrees.
const MOST: usize = 8;

/// The encoding of a direction by spherical harmonics: see [`crate::ops::SphericalHarmonics`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Harmonics {
    degrees: usize,
    /// Normalization factors, indexed by degree l and order m, as in `shaders/spherical_harmonics.wgsl`.
    norms: [[f32; MOST]; MOST],
}

impl Harmonics {
    /// Makes the harmonics of the degrees 0 to `degrees` − 1; `degrees` is at most 8.
    pub(super) fn new(degrees: usize) -> Self {
        let mut norms = [[0.0; MOST]; MOST];
        for (l, norms) in norms.iter_mut().enumerate() {
            // `quotient` is (l − m)!/(l + m)!, updated from each m to the next.
            let mut quotient = 1.0;
            for (m, norm_of) in norms.iter_mut().enumerate().take(l + 1) {
                let twice = if m == 0 { 1.0 } else { 2.0 };
                let norm = (twice * (2 * l + 1) as f64 / (4.0 * PI) * quotient).sqrt();
                *norm_of = f32::from_f64(if m % 2 == 0 { norm } else { -norm });
                quotient /= ((l + m + 1) * (l - m).max(1)) as f64;
            }
        }
        Self { degrees, norms }
    }
}

impl Points for Harmonics {
    fn sizes(&self) -> [usize; 2] {
        [3, self.degrees * self.degrees]
    }

    fn definition(&self) -> impl Layer<f64> {
        reference::SphericalHarmonics {
            degrees: self.degrees,
        }
    }

    fn encode(&self, x: &[f32], y: &mut [f32]) {
        harmonics(self, x, y);
    }

    fn gradient(&self, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        slopes(self, x, dy, dx);
    }
}

/// The m-th derivatives of the Legendre polynomials of degree l at `z`, as `legendre[l][m]`, and the real and imaginary
/// parts of the powers of `x + iy`.
struct Factors {
    legendre: [[f32; MOST + 1]; MOST],
    powers: [[f32; 2]; MOST],
}

impl Factors {
    #[inline(always)]
    fn of(&[x, y, z]: &[f32; 3], degrees: usize) -> Self {
        let mut factors = Self {
            legendre: [[0.0; MOST + 1]; MOST],
            powers: [[1.0, 0.0]; MOST],
        };
        let Self { legendre, powers } = &mut factors;
        let mut first = 1.0;
        for m in 0..degrees {
            let [mut before, mut value] = [0.0, first];
            legendre[m][m] = first;
            for (l, legendre) in legendre.iter_mut().enumerate().take(degrees).skip(m + 1) {
                let next = (2 * l - 1) as f32 * z * value - (l + m - 1) as f32 * before;
                (before, value) = (value, next / (l - m) as f32);
                legendre[m] = value;
            }
            first *= (2 * m + 1) as f32;
            if m > 0 {
                let [real, imaginary] = powers[m - 1];
                powers[m] = [real * x - imaginary * y, real * y + imaginary * x];
            }
        }
        factors
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn harmonics(of: &Harmonics, x: &[f32], y: &mut [f32]) {
    let degrees = of.degrees;
    let rows = x.as_chunks::<3>().0.iter();
    for (v, y) in rows.zip(y.chunks_exact_mut(degrees * degrees)) {
        let Factors { legendre, powers } = Factors::of(v, degrees);
        let of_degrees = legendre.iter().zip(&of.norms).take(degrees);
        for (l, (legendre, norms)) in of_degrees.enumerate() {
            let middle = l * l + l;
            y[middle] = norms[0] * legendre[0];
            for m in 1..=l {
                let factor = norms[m] * legendre[m];
                let [real, imaginary] = powers[m];
                y[middle + m] = factor * real;
                y[middle - m] = factor * imaginary;
            }
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn slopes(of: &Harmonics, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    let degrees = of.degrees;
    let rows = x.as_chunks::<3>().0.iter();
    let rows = rows.zip(dx.as_chunks_mut::<3>().0);
    for ((v, dx), dy) in rows.zip(dy.chunks_exact(degrees * degrees)) {
        let Factors { legendre, powers } = Factors::of(v, degrees);
        let mut sum = [0.0; 3];
        let of_degrees = legendre.iter().zip(&of.norms).take(degrees);
        for (l, (legendre, norms)) in of_degrees.enumerate() {
            let middle = l * l + l;
            sum[2] += norms[0] * dy[middle] * legendre[1];
            for m in 1..=l {
                let of_norm = [dy[middle + m], dy[middle - m]].map(|dy| norms[m] * dy);
                let [along, slope] = [legendre[m], legendre[m + 1]];
                let below = powers[m - 1].map(|part| m as f32 * part);
                sum[0] += along * (of_norm[0] * below[0] + of_norm[1] * below[1]);
                sum[1] += along * (of_norm[1] * below[0] - of_norm[0] * below[1]);
                sum[2] += slope * (of_norm[0] * powers[m][0] + of_norm[1] * powers[m][1]);
            }
        }
        *dx = sum;
    }
}

#[cfg(test)]
mod tests {
    use super::{Harmonics, MOST};
    use crate::cpu::encoding::testing::{ROUNDING, passes};

    /// Returns directions all over the sphere, including its poles.
    fn directions() -> Vec<f32> {
        let golden = std::f32::consts::PI * (3.0 - 5.0f32.sqrt());
        let spiral = (0..3000).flat_map(|at| {
            let z = 1.0 - at as f32 / 1499.5;
            let (sine, cosine) = (at as f32 * golden).sin_cos();
            let radius = (1.0 - z * z).max(0.0).sqrt();
            [radius * cosine, radius * sine, z]
        });
        spiral.collect()
    }

    #[test]
    fn harmonics_are_as_defined() {
        for degrees in 1..=MOST {
            let [[y, dx], [expected, of_input]] = passes(Harmonics::new(degrees), &directions());
            // The recurrence and the powers take up to seven rounds of four operations each, on numbers that are at
            // most a few times as large as the result. A harmonic is at most √(15/4π), and its slope is at most l + 1
            // times as large.
            let error = 4.0 * 28.0 * ROUNDING * 1.1;
            for (found, expected) in y.iter().zip(&expected) {
                assert!((found - expected).abs() <= error, "{found:e} {expected:e}");
            }
            let outputs = (degrees * degrees * degrees) as f64;
            for (found, expected) in dx.iter().zip(&of_input) {
                let apart = (found - expected).abs();
                assert!(apart <= outputs * error, "{found:e} {expected:e}");
            }
        }
    }
}
