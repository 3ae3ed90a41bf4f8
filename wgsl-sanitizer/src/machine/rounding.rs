//! Results that are off by as much as WGSL grants: section "Floating Point Accuracy" of its specification.

use fastrand::Rng;
use naga::MathFunction as F;

use crate::math::Number;
use crate::program::{Binary, Call};

/// Units in the last place that a binary operation may be off by; `None` for one that is exact or of integers.
pub(super) fn of_binary(operation: Binary) -> Option<f32> {
    match operation {
        Binary::AddFloat | Binary::SubtractFloat | Binary::MultiplyFloat => Some(1.0),
        Binary::DivideFloat => Some(2.5),
        // Inherited from x − y · trunc(x / y).
        Binary::RemainderFloat => Some(4.0),
        _ => None,
    }
}

/// The same for a built-in function of these arguments, and what it may be off by in absolute terms.
pub(super) fn of_call(call: &Call, arguments: [u32; 4]) -> Option<(f32, f32)> {
    if !matches!(call.number, Number::F32 | Number::F16) {
        return None;
    }
    let x = f32::from_bits(arguments[0]);
    let y = f32::from_bits(arguments[1]);
    Some(match call.function {
        F::Exp | F::Exp2 => (3.0 + 2.0 * x.abs(), 0.0),
        F::Log | F::Log2 if (0.5..=2.0).contains(&x) => (0.0, 1.0 / 2_097_152.0),
        F::Log | F::Log2 => (3.0, 0.0),
        // Inherited from exp2(y · log2(x)).
        F::Pow => (7.0 + 2.0 * (y * x.log2()).abs(), 0.0),
        F::InverseSqrt => (2.0, 0.0),
        // Inherited from 1 / inverseSqrt(x).
        F::Sqrt | F::Length | F::Distance => (4.5, 0.0),
        F::Normalize => (7.0, 0.0),
        F::Sin | F::Cos | F::Tan => (0.0, 1.0 / 2048.0),
        F::Sinh | F::Cosh => (8.0 + 4.0 * x.abs(), 0.0),
        F::Tanh => (0.0, 1e-5),
        F::Atan | F::Atan2 => (4096.0, 0.0),
        F::Acos | F::Asin | F::Acosh | F::Asinh | F::Atanh => (4096.0, 1.0 / 2048.0),
        F::Fma | F::Mix | F::Dot | F::SmoothStep | F::Radians | F::Degrees => (2.0, 0.0),
        F::Cross | F::Reflect | F::Refract | F::Determinant => (8.0, 0.0),
        _ => return None,
    })
}

/// Moves a result by a random part of that.
pub(super) fn moved(random: &mut Rng, bits: u32, units: f32, absolute: f32) -> u32 {
    let value = f32::from_bits(bits);
    if !value.is_finite() {
        return bits;
    }
    let unit = (value.abs() * f32::EPSILON).max(f32::MIN_POSITIVE * f32::EPSILON);
    let part = 2.0 * random.f32() - 1.0;
    let moved = value + part * (units * unit + absolute);
    // A zero stays one where nothing but rounding moves it.
    match value == 0.0 && absolute == 0.0 {
        true => bits,
        false => moved.to_bits(),
    }
}
