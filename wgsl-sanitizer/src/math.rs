//! The built-in functions of WGSL.
//!
//! Sums, products, quotients, square roots and `fma` are computed in IEEE single precision. Other functions of
//! floats are computed in double precision and rounded once, to `f32` or `f16`. A function of several steps, such as
//! `mix`, rounds each step to single precision, even for `f16`.

mod composite;
mod integers;
mod nan;
mod packing;
#[cfg(test)]
mod tests;

use half::f16;
use naga::MathFunction as F;

pub(crate) use composite::composite;
use integers::{signed, unsigned};
pub(crate) use nan::component_of_nan;

/// The type of a number. An `f16` is stored as the `f32` with the same value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    F32,
    F16,
    I32,
    U32,
}

impl Number {
    /// Rounds a single precision result to this type. Returns the content of its slot.
    #[inline]
    pub(crate) fn round(self, value: f32) -> u32 {
        match self {
            Self::F16 => f32::from(f16::from_f32(value)).to_bits(),
            _ => value.to_bits(),
        }
    }

    /// Rounds a double precision result to this type. Returns the content of its slot.
    #[inline]
    fn round_wide(self, value: f64) -> u32 {
        #[allow(clippy::cast_possible_truncation)]
        let nearest = value as f32;
        match self {
            Self::F16 => self.round(to_odd(value, nearest)),
            _ => nearest.to_bits(),
        }
    }
}

/// Rounds `value` to odd: if single precision cannot represent it exactly, the result is its neighbor whose last bit is
/// 1.
///
/// A value just above or below the middle between two `f16` then stays on its side of the middle. Rounding the result
/// again, to `f16`, therefore gives the `f16` nearest to `value`.
fn to_odd(value: f64, nearest: f32) -> f32 {
    let back = f64::from(nearest);
    if back == value {
        return nearest;
    }
    let is_away_from_zero = back.abs() > value.abs();
    f32::from_bits((nearest.to_bits() - u32::from(is_away_from_zero)) | 1)
}

/// Returns whether a function of naga does not exist in WGSL.
pub(crate) fn unsupported(function: F) -> bool {
    matches!(function, F::Outer | F::Inverse)
}

/// Returns whether component i of the result depends only on component i of each argument.
pub(crate) fn is_by_component(function: F) -> bool {
    !matches!(
        function,
        F::Dot
            | F::Dot4I8Packed
            | F::Dot4U8Packed
            | F::Outer
            | F::Cross
            | F::Distance
            | F::Length
            | F::Normalize
            | F::FaceForward
            | F::Reflect
            | F::Refract
            | F::Modf
            | F::Frexp
            | F::Inverse
            | F::Transpose
            | F::Determinant
            | F::Pack4x8snorm
            | F::Pack4x8unorm
            | F::Pack2x16snorm
            | F::Pack2x16unorm
            | F::Pack2x16float
            | F::Pack4xI8
            | F::Pack4xU8
            | F::Pack4xI8Clamp
            | F::Pack4xU8Clamp
            | F::Unpack4x8snorm
            | F::Unpack4x8unorm
            | F::Unpack2x16snorm
            | F::Unpack2x16unorm
            | F::Unpack2x16float
            | F::Unpack4xI8
            | F::Unpack4xU8
    )
}

/// Computes one component of the result, from the bits of that component of each argument. Missing arguments are 0.
#[inline]
pub(crate) fn component(function: F, number: Number, arguments: [u32; 4]) -> u32 {
    match number {
        Number::F32 | Number::F16 => float(function, number, arguments),
        Number::I32 => signed(function, arguments),
        Number::U32 => unsigned(function, arguments),
    }
}

/// The `match` begins with the most common functions, for speed.
#[inline]
fn float(function: F, number: Number, bits: [u32; 4]) -> u32 {
    let [x, y, z, _] = bits.map(f32::from_bits);
    let value = match function {
        // The product of two `f16` is exact in double precision. The sum of the product and a third `f16` is also exact
        // when it lies near the middle between two `f16`, where an error would change the rounding.
        F::Fma if number == Number::F16 => {
            return number.round_wide(f64::from(x) * f64::from(y) + f64::from(z));
        }
        F::Fma => x.mul_add(y, z),
        F::Max => x.max(y),
        F::Min => x.min(y),
        F::Abs => x.abs(),
        F::Clamp => clamp(x, y, z),
        F::Sqrt => x.sqrt(),
        F::Floor => x.floor(),
        F::Saturate => clamp(x, 0.0, 1.0),
        F::Ceil => x.ceil(),
        F::Round => x.round_ties_even(),
        F::Fract => x - x.floor(),
        F::Trunc => x.trunc(),
        F::Sign if x > 0.0 => 1.0,
        F::Sign if x < 0.0 => -1.0,
        F::Sign => 0.0,
        F::Mix => x * (1.0 - z) + y * z,
        F::Step => f32::from(u8::from(x <= y)),
        F::SmoothStep => {
            let t = clamp((z - x) / (y - x), 0.0, 1.0);
            t * t * (3.0 - 2.0 * t)
        }
        F::QuantizeToF16 => f16::from_f32(x).into(),
        F::Ldexp => return number.round_wide(ldexp(x, bits[1].cast_signed())),
        _ => return number.round_wide(wide(function, x.into(), y.into())),
    };
    number.round(value)
}

/// Clamps `x` to the range from `low` to `high`. A NaN gives `low`. If `low` exceeds `high`, the result is `high`.
#[inline]
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    x.max(low).min(high)
}

/// Computes x · 2^exponent. The exponent is clamped to ±1000: there, every result except 0 is already outside the range
/// of single precision, but still inside the range of double precision.
fn ldexp(x: f32, exponent: i32) -> f64 {
    let exponent = i64::from(exponent.clamp(-1000, 1000));
    let power = f64::from_bits((exponent + 1023).cast_unsigned() << 52);
    f64::from(x) * power
}

fn wide(function: F, x: f64, y: f64) -> f64 {
    match function {
        F::Exp => x.exp(),
        F::Exp2 => x.exp2(),
        F::Log => x.ln(),
        F::Log2 => x.log2(),
        // WGSL defines `pow` this way, so a power of a negative number is NaN.
        F::Pow => (y * x.log2()).exp2(),
        F::InverseSqrt => 1.0 / x.sqrt(),
        F::Tanh => x.tanh(),
        F::Cos => x.cos(),
        F::Cosh => x.cosh(),
        F::Sin => x.sin(),
        F::Sinh => x.sinh(),
        F::Tan => x.tan(),
        F::Acos => x.acos(),
        F::Asin => x.asin(),
        F::Atan => x.atan(),
        F::Atan2 => x.atan2(y),
        F::Asinh => x.asinh(),
        F::Acosh => x.acosh(),
        F::Atanh => x.atanh(),
        F::Radians => x.to_radians(),
        F::Degrees => x.to_degrees(),
        other => unreachable!("{other:?} of a component of floats"),
    }
}
