use multiversion::multiversion;

use super::Points;
use crate::reference;
use crate::reference::Layer;

/// The encoding of a number by sines and cosines: see [`crate::ops::Frequency`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Waves {
    pub(super) octaves: usize,
}

impl Points for Waves {
    fn sizes(&self) -> [usize; 2] {
        [1, 2 * self.octaves]
    }

    fn definition(&self) -> impl Layer<f64> {
        reference::Frequency {
            octaves: self.octaves,
        }
    }

    fn encode(&self, x: &[f32], y: &mut [f32]) {
        waves(x, y, self.octaves);
    }

    fn gradient(&self, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        slopes(x, dy, dx, self.octaves);
    }
}

/// Returns `2ⁿ`, which must be a normal number.
#[inline(always)]
fn power_of_two(n: usize) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "an octave, at most 31")]
    f32::from_bits((n as u32 + 127) << 23)
}

/// Returns `sin(2π·turns)` and `cos(2π·turns)`. `shaders/frequency.wgsl` explains the polynomials and their error.
#[inline(always)]
fn wave(turns: f32) -> [f32; 2] {
    let f = turns - turns.round_ties_even();
    let quarter = (4.0 * f).round_ties_even();
    let p = f - 0.25 * quarter;
    let z = p * p;
    let sine = p * (6.283_185_5 + z * (-41.341_663 + z * (81.592_545 + z * -75.401_61)));
    let cosine = 1.0 + z * (-19.739_208 + z * (64.939_37 + z * (-85.448_82 + z * 59.424_107)));
    // Adding 1.5·2²³ puts the integer `quarter`, −2 to 2, into the last bits. The last two bits select the quarter of
    // the turn.
    let q = (quarter + 12_582_912.0).to_bits();
    let [a, b] = if q & 1 == 0 {
        [sine, cosine]
    } else {
        [cosine, -sine]
    };
    if q & 2 == 0 { [a, b] } else { [-a, -b] }
}

/// Returns half of `x`: the angle `π·x` in turns. From 2²⁴ on, all `f32` are even numbers, for which the angle is a
/// number of whole turns. For these, returns 0, because their multiples could overflow; for infinity, returns NaN.
#[inline(always)]
fn half(x: f32) -> f32 {
    0.5 * if x.abs() < 16_777_216.0 { x } else { 0.0 * x }
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn waves(x: &[f32], y: &mut [f32], octaves: usize) {
    for (&x, y) in x.iter().zip(y.chunks_exact_mut(2 * octaves)) {
        let half = half(x);
        for (octave, pair) in y.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            *pair = wave(half * power_of_two(octave));
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn slopes(x: &[f32], dy: &[f32], dx: &mut [f32], octaves: usize) {
    for ((&x, dy), dx) in x.iter().zip(dy.chunks_exact(2 * octaves)).zip(dx) {
        let half = half(x);
        let mut sum = 0.0;
        for (octave, &[of_sine, of_cosine]) in dy.as_chunks::<2>().0.iter().enumerate() {
            let frequency = power_of_two(octave);
            let [sine, cosine] = wave(half * frequency);
            let slope = cosine * of_sine - sine * of_cosine;
            sum += std::f32::consts::PI * frequency * slope;
        }
        *dx = sum;
    }
}

#[cfg(test)]
mod tests {
    use super::Waves;
    use crate::cpu::encoding::testing::{ROUNDING, passes};

    /// Returns numbers of every size: so many that several cores share them.
    fn numbers() -> Vec<f32> {
        let near = (-9000..9000).map(|at| at as f32 / 1000.0);
        let far = (-60..=126).map(|exponent| 1.37 * f32::powi(2.0, exponent));
        near.chain(far.clone()).chain(far.map(|x| -x)).collect()
    }

    #[test]
    fn waves_are_within_three_roundings_at_any_octave_and_size() {
        for (octaves, power) in [(1, 1u32), (10, 9), (32, 31)] {
            let [[y, dx], [expected, of_input]] = passes(Waves { octaves }, &numbers());
            for (found, expected) in y.iter().zip(&expected) {
                let error = 3.0 * ROUNDING * expected.abs() + 1e-15;
                assert!((found - expected).abs() <= error, "{found:e} {expected:e}");
            }
            // For each octave, the bound has the errors of its sine and cosine, of two products and their difference,
            // of π and of one more product. The sum over the octaves adds its own errors.
            let most = 4.0 * std::f64::consts::PI * f64::from(power).exp2();
            let error = (8.0 + octaves as f64) * ROUNDING * most;
            for (found, expected) in dx.iter().zip(&of_input) {
                assert!((found - expected).abs() <= error, "{found:e} {expected:e}");
            }
        }
    }

    #[test]
    fn what_is_no_number_has_no_wave() {
        let x = [f32::NAN, 1.0, f32::INFINITY];
        let [[y, dx], _] = passes(Waves { octaves: 2 }, &x);
        for (at, is_number) in [false, true, false].into_iter().enumerate() {
            assert_eq!(dx[[at, 0]].is_finite(), is_number);
            assert!(y.row(at).iter().all(|y| y.is_finite() == is_number));
        }
    }
}
