//! Encodings of coordinates, fast in `f32`: polynomials in place of sines and cosines. In `f64` they are as they are
//! defined. Cores share the rows.

use std::any::Any;

use multiversion::multiversion;

use super::cores::{for_each_part, rows_of_part};
use super::sparse::dense;
use crate::ops;
use crate::reference::{Backward, Forward, Layer, Twin};

/// Elements of an output from which cores share the rows with profit.
const SHARED: usize = 1 << 14;

/// The fast form of a network's layer, if there is one.
pub(super) fn twin(layer: &dyn Any) -> Option<Twin> {
    let frequency = layer.downcast_ref::<ops::Frequency>()?;
    Some(Twin::of(Frequency {
        octaves: frequency.octaves(),
    }))
}

/// Sines and cosines. All arrays lie dense in memory, row by row.
#[derive(Debug, Clone, Copy)]
struct Frequency {
    octaves: usize,
}

impl Frequency {
    fn definition(self) -> crate::reference::Frequency {
        crate::reference::Frequency {
            octaves: self.octaves,
        }
    }
}

impl Layer<f64> for Frequency {
    fn forward(&self, pass: Forward<'_, f64>) {
        self.definition().forward(pass);
    }

    fn backward(&self, pass: Backward<'_, f64>) {
        self.definition().backward(pass);
    }
}

impl Layer<f32> for Frequency {
    fn forward(&self, pass: Forward<'_, f32>) {
        let of_part = rows_of_part(pass.x.nrows()) * pass.x.ncols();
        let (x, y) = (dense(pass.x.to_slice()), dense(pass.y.into_slice()));
        let is_shared = y.len() >= SHARED;
        let parts = x
            .chunks(of_part)
            .zip(y.chunks_mut(of_part * 2 * self.octaves));
        for_each_part(parts, is_shared, |(x, y)| waves(x, y, self.octaves));
    }

    fn backward(&self, pass: Backward<'_, f32>) {
        let Some(dx) = pass.dx else { return };
        let of_part = rows_of_part(pass.x.nrows()) * pass.x.ncols();
        let [x, dy] = [pass.x, pass.dy].map(|of| dense(of.to_slice()));
        let from = x.chunks(of_part).zip(dy.chunks(of_part * 2 * self.octaves));
        let parts = from.zip(dense(dx.into_slice()).chunks_mut(of_part));
        for_each_part(parts, dy.len() >= SHARED, |((x, dy), dx)| {
            slopes(x, dy, dx, self.octaves);
        });
    }
}

/// `2ⁿ`, of normal numbers.
#[inline(always)]
fn power_of_two(n: usize) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "an octave, at most 31")]
    f32::from_bits((n as u32 + 127) << 23)
}

/// `sin(2π·turns)` and `cos(2π·turns)`, as `shaders/frequency.wgsl` has them: polynomials and their error are there.
#[inline(always)]
fn wave(turns: f32) -> [f32; 2] {
    let f = turns - turns.round_ties_even();
    let quarter = (4.0 * f).round_ties_even();
    let p = f - 0.25 * quarter;
    let z = p * p;
    let sine = p * (6.283_185_5 + z * (-41.341_663 + z * (81.592_545 + z * -75.401_61)));
    let cosine = 1.0 + z * (-19.739_208 + z * (64.939_37 + z * (-85.448_82 + z * 59.424_107)));
    // An integer of −2 to 2 in the last places, so that its bits say which quarter it is.
    let q = (quarter + 12_582_912.0).to_bits();
    let [a, b] = if q & 1 == 0 {
        [sine, cosine]
    } else {
        [cosine, -sine]
    };
    if q & 2 == 0 { [a, b] } else { [-a, -b] }
}

/// Whole turns of numbers from 2²⁴ on, which are even, would be more than `f32` has.
#[inline(always)]
fn within(x: f32) -> f32 {
    match x.abs() < 16_777_216.0 {
        true => x,
        false => 0.0 * x,
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn waves(x: &[f32], y: &mut [f32], octaves: usize) {
    for (&x, y) in x.iter().zip(y.chunks_exact_mut(2 * octaves)) {
        let half = 0.5 * within(x);
        for (octave, pair) in y.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            *pair = wave(half * power_of_two(octave));
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn slopes(x: &[f32], dy: &[f32], dx: &mut [f32], octaves: usize) {
    for ((&x, dy), dx) in x.iter().zip(dy.chunks_exact(2 * octaves)).zip(dx) {
        let half = 0.5 * within(x);
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
    use ndarray::Array2;

    use super::Frequency;
    use crate::reference::{Backward, Float, Forward, Layer, Mode};
    use crate::shape::Shape;

    /// Half a unit in the last place, relative.
    const ROUNDING: f64 = f32::EPSILON as f64 / 2.0;

    /// Outputs, and gradients by the inputs, of rows.
    fn passes<F: Float>(of: &dyn Layer<F>, x: &Array2<f32>, dy: &Array2<f32>) -> [Array2<f64>; 2] {
        let cast = |of: &Array2<f32>| of.mapv(|value| F::from_f64(value.into()));
        let (x, dy) = (cast(x), cast(dy));
        let (mut y, mut dx) = (Array2::zeros(dy.raw_dim()), Array2::zeros(x.raw_dim()));
        let input = (x.view(), Shape::from(x.ncols()));
        of.forward(Forward::new(input, &[], y.view_mut(), Mode::Evaluation));
        let of_y = [y.view(), dy.view()];
        let pass = Backward::new(input, of_y, Some(dx.view_mut()), Mode::Evaluation);
        of.backward(pass);
        [y, dx].map(|of| of.mapv(Float::into_f64))
    }

    fn gradient(rows: usize, columns: usize) -> Array2<f32> {
        Array2::from_shape_fn((rows, columns), |(row, column)| {
            ((row * 31 + column * 17) % 64) as f32 / 32.0 - 1.0
        })
    }

    /// Numbers of every size, in more than one part.
    fn numbers() -> Array2<f32> {
        let near = (-9000..9000).map(|at| at as f32 / 1000.0);
        let far = (-60..=126).map(|exponent| 1.37 * f32::powi(2.0, exponent));
        let all: Vec<f32> = near.chain(far.clone()).chain(far.map(|x| -x)).collect();
        Array2::from_shape_fn((all.len() / 2, 2), |(row, column)| all[2 * row + column])
    }

    #[test]
    fn waves_are_within_three_roundings_at_any_octave_and_size() {
        let x = numbers();
        for octaves in [1, 10, 32] {
            let layer = Frequency { octaves };
            let dy = gradient(x.nrows(), x.ncols() * 2 * octaves);
            let [y, dx] = passes::<f32>(&layer, &x, &dy);
            let [expected, of_input] = passes::<f64>(&layer, &x, &dy);
            for (found, expected) in y.iter().zip(&expected) {
                let error = 3.0 * ROUNDING * expected.abs() + 1e-15;
                assert!((found - expected).abs() <= error, "{found:e} {expected:e}");
            }
            // Of an octave: the errors of waves, two products, their difference, π and a product; and the sums.
            let most =
                std::f64::consts::PI * 2.0 * f64::from(2u32).powi(octaves.try_into().unwrap_or(32));
            let error = (8.0 + octaves as f64) * ROUNDING * most;
            for (found, expected) in dx.iter().zip(&of_input) {
                assert!((found - expected).abs() <= error, "{found:e} {expected:e}");
            }
        }
    }

    #[test]
    fn what_is_no_number_has_no_wave() {
        let x = Array2::from_shape_vec((1, 3), vec![f32::NAN, 1.0, f32::INFINITY]);
        let x = x.unwrap_or_default();
        let layer = Frequency { octaves: 2 };
        let [y, dx] = passes::<f32>(&layer, &x, &gradient(1, 12));
        let are_numbers = [false, true, false];
        for (at, is_number) in are_numbers.into_iter().enumerate() {
            assert_eq!(dx[[0, at]].is_finite(), is_number);
            for value in y.iter().skip(4 * at).take(4) {
                assert_eq!(value.is_finite(), is_number);
            }
        }
    }
}
