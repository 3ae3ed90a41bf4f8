use std::f64::consts::PI;

use super::{Backward, Float, Forward, Layer};

/// Frequency encoding: `sin(2ˡπx)` and `cos(2ˡπx)` of each input `x`, for `l` from 0 to `octaves` − 1. All outputs of
/// one input are next to each other. `dx = Σ_l 2ˡπ·(cos(2ˡπx)·dy_sin − sin(2ˡπx)·dy_cos)`.
#[derive(Debug, Clone, Copy)]
pub struct Frequency {
    /// Number of octaves: pairs of a sine and a cosine per input.
    pub octaves: usize,
}

/// Returns `[2ˡ, sin(2ˡπx), cos(2ˡπx)]`. Sine and cosine have a period of 2 in `2ˡx`, and the remainder by 2 is exact.
fn wave(x: f64, octave: i32) -> [f64; 3] {
    let frequency = 2f64.powi(octave);
    let (sine, cosine) = (PI * (frequency * x % 2.0)).sin_cos();
    [frequency, sine, cosine]
}

impl<F: Float> Layer<F> for Frequency {
    fn forward(&self, mut pass: Forward<'_, F>) {
        let rows = pass.x.outer_iter().zip(pass.y.outer_iter_mut());
        for (x, mut y) in rows {
            for (&x, mut y) in x.iter().zip(y.exact_chunks_mut(2 * self.octaves)) {
                for (octave, mut pair) in (0..).zip(y.exact_chunks_mut(2)) {
                    let [_, sine, cosine] = wave(x.into_f64(), octave);
                    pair[0] = F::from_f64(sine);
                    pair[1] = F::from_f64(cosine);
                }
            }
        }
    }

    fn backward(&self, pass: Backward<'_, F>) {
        let Some(mut dx) = pass.dx else { return };
        let rows = pass.x.outer_iter().zip(pass.dy.outer_iter());
        for ((x, dy), mut dx) in rows.zip(dx.outer_iter_mut()) {
            let of_input = x.iter().zip(dy.exact_chunks(2 * self.octaves));
            for ((&x, dy), dx) in of_input.zip(&mut dx) {
                let slopes = (0..).zip(dy.exact_chunks(2)).map(|(octave, dy)| {
                    let [frequency, sine, cosine] = wave(x.into_f64(), octave);
                    frequency * PI * (cosine * dy[0].into_f64() - sine * dy[1].into_f64())
                });
                *dx = F::from_f64(slopes.sum());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::wave;

    /// Tests eighths of a turn: near 0, far from 0 and at high octaves.
    #[test]
    fn sines_and_cosines_are_those_of_tables() {
        let half = 0.5f64.sqrt();
        let table = [
            (0.0, [0.0, 1.0]),
            (0.25, [half, half]),
            (0.5, [1.0, 0.0]),
            (0.75, [half, -half]),
            (1.0, [0.0, -1.0]),
            (1.25, [-half, -half]),
            (1.5, [-1.0, 0.0]),
            (1.75, [-half, half]),
        ];
        for (x, expected) in table {
            for (octave, turns) in [(0, 0.0), (0, 1e6), (7, -3.0), (31, 12.0)] {
                let [frequency, sine, cosine] = wave((x + 2.0 * turns) / 2f64.powi(octave), octave);
                for (found, expected) in [sine, cosine].into_iter().zip(expected) {
                    assert!(
                        (found - expected).abs() < 1e-15,
                        "{x}, octave {octave}: {found}"
                    );
                }
                assert_eq!(frequency.log2(), f64::from(octave));
            }
        }
    }
}
