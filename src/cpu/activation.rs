//! Fast activations with exponentials, in `f32`: vectorized polynomials. In `f64`, the definitions are used. Several
//! cores share large arrays.

use std::any::Any;

use multiversion::multiversion;

use super::cores::for_each_part;
use super::dense::dense;
use crate::ops;
use crate::reference::{self, Backward, Forward, Layer};

/// Number of elements per part of an array.
const PART: usize = 1 << 12;
/// Minimum number of elements for which several cores share an array. For fewer, one core is faster.
const SHARED: usize = 1 << 14;

/// The activation to compute.
#[derive(Debug, Clone, Copy)]
pub(super) enum Activation {
    Gelu,
    Sigmoid,
    Tanh,
}

impl Activation {
    /// Returns the fast form of a layer, if there is one.
    pub(super) fn of(layer: &dyn Any) -> Option<Self> {
        [
            (layer.is::<ops::Gelu>(), Self::Gelu),
            (layer.is::<ops::Sigmoid>(), Self::Sigmoid),
            (layer.is::<ops::Tanh>(), Self::Tanh),
        ]
        .into_iter()
        .find_map(|(is_it, activation)| is_it.then_some(activation))
    }

    fn definition(self) -> &'static dyn Layer<f64> {
        match self {
            Self::Gelu => &reference::Gelu,
            Self::Sigmoid => &reference::Sigmoid,
            Self::Tanh => &reference::Tanh,
        }
    }
}

impl Layer<f64> for Activation {
    fn forward(&self, pass: Forward<'_, f64>) {
        self.definition().forward(pass);
    }

    fn backward(&self, pass: Backward<'_, f64>) {
        self.definition().backward(pass);
    }
}

/// All arrays are contiguous in memory, row by row.
impl Layer<f32> for Activation {
    fn forward(&self, pass: Forward<'_, f32>) {
        let x = dense(pass.x.to_slice());
        let y = dense(pass.y.into_slice());
        let apply = match self {
            Self::Gelu => gelu,
            Self::Sigmoid => sigmoid,
            Self::Tanh => tanh,
        };
        let parts = x.chunks(PART).zip(y.chunks_mut(PART));
        for_each_part(parts, x.len() >= SHARED, |(x, y)| apply(x, y));
    }

    fn backward(&self, pass: Backward<'_, f32>) {
        let Some(dx) = pass.dx else { return };
        let [x, y, dy] = [pass.x, pass.y, pass.dy].map(|of| dense(of.to_slice()));
        let dx = dense(dx.into_slice());
        let (of, apply) = match self {
            Self::Gelu => (x, gelu_backward as fn(&[f32], &[f32], &mut [f32])),
            Self::Sigmoid => (y, sigmoid_backward as _),
            Self::Tanh => (y, tanh_backward as _),
        };
        let from = of.chunks(PART).zip(dy.chunks(PART));
        let parts = from.zip(dx.chunks_mut(PART));
        for_each_part(parts, dy.len() >= SHARED, |((of, dy), dx)| {
            apply(of, dy, dx);
        });
    }
}

/// Returns `eˣ`, with an error of at most 2 units in the last place. If `n` is the integer nearest to `x/ln 2`, then
/// `eˣ = 2ⁿ·eʳ` with `|r| ≤ ln 2/2`. A polynomial of degree 6 approximates `eʳ` with a relative error of 3e-9.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// 1.5·2²³. Near this number, all `f32` are integers, so adding it to a number rounds the number to an integer.
    const INTEGERS: f32 = 12_582_912.0;
    /// `ln 2` as a sum of two parts. The first part has few bits, so that its product with an integer is exact.
    const LN_2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];

    // Beyond these bounds the result is 0 or infinite.
    let x = x.clamp(-104.0, 89.0);
    let shifted = x * std::f32::consts::LOG2_E + INTEGERS;
    let n = shifted - INTEGERS;
    let r = x - n * LN_2[0] - n * LN_2[1];
    let mut p = 0.001_381_453_8;
    p = p * r + 0.008_368_745;
    p = p * r + 0.041_668_39;
    p = p * r + 0.166_665_2;
    p = p * r + 0.499_999_93;
    let e = r * r * p + r + 1.0;
    // Multiply by 2ⁿ in two factors, because `f32` may not represent 2ⁿ. For a NaN, the value of `n` does not matter.
    let n = shifted
        .to_bits()
        .wrapping_sub(INTEGERS.to_bits())
        .cast_signed();
    let first = n >> 1;
    e * power_of_two(first) * power_of_two(n.wrapping_sub(first))
}

#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(n.wrapping_add(127).cast_unsigned() << 23)
}

/// Returns the distribution function `Φ(x)` and the density `φ(x)` of the normal distribution. `shaders/gelu.wgsl`
/// explains the polynomial and its error.
#[inline(always)]
fn normal(x: f32) -> [f32; 2] {
    let a = x.abs().min(15.0);
    let e = exp(-0.5 * (a * a));
    let t = 1.0 / (1.0 + 0.27 * a);
    let mut p = 0.028_993_554;
    p = p * t - 0.126_649_64;
    p = p * t + 0.170_138_48;
    p = p * t - 0.069_631_68;
    p = p * t + 0.108_130_28;
    p = p * t + 0.071_913_2;
    p = p * t + 0.101_847_4;
    p = p * t + 0.107_537_42;
    p = p * t + 0.107_720_99;
    let below = e * (p * t);
    let distribution = if x > 0.0 { 1.0 - below } else { below };
    [distribution, 0.398_942_3 * e]
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn gelu(x: &[f32], y: &mut [f32]) {
    for (&x, y) in x.iter().zip(y) {
        *y = x * normal(x)[0];
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn gelu_backward(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    for ((&x, &dy), dx) in x.iter().zip(dy).zip(dx) {
        let [distribution, density] = normal(x);
        *dx = dy * (distribution + x * density);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn sigmoid(x: &[f32], y: &mut [f32]) {
    for (&x, y) in x.iter().zip(y) {
        *y = 1.0 / (1.0 + exp(-x));
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn sigmoid_backward(y: &[f32], dy: &[f32], dx: &mut [f32]) {
    for ((&y, &dy), dx) in y.iter().zip(dy).zip(dx) {
        *dx = dy * (1.0 - y) * y;
    }
}

/// Computes `(1 − e)/(1 + e)` with `e = e^(−2|x|)` and the sign of `x`. For `|x|` below 0.625, where this formula loses
/// digits by cancellation, computes `x·(1 + x²·P(x²))`, with a relative error of 4e-9.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn tanh(x: &[f32], y: &mut [f32]) {
    for (&x, y) in x.iter().zip(y) {
        let z = x * x;
        let mut p = -0.005_704_978_4;
        p = p * z + 0.020_639_079;
        p = p * z - 0.053_739_71;
        p = p * z + 0.133_314_42;
        p = p * z - 0.333_332_8;
        let e = exp(-2.0 * x.abs());
        let far = ((1.0 - e) / (1.0 + e)).copysign(x);
        *y = if x.abs() < 0.625 {
            x * (1.0 + z * p)
        } else {
            far
        };
    }
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn tanh_backward(y: &[f32], dy: &[f32], dx: &mut [f32]) {
    for ((&y, &dy), dx) in y.iter().zip(dy).zip(dx) {
        // In the same order of operations as in the definition.
        *dx = dy * (1.0 - y) * (1.0 + y);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::{Activation, exp};
    use crate::reference::{Backward, Forward, Layer, Mode};
    use crate::shape::Shape;

    /// The relative size of half a unit in the last place.
    const ROUNDING: f64 = f32::EPSILON as f64 / 2.0;

    /// Returns values of every size and sign, including those at which the formulas change.
    fn values() -> Vec<f32> {
        let mut values: Vec<f32> = (-4000..=4000).map(|at| at as f32 / 250.0).collect();
        for exponent in -30..=6 {
            let size = 1.37 * f32::powi(2.0, exponent);
            values.extend([size, -size]);
        }
        values.extend([0.0, -0.0, 0.625, 0.624_999_94, 89.0, -104.0, 1e30, -1e30]);
        values
    }

    #[test]
    fn the_exponential_is_right_to_two_in_the_last_place() {
        for x in values() {
            let found = f64::from(exp(x));
            let expected = f64::from(x).exp();
            // Subnormal numbers are multiples of 2⁻¹⁴⁹.
            let error = 4.0 * ROUNDING * expected + f64::from(f32::from_bits(2));
            let is_infinite = expected > f64::from(f32::MAX) && found.is_infinite();
            assert!(
                is_infinite || (found - expected).abs() <= error,
                "{x}: {found:e} {expected:e}"
            );
        }
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(
            [f32::NEG_INFINITY, f32::INFINITY].map(exp),
            [0.0, f32::INFINITY]
        );
    }

    /// Returns the outputs, and the gradients with respect to the input, for one row.
    fn passes<F: crate::reference::Float>(of: &dyn Layer<F>, x: &[f64], dy: f64) -> [Vec<f64>; 2] {
        let shape = (1, x.len());
        let x = Array2::from_shape_fn(shape, |(_, at)| F::from_f64(x[at]));
        let dy = Array2::from_elem(shape, F::from_f64(dy));
        let [mut y, mut dx] = [0, 1].map(|_| Array2::zeros(shape));
        let input = (x.view(), Shape::from(x.len()));
        of.forward(Forward::new(input, &[], y.view_mut(), Mode::Evaluation));
        let of_y = [y.view(), dy.view()];
        of.backward(Backward::new(
            input,
            of_y,
            Some(dx.view_mut()),
            Mode::Evaluation,
        ));
        [y, dx].map(|of| of.iter().map(|value| value.into_f64()).collect())
    }

    /// The relative error bound covers the exponential and a few roundings; for a GELU, also the rounded square in the
    /// exponent. The error of a difference of numbers close to 1 is bounded absolutely.
    #[test]
    fn fast_is_as_defined() {
        let single = values();
        // Enough values for more than one part.
        let single: Vec<f32> = single
            .iter()
            .cycle()
            .take(3 * super::PART / 2)
            .copied()
            .collect();
        let double: Vec<f64> = single.iter().map(|&x| x.into()).collect();
        for activation in [Activation::Gelu, Activation::Sigmoid, Activation::Tanh] {
            let fast = passes::<f32>(&activation, &double, 0.75);
            let defined = passes::<f64>(&activation, &double, 0.75);
            for (at, &x) in double.iter().enumerate() {
                let relative = match activation {
                    Activation::Gelu => 8.0 + x * x,
                    Activation::Sigmoid | Activation::Tanh => 8.0,
                } * ROUNDING;
                for (pass, [found, expected]) in
                    [0, 1].map(|pass| (pass, [fast[pass][at], defined[pass][at]]))
                {
                    // A gradient contains the difference `1 − y`, or for a GELU a sum. The terms are at most 1, but the
                    // result may be much smaller, so the bound on the rounding errors is absolute.
                    let absolute = if pass == 1 { 8.0 * ROUNDING } else { 1e-37 };
                    assert!(
                        (found - expected).abs() <= relative * expected.abs() + absolute,
                        "{activation:?}, pass {pass}, {x}: {found:e} {expected:e}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_nan_stays_one() {
        for activation in [Activation::Gelu, Activation::Sigmoid, Activation::Tanh] {
            for found in passes::<f32>(&activation, &[f64::NAN, 1.0], 1.0) {
                assert!(found[0].is_nan() && found[1].is_finite(), "{activation:?}");
            }
        }
    }

    #[test]
    fn a_zero_keeps_its_sign() {
        for activation in [Activation::Gelu, Activation::Tanh] {
            let [y, _] = passes::<f32>(&activation, &[-0.0, 0.0], 1.0);
            assert_eq!([0, 1].map(|at| y[at].is_sign_negative()), [true, false]);
        }
    }
}
