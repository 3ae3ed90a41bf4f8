//! The built-in functions of WGSL, on slots.
//!
//! `+ − · /`, square roots and `fma` are IEEE single; other functions are computed in `f64` and rounded once.

mod composite;
mod packing;

use half::f16;
use naga::MathFunction as F;

pub(crate) use composite::composite;

/// What a scalar is. An `f16` is held as the `f32` of the same value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    F32,
    F16,
    I32,
    U32,
}

impl Number {
    /// Rounds what was computed in single precision.
    #[inline]
    fn round(self, value: f32) -> u32 {
        match self {
            Self::F16 => f32::from(f16::from_f32(value)).to_bits(),
            _ => value.to_bits(),
        }
    }
}

/// Functions that the interpreter does not know: none of WGSL's.
pub(crate) fn unsupported(function: F) -> bool {
    matches!(function, F::Outer | F::Inverse)
}

/// Whether component i of the result is a function of the components i of the arguments.
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

/// One component of the result. Arguments that a function does not have are 0.
#[inline]
pub(crate) fn component(function: F, number: Number, arguments: [u32; 4]) -> u32 {
    match (function, number) {
        (F::Ldexp, _) => {
            let value = f64::from(f32::from_bits(arguments[0]));
            let exponent = arguments[1].cast_signed().clamp(-1000, 1000);
            #[allow(clippy::cast_possible_truncation)]
            let result = (value * f64::from(exponent).exp2()) as f32;
            number.round(result)
        }
        (_, Number::F32 | Number::F16) => {
            number.round(float(function, arguments.map(f32::from_bits)))
        }
        (_, Number::I32) => {
            signed(function, arguments.map(u32::cast_signed), arguments).cast_unsigned()
        }
        (_, Number::U32) => unsigned(function, arguments),
    }
}

/// A function of floats in `f64`, rounded once.
#[inline]
fn wide(function: impl Fn(f64) -> f64, x: f32) -> f32 {
    #[allow(clippy::cast_possible_truncation)]
    let result = function(x.into()) as f32;
    result
}

fn float(function: F, [x, y, z, _]: [f32; 4]) -> f32 {
    match function {
        F::Fma => x.mul_add(y, z),
        F::Max => x.max(y),
        F::Min => x.min(y),
        F::Abs => x.abs(),
        F::Clamp => x.max(y).min(z),
        F::Exp => wide(f64::exp, x),
        F::Sqrt => x.sqrt(),
        F::Floor => x.floor(),
        F::Saturate => x.clamp(0.0, 1.0),
        F::Log => wide(f64::ln, x),
        F::Exp2 => wide(f64::exp2, x),
        F::Log2 => wide(f64::log2, x),
        F::InverseSqrt => wide(|x| 1.0 / x.sqrt(), x),
        F::Pow => wide(|x| (f64::from(y) * x.log2()).exp2(), x),
        F::Tanh => wide(f64::tanh, x),
        F::Cos => wide(f64::cos, x),
        F::Cosh => wide(f64::cosh, x),
        F::Sin => wide(f64::sin, x),
        F::Sinh => wide(f64::sinh, x),
        F::Tan => wide(f64::tan, x),
        F::Acos => wide(f64::acos, x),
        F::Asin => wide(f64::asin, x),
        F::Atan => wide(f64::atan, x),
        F::Atan2 => wide(|x| x.atan2(y.into()), x),
        F::Asinh => wide(f64::asinh, x),
        F::Acosh => wide(f64::acosh, x),
        F::Atanh => wide(f64::atanh, x),
        F::Radians => wide(f64::to_radians, x),
        F::Degrees => wide(f64::to_degrees, x),
        F::Ceil => x.ceil(),
        F::Round => x.round_ties_even(),
        F::Fract => x - x.floor(),
        F::Trunc => x.trunc(),
        F::Sign => match x {
            _ if x > 0.0 => 1.0,
            _ if x < 0.0 => -1.0,
            _ => 0.0,
        },
        F::Mix => x * (1.0 - z) + y * z,
        F::Step => f32::from(u8::from(y >= x)),
        F::SmoothStep => {
            let t = ((z - x) / (y - x)).clamp(0.0, 1.0);
            t * t * (3.0 - 2.0 * t)
        }
        F::QuantizeToF16 => f16::from_f32(x).into(),
        other => unreachable!("{other:?} of floats"),
    }
}

fn signed(function: F, [x, y, z, _]: [i32; 4], bits: [u32; 4]) -> i32 {
    match function {
        F::Min => x.min(y),
        F::Max => x.max(y),
        F::Abs => x.wrapping_abs(),
        F::Clamp => x.max(y).min(z),
        F::Sign => x.signum(),
        F::ExtractBits => {
            let (offset, count) = field(bits[1], bits[2]);
            match count {
                0 => 0,
                _ => x << (32 - count - offset) >> (32 - count),
            }
        }
        F::FirstLeadingBit => match x {
            0 | -1 => -1,
            _ => {
                let zeros = if x < 0 {
                    x.leading_ones()
                } else {
                    x.leading_zeros()
                };
                31 - zeros.cast_signed()
            }
        },
        other => unsigned(other, bits).cast_signed(),
    }
}

fn unsigned(function: F, bits: [u32; 4]) -> u32 {
    let [x, y, z, w] = bits;
    match function {
        F::Min => x.min(y),
        F::Max => x.max(y),
        F::Abs => x,
        F::Clamp => x.max(y).min(z),
        F::Sign => x.min(1),
        F::CountTrailingZeros => x.trailing_zeros(),
        F::CountLeadingZeros => x.leading_zeros(),
        F::CountOneBits => x.count_ones(),
        F::ReverseBits => x.reverse_bits(),
        F::ExtractBits => {
            let (offset, count) = field(y, z);
            match count {
                0 => 0,
                _ => x << (32 - count - offset) >> (32 - count),
            }
        }
        F::InsertBits => {
            let (offset, count) = field(z, w);
            let mask = match count {
                0 => 0,
                _ => u32::MAX >> (32 - count) << offset,
            };
            x & !mask | y.checked_shl(offset).unwrap_or(0) & mask
        }
        F::FirstTrailingBit => match x {
            0 => u32::MAX,
            _ => x.trailing_zeros(),
        },
        F::FirstLeadingBit => match x {
            0 => u32::MAX,
            _ => 31 - x.leading_zeros(),
        },
        other => unreachable!("{other:?} of integers"),
    }
}

/// Offset and count of a bit field, within 32 bits.
fn field(offset: u32, count: u32) -> (u32, u32) {
    let offset = offset.min(32);
    (offset, count.min(32 - offset))
}
