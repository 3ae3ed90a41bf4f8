use std::f64::consts::PI;

use super::{Backward, Float, Forward, Layer};

/// Real spherical harmonics of the degrees below `degrees`, as polynomials of (x, y, z). Harmonic m of degree l is
/// output `l² + l + m`, and equals `N·Πₗ^|m|(z)·Cₘ(x, y)`. Here `Πₗᵐ` is the m-th derivative of Legendre's polynomial.
/// With `x + iy = r·e^(iφ)`, `Cₘ` is `rᵐ·cos(mφ)` or, for m < 0, `r^|m|·sin(|m|φ)`. `N` has the sign `(−1)ᵐ`. Its
/// magnitude is such that the integral of a harmonic's square over the sphere is 1.
#[derive(Debug, Clone, Copy)]
pub struct SphericalHarmonics {
    /// Number of degrees, from degree 0 on.
    pub degrees: usize,
}

fn factorial(n: usize) -> f64 {
    (1..=n).map(|factor| factor as f64).product()
}

fn choose(n: usize, k: usize) -> f64 {
    factorial(n) / factorial(k) / factorial(n - k)
}

/// Returns `n` as an exponent.
fn to_i32(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// Returns the m-th derivative of `P_l(z) = 2⁻ˡ Σ_k (−1)ᵏ·C(l,k)·C(2l−2k,l)·z^(l−2k)`.
fn legendre(l: usize, m: usize, z: f64) -> f64 {
    let powers = (0..=l / 2).filter(|k| l - 2 * k >= m);
    let terms = powers.map(|k| {
        let power = l - 2 * k;
        let sign = if k.is_multiple_of(2) { 1.0 } else { -1.0 };
        let coefficient = sign * choose(l, k) * choose(2 * l - 2 * k, l);
        coefficient * factorial(power) / factorial(power - m) * z.powi(to_i32(power - m))
    });
    terms.sum::<f64>() / 2f64.powi(to_i32(l))
}

/// Returns `rᵐ·cos(mφ)` and `rᵐ·sin(mφ)`.
fn circular(m: usize, [x, y]: [f64; 2]) -> [f64; 2] {
    let (sine, cosine) = (m as f64 * y.atan2(x)).sin_cos();
    let size = x.hypot(y).powi(to_i32(m));
    [size * cosine, size * sine]
}

/// Returns a harmonic's value, followed by its gradient with respect to x, y and z.
fn harmonic(l: usize, m: usize, is_sine: bool, [x, y, z]: [f64; 3]) -> [f64; 4] {
    let part = |of: [f64; 2]| of[usize::from(is_sine)];
    let degrees = (2 * l + 1) as f64 / (4.0 * PI);
    let twice = if m == 0 { 1.0 } else { 2.0 };
    let sign = if m.is_multiple_of(2) { 1.0 } else { -1.0 };
    let norm = sign * (twice * degrees * factorial(l - m) / factorial(l + m)).sqrt();
    let around = part(circular(m, [x, y]));
    let [by_x, by_y] = match m {
        0 => [0.0; 2],
        _ => {
            let [cosine, sine] = circular(m - 1, [x, y]).map(|of| m as f64 * of);
            [part([cosine, sine]), part([-sine, cosine])]
        }
    };
    let along = legendre(l, m, z);
    let of_z = legendre(l, m + 1, z) * around;
    [along * around, along * by_x, along * by_y, of_z].map(|of| norm * of)
}

impl SphericalHarmonics {
    /// Returns the values and the gradients of all harmonics, in the order of the outputs.
    fn all(self, v: [f64; 3]) -> impl Iterator<Item = [f64; 4]> {
        (0..self.degrees).flat_map(move |l| {
            let below = (1..=l).rev().map(|m| (m, true));
            let rest = (0..=l).map(|m| (m, false));
            let all = below.chain(rest);
            all.map(move |(m, is_sine)| harmonic(l, m, is_sine, v))
        })
    }
}

impl<F: Float> Layer<F> for SphericalHarmonics {
    fn forward(&self, mut pass: Forward<'_, F>) {
        for (x, mut y) in pass.x.outer_iter().zip(pass.y.outer_iter_mut()) {
            let v = [x[0], x[1], x[2]].map(Float::into_f64);
            for (y, [value, ..]) in y.iter_mut().zip(self.all(v)) {
                *y = F::from_f64(value);
            }
        }
    }

    fn backward(&self, pass: Backward<'_, F>) {
        let Some(mut dx) = pass.dx else { return };
        let rows = pass.x.outer_iter().zip(pass.dy.outer_iter());
        for ((x, dy), mut dx) in rows.zip(dx.outer_iter_mut()) {
            let v = [x[0], x[1], x[2]].map(Float::into_f64);
            let mut sums = [0.0; 3];
            for (dy, [_, slopes @ ..]) in dy.iter().zip(self.all(v)) {
                for (sum, slope) in sums.iter_mut().zip(slopes) {
                    *sum += dy.into_f64() * slope;
                }
            }
            for (dx, sum) in dx.iter_mut().zip(sums) {
                *dx = F::from_f64(sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::SphericalHarmonics;

    fn values(degrees: usize, v: [f64; 3]) -> Vec<f64> {
        let all = SphericalHarmonics { degrees }.all(v);
        all.map(|[value, ..]| value).collect()
    }

    /// Returns the nodes and weights of the Gauss–Legendre quadrature over −1 to 1 with `n` nodes. It is exact for
    /// polynomials of degrees up to 2n − 1.
    fn nodes(n: usize) -> Vec<[f64; 2]> {
        let of_index = |index: usize| {
            let mut z = (PI * (index as f64 + 0.75) / (n as f64 + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..50 {
                slope = super::legendre(n, 1, z);
                z -= super::legendre(n, 0, z) / slope;
            }
            [z, 2.0 / ((1.0 - z * z) * slope * slope)]
        };
        (0..n).map(of_index).collect()
    }

    /// Integrates with a quadrature that is exact for products of two harmonics.
    #[test]
    fn harmonics_are_orthonormal_over_the_sphere() {
        let degrees = 8;
        let around = 16;
        let mut products = vec![0.0; 64 * 64];
        for [z, weight] in nodes(8) {
            let radius = (1.0 - z * z).sqrt();
            for step in 0..around {
                let angle = 2.0 * PI * (f64::from(step) + 0.3) / f64::from(around);
                let (sine, cosine) = angle.sin_cos();
                let all = values(degrees, [radius * cosine, radius * sine, z]);
                for (at, product) in products.iter_mut().enumerate() {
                    let area = weight * 2.0 * PI / f64::from(around);
                    *product += area * all[at / 64] * all[at % 64];
                }
            }
        }
        for (at, product) in products.into_iter().enumerate() {
            let expected = if at / 64 == at % 64 { 1.0 } else { 0.0 };
            assert!((product - expected).abs() < 1e-12, "{at}: {product}");
        }
    }

    /// Compares with the closed forms of degrees 0 to 2.
    #[test]
    fn order_and_signs_are_those_of_condon_and_shortley() {
        let v @ [x, y, z] = [0.48, -0.6, 0.64];
        let [half, one, two] = [1.0, 3.0, 15.0].map(|of| f64::sqrt(of / (4.0 * PI)));
        let five = (5.0 / (16.0 * PI)).sqrt();
        let expected = [
            half,
            -one * y,
            one * z,
            -one * x,
            two * x * y,
            -two * y * z,
            five * (3.0 * z * z - 1.0),
            -two * x * z,
            0.5 * two * (x * x - y * y),
        ];
        for (found, expected) in values(3, v).into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-15, "{found} {expected}");
        }
    }
}
