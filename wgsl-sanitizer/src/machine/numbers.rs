//! Arithmetic on the 32-bit words of slots.

use half::f16;

use crate::program::{Binary, Unary};
use crate::report::Problem;

fn float(bits: u32) -> f32 {
    f32::from_bits(bits)
}

#[inline]
pub(super) fn is_nan(bits: u32) -> bool {
    float(bits).is_nan()
}

/// Returns the result, and a problem if the operand is invalid for this operation.
#[inline]
pub(super) fn unary(operation: Unary, value: u32) -> (u32, Option<Problem>) {
    let result = match operation {
        Unary::NegateFloat => (-float(value)).to_bits(),
        Unary::NegateInteger => value.wrapping_neg(),
        Unary::Not => value ^ 1,
        Unary::Complement => !value,
        Unary::Half => half(float(value)).to_bits(),
        Unary::FloatToSigned => {
            return to_signed(float(value), [-2_147_483_648.0, 2_147_483_520.0]);
        }
        Unary::FloatToUnsigned => return to_unsigned(float(value), 4_294_967_040.0),
        Unary::HalfToSigned => return to_signed(float(value), [f16::MIN, f16::MAX].map(f32::from)),
        Unary::HalfToUnsigned => return to_unsigned(float(value), f16::MAX.into()),
        Unary::FloatToBool => u32::from(float(value) != 0.0),
        Unary::FloatToHalf => {
            let (value, result) = (float(value), half(float(value)));
            let problem = (value.is_finite() && !result.is_finite()).then(|| Problem::Conversion {
                value: value.into(),
                to: "f16",
            });
            return (result.to_bits(), problem);
        }
        // Rust's `as` rounds to the nearest float.
        #[allow(clippy::cast_precision_loss)]
        Unary::SignedToFloat => (value.cast_signed() as f32).to_bits(),
        #[allow(clippy::cast_precision_loss)]
        Unary::UnsignedToFloat => (value as f32).to_bits(),
        Unary::BoolToFloat => if value == 0 { 0.0_f32 } else { 1.0 }.to_bits(),
        Unary::ToBool => u32::from(value != 0),
        Unary::IsNan => u32::from(float(value).is_nan()),
        Unary::IsInf => u32::from(float(value).is_infinite()),
    };
    (result, None)
}

fn half(value: f32) -> f32 {
    f16::from_f32(value).into()
}

// As in WGSL, clamps to the range that both types can represent. NaN becomes 0.
#[allow(clippy::cast_possible_truncation)]
fn to_signed(value: f32, [least, most]: [f32; 2]) -> (u32, Option<Problem>) {
    let is_within = (-2_147_483_648.0..2_147_483_648.0).contains(&value);
    let problem = (!is_within).then(|| Problem::Conversion {
        value: value.into(),
        to: "i32",
    });
    ((value.clamp(least, most) as i32).cast_unsigned(), problem)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn to_unsigned(value: f32, most: f32) -> (u32, Option<Problem>) {
    // A value between −1 and 0 is within the range: it truncates to 0.
    let is_within = value > -1.0 && value < 4_294_967_296.0;
    let problem = (!is_within).then(|| Problem::Conversion {
        value: value.into(),
        to: "u32",
    });
    (value.clamp(0.0, most) as u32, problem)
}

/// Returns the result, and a problem if the operands are invalid for this operation.
#[inline]
pub(super) fn binary(operation: Binary, a: u32, b: u32) -> (u32, Option<Problem>) {
    let x = float(a);
    let y = float(b);
    let i = a.cast_signed();
    let j = b.cast_signed();
    let result = match operation {
        Binary::AddFloat => (x + y).to_bits(),
        Binary::SubtractFloat => (x - y).to_bits(),
        Binary::MultiplyFloat => (x * y).to_bits(),
        Binary::DivideFloat => (x / y).to_bits(),
        Binary::RemainderFloat => (x % y).to_bits(),
        Binary::EqualFloat => (x == y).into(),
        Binary::UnequalFloat => (x != y).into(),
        Binary::LessFloat => (x < y).into(),
        Binary::LessEqualFloat => (x <= y).into(),
        Binary::GreaterFloat => (x > y).into(),
        Binary::GreaterEqualFloat => (x >= y).into(),
        Binary::Add => a.wrapping_add(b),
        Binary::Subtract => a.wrapping_sub(b),
        Binary::Multiply => a.wrapping_mul(b),
        // In WGSL, x / 0 is x and x % 0 is 0. If the quotient overflows, the results are also x and 0.
        Binary::DivideSigned => match i.checked_div(j) {
            Some(quotient) => quotient.cast_unsigned(),
            None => return (a, Some(Problem::Division)),
        },
        Binary::DivideUnsigned => match a.checked_div(b) {
            Some(quotient) => quotient,
            None => return (a, Some(Problem::Division)),
        },
        Binary::RemainderSigned => match i.checked_rem(j) {
            Some(rest) => rest.cast_unsigned(),
            None => return (0, Some(Problem::Division)),
        },
        Binary::RemainderUnsigned => match a.checked_rem(b) {
            Some(rest) => rest,
            None => return (0, Some(Problem::Division)),
        },
        Binary::Equal => (a == b).into(),
        Binary::Unequal => (a != b).into(),
        Binary::LessSigned => (i < j).into(),
        Binary::LessEqualSigned => (i <= j).into(),
        Binary::GreaterSigned => (i > j).into(),
        Binary::GreaterEqualSigned => (i >= j).into(),
        Binary::LessUnsigned => (a < b).into(),
        Binary::LessEqualUnsigned => (a <= b).into(),
        Binary::GreaterUnsigned => (a > b).into(),
        Binary::GreaterEqualUnsigned => (a >= b).into(),
        Binary::And => a & b,
        Binary::Or => a | b,
        Binary::Xor => a ^ b,
        // WGSL takes the shift amount modulo 32, the width of the operand.
        Binary::ShiftLeft => return (a.wrapping_shl(b), shift(b)),
        Binary::ShiftRightSigned => return (i.wrapping_shr(b).cast_unsigned(), shift(b)),
        Binary::ShiftRightUnsigned => return (a.wrapping_shr(b), shift(b)),
    };
    (result, None)
}

fn shift(by: u32) -> Option<Problem> {
    (by >= 32).then_some(Problem::Shift { by })
}
