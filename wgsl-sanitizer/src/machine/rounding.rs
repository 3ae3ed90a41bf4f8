//! Random rounding errors within the accuracy that WGSL requires (section "Floating Point Accuracy" of its
//! specification).

use fastrand::Rng;
use half::f16;
use naga::MathFunction as F;

use super::numbers;
use crate::math::Number;
use crate::program::{Binary, Call};

/// Adds a random rounding error to the result of a binary operation on these operands.
///
/// The returned sum, difference or product is the exact result if the type can represent it. Otherwise it is one of the
/// two neighbors of the exact result, chosen at random.
pub(super) fn binary(
    random: &mut Rng,
    number: Number,
    operation: Binary,
    [a, b]: [u32; 2],
    result: u32,
) -> u32 {
    let nearest = number.round(f32::from_bits(result));
    let [x, y] = [a, b].map(f32::from_bits);
    let rest = match operation {
        Binary::AddFloat => rest_of_sum(x, y, f32::from_bits(nearest)),
        Binary::SubtractFloat => rest_of_sum(x, -y, f32::from_bits(nearest)),
        // The product is exact in double precision.
        Binary::MultiplyFloat => f64::from(x) * f64::from(y) - f64::from(f32::from_bits(nearest)),
        Binary::DivideFloat => return moved(random, number, nearest, (2.5, 0.0)),
        // WGSL requires the accuracy of x − y · trunc(x / y).
        Binary::RemainderFloat => return moved(random, number, nearest, (4.0, 0.0)),
        _ => return result,
    };
    let value = f32::from_bits(nearest);
    if rest == 0.0 || !rest.is_finite() {
        return nearest;
    }
    let other = beside(number, value, rest > 0.0);
    if other.is_finite() && random.bool() {
        other.to_bits()
    } else {
        nearest
    }
}

/// Returns the exact sum x + y minus `near`, a number close to the sum. The sign is always right. The difference is
/// exact if `near` is the sum rounded to single precision (`Fast2Sum`, Dekker 1971).
fn rest_of_sum(x: f32, y: f32, near: f32) -> f64 {
    let (big, small) = if x.abs() < y.abs() { (y, x) } else { (x, y) };
    f64::from(small) - (f64::from(near) - f64::from(big))
}

/// Returns the next number of the type above `value` if `is_above`, else below `value`.
fn beside(number: Number, value: f32, is_above: bool) -> f32 {
    match (number, is_above) {
        (Number::F16, _) => {
            let bits = f16::from_f32(value).to_bits();
            let is_away_from_zero = (value > 0.0 || value == 0.0 && is_above) == is_above;
            f16::from_bits(match (value == 0.0, is_away_from_zero) {
                (true, _) => u16::from(!is_above) << 15 | 1,
                (false, true) => bits + 1,
                (false, false) => bits - 1,
            })
            .into()
        }
        (_, true) => value.next_up(),
        (_, false) => value.next_down(),
    }
}

/// Returns the result of a component-wise built-in function, with a random error.
pub(super) fn component(random: &mut Rng, call: &Call, operands: [u32; 4], result: u32) -> u32 {
    if call.function == F::Fma && matches!(call.number, Number::F32 | Number::F16) {
        // WGSL requires the accuracy of x · y + z.
        let [x, y, z, _] = operands;
        let product = arithmetic(random, call.number, Binary::MultiplyFloat, [x, y]);
        return arithmetic(random, call.number, Binary::AddFloat, [product, z]);
    }
    of_call(call, operands).map_or(result, |granted| {
        moved(random, call.number, result, granted)
    })
}

/// Returns the result of a binary operation on these operands, with a random rounding error.
pub(super) fn arithmetic(
    random: &mut Rng,
    number: Number,
    operation: Binary,
    operands: [u32; 2],
) -> u32 {
    let [a, b] = operands;
    let (result, _) = numbers::binary(operation, a, b);
    binary(random, number, operation, operands, result)
}

/// Returns the error that WGSL allows for a built-in function with these arguments: the part in units in the last place
/// of the result, and the absolute part. Returns `None` for a function whose result gets no error.
pub(super) fn of_call(call: &Call, arguments: [u32; 4]) -> Option<(f32, f32)> {
    let is_half = match call.number {
        Number::F32 => false,
        Number::F16 => true,
        Number::I32 | Number::U32 => return None,
    };
    let of = |single: f32, half: f32| if is_half { half } else { single };
    let x = f32::from_bits(arguments[0]);
    let y = f32::from_bits(arguments[1]);
    Some(match call.function {
        F::Exp | F::Exp2 => (of(3.0, 1.0) + 2.0 * x.abs(), 0.0),
        F::Log | F::Log2 if (0.5..=2.0).contains(&x) => (0.0, of(1.0 / 2_097_152.0, 1.0 / 128.0)),
        F::Log | F::Log2 => (3.0, 0.0),
        // WGSL requires the accuracy of exp2(y · log2(x)).
        F::Pow => (7.0 + 2.0 * (y * x.log2()).abs(), 0.0),
        F::InverseSqrt => (2.0, 0.0),
        // WGSL requires the accuracy of 1 / inverseSqrt(x).
        F::Sqrt | F::Length | F::Distance => (4.5, 0.0),
        F::Normalize => (7.0, 0.0),
        F::Sin | F::Cos | F::Tan => (0.0, of(1.0 / 2048.0, 1.0 / 128.0)),
        F::Sinh | F::Cosh => (8.0 + 4.0 * x.abs(), 0.0),
        F::Tanh => (0.0, 1e-5),
        F::Atan | F::Atan2 => (of(4096.0, 5.0), 0.0),
        F::Acos | F::Asin | F::Acosh | F::Asinh | F::Atanh => {
            (of(4096.0, 5.0), of(1.0 / 2048.0, 1.0 / 128.0))
        }
        F::Mix | F::SmoothStep | F::Radians | F::Degrees => (2.0, 0.0),
        F::Cross | F::Reflect | F::Refract | F::Determinant => (8.0, 0.0),
        _ => return None,
    })
}

/// Adds a random error to a result. The error is uniform between minus and plus the allowed error. If the error would
/// make the result infinite, no error is added.
pub(super) fn moved(
    random: &mut Rng,
    number: Number,
    bits: u32,
    (units, absolute): (f32, f32),
) -> u32 {
    let value = f32::from_bits(bits);
    // The unit in the last place of 0 has no meaning, so 0 changes only by an absolute error.
    if !value.is_finite() || value == 0.0 && absolute == 0.0 {
        return bits;
    }
    let part = 2.0 * random.f32() - 1.0;
    let moved = number.round(value + part * (units * unit(number, value) + absolute));
    if f32::from_bits(moved).is_finite() {
        moved
    } else {
        bits
    }
}

/// Returns the unit in the last place of `value`: the distance to the next number of the type.
fn unit(number: Number, value: f32) -> f32 {
    let value = value.abs();
    let above = beside(number, value, true);
    if above.is_finite() {
        above - value
    } else {
        value - beside(number, value, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours() {
        for number in [Number::F32, Number::F16] {
            let least = match number {
                Number::F16 => f16::from_bits(1).into(),
                _ => f32::from_bits(1),
            };
            assert_eq!(beside(number, 0.0, true), least);
            assert_eq!(beside(number, -0.0, true), least);
            assert_eq!(beside(number, 0.0, false), -least);
            assert_eq!(beside(number, least, false), 0.0);
            assert_eq!(beside(number, -least, true), 0.0);
            let unit = match number {
                Number::F16 => 1.0 / 1024.0,
                _ => f32::EPSILON,
            };
            assert_eq!(beside(number, 1.0, true), 1.0 + unit);
            assert_eq!(beside(number, 1.0, false), 1.0 - unit / 2.0);
            assert_eq!(beside(number, -1.0, true), -1.0 + unit / 2.0);
            assert_eq!(beside(number, -1.0, false), -1.0 - unit);
        }
    }

    /// In the first two cases, one summand is far smaller than the other. A sum in double precision would lose the
    /// smaller summand.
    #[test]
    fn sums_that_are_exact_and_not() {
        let mut random = Rng::with_seed(0);
        for (x, y, is_exact) in [
            (1.0, 1e-30, false),
            (-1e-38, 3e38, false),
            (1.0, -1.0, true),
            (16_777_216.0, 2.0, true),
            (16_777_216.0, 1.0, false),
            (1e-45, 1e-40, true),
        ] {
            let nearest: f32 = x + y;
            assert_eq!(rest_of_sum(x, y, nearest) == 0.0, is_exact, "{x} + {y}");
            let operands = [x, y].map(f32::to_bits);
            let results: Vec<u32> = (0..64)
                .map(|_| arithmetic(&mut random, Number::F32, Binary::AddFloat, operands))
                .collect();
            let is_one = results.iter().all(|&result| result == nearest.to_bits());
            assert_eq!(is_one, is_exact, "{x} + {y}");
        }
    }

    /// Each result is one of the two neighbors of the exact result, and both neighbors occur.
    #[test]
    fn results_are_neighbours_of_the_exact_one() {
        let mut random = Rng::with_seed(1);
        for number in [Number::F32, Number::F16] {
            let mut moved = 0;
            let mut exact = 0;
            for round in 0..40_000 {
                let mut draw = || {
                    let digits =
                        f32::from(random.i16(..)) / if round % 2 == 0 { 1024.0 } else { 16384.7 };
                    let value = if round % 4 == 3 {
                        digits.round()
                    } else {
                        digits
                    };
                    f32::from_bits(number.round(value))
                };
                let x = draw();
                let y = draw();
                for operation in [
                    Binary::AddFloat,
                    Binary::SubtractFloat,
                    Binary::MultiplyFloat,
                ] {
                    let a = f64::from(x);
                    let b = f64::from(y);
                    let true_one = match operation {
                        Binary::AddFloat => a + b,
                        Binary::SubtractFloat => a - b,
                        _ => a * b,
                    };
                    let found =
                        arithmetic(&mut random, number, operation, [x, y].map(f32::to_bits));
                    let found = f32::from_bits(found);
                    assert_eq!(
                        found.to_bits(),
                        number.round(found),
                        "no number of its type"
                    );
                    let rest = true_one - f64::from(found);
                    if rest == 0.0 || !found.is_finite() {
                        exact += 1;
                        continue;
                    }
                    let next = f64::from(beside(number, found, rest > 0.0));
                    assert!(
                        (next - f64::from(found)).abs() > rest.abs(),
                        "{x} {operation:?} {y} = {found}"
                    );
                    moved += u32::from((next - true_one).abs() < rest.abs());
                }
            }
            assert!(
                moved > 5_000 && exact > 5_000,
                "{number:?}: {moved} {exact}"
            );
        }
    }
}
