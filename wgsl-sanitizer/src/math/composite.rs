//! Functions of whole vectors and matrices.

use naga::MathFunction as F;

use super::Number;
use super::packing::{dot_packed, pack, unpack};

/// Computes a function whose result cannot be computed component by component. If the function compares a NaN with 0,
/// `of_nan` is the result of that comparison; `None` means as in IEEE 754.
///
/// A vector is a slice of its components. A matrix is a slice of its scalars, column by column. `columns` is the number
/// of columns of the first argument if that is a matrix, else 1. `modf` and `frexp` return the two members of their
/// struct, one after the other.
pub(crate) fn composite(
    function: F,
    number: Number,
    columns: usize,
    of_nan: Option<bool>,
    arguments: &[&[u32]],
    result: &mut [u32],
) {
    let x = arguments[0];
    match function {
        F::Dot if matches!(number, Number::I32 | Number::U32) => {
            let products = x.iter().zip(arguments[1]);
            result[0] = products.fold(0, |sum: u32, (&x, &y)| sum.wrapping_add(x.wrapping_mul(y)));
        }
        F::Dot4I8Packed | F::Dot4U8Packed => {
            result[0] = dot_packed(function, x[0], arguments[1][0]);
        }
        F::Pack4x8snorm
        | F::Pack4x8unorm
        | F::Pack2x16snorm
        | F::Pack2x16unorm
        | F::Pack2x16float
        | F::Pack4xI8
        | F::Pack4xU8
        | F::Pack4xI8Clamp
        | F::Pack4xU8Clamp => result[0] = pack(function, x),
        F::Unpack4x8snorm
        | F::Unpack4x8unorm
        | F::Unpack2x16snorm
        | F::Unpack2x16unorm
        | F::Unpack2x16float
        | F::Unpack4xI8
        | F::Unpack4xU8 => unpack(function, x[0], result),
        F::Transpose => {
            let rows = x.len() / columns;
            for (at, slot) in result.iter_mut().enumerate() {
                let column = at / columns;
                let row = at % columns;
                *slot = x[row * rows + column];
            }
        }
        F::Frexp => {
            let (fractions, exponents) = result.split_at_mut(x.len());
            for ((&x, fraction), exponent) in x.iter().zip(fractions).zip(exponents) {
                let (value, power) = frexp(f32::from_bits(x));
                *fraction = value.to_bits();
                *exponent = power.cast_unsigned();
            }
        }
        _ => floats(function, number, columns, of_nan, arguments, result),
    }
}

/// The part of [`composite`] for functions of floats. Each step is rounded to single precision, and the result is
/// rounded to its type.
fn floats(
    function: F,
    number: Number,
    columns: usize,
    of_nan: Option<bool>,
    arguments: &[&[u32]],
    result: &mut [u32],
) {
    let is_below_zero = |value: f32| match of_nan {
        Some(outcome) if value.is_nan() => outcome,
        _ => value < 0.0,
    };
    let x = |at: usize| f32::from_bits(arguments[0][at]);
    let y = |at: usize| f32::from_bits(arguments[1][at]);
    let size = arguments[0].len();
    let dot = |left: usize, right: usize| {
        let pairs = arguments[left].iter().zip(arguments[right]);
        sum(pairs.map(|(&x, &y)| f32::from_bits(x) * f32::from_bits(y)))
    };
    let mut fill = |value: &dyn Fn(usize) -> f32| {
        for (at, slot) in result.iter_mut().enumerate() {
            *slot = number.round(value(at));
        }
    };
    match function {
        F::Dot => fill(&|_| dot(0, 1)),
        F::Cross => fill(&|at| {
            let next = (at + 1) % 3;
            let last = (at + 2) % 3;
            x(next) * y(last) - x(last) * y(next)
        }),
        F::Distance => fill(&|_| length(size, |at| x(at) - y(at))),
        F::Length => fill(&|_| length(size, x)),
        F::Normalize => {
            let length = length(size, x);
            fill(&|at| x(at) / length);
        }
        F::FaceForward => {
            let is_facing = is_below_zero(dot(1, 2));
            fill(&|at| if is_facing { x(at) } else { -x(at) });
        }
        F::Reflect => {
            let twice = 2.0 * dot(1, 0);
            fill(&|at| x(at) - twice * y(at));
        }
        F::Refract => {
            let ratio = f32::from_bits(arguments[2][0]);
            let cosine = dot(1, 0);
            let k = 1.0 - ratio * ratio * (1.0 - cosine * cosine);
            if is_below_zero(k) {
                fill(&|_| 0.0);
            } else {
                let scale = ratio * cosine + k.sqrt();
                fill(&|at| ratio * x(at) - scale * y(at));
            }
        }
        F::Modf => fill(&|at| match at.checked_sub(size) {
            Some(at) => x(at).trunc(),
            None => x(at) - x(at).trunc(),
        }),
        F::Determinant => {
            let mut matrix = [0.0; 16];
            for (at, value) in matrix[..size].iter_mut().enumerate() {
                *value = x(at);
            }
            let value = determinant(&matrix[..size], columns);
            fill(&|_| value);
        }
        other => unreachable!("{other:?} of whole floats"),
    }
}

/// Adds the terms, starting from the first term. A sum that starts from 0 would lose the sign of −0.
fn sum(terms: impl Iterator<Item = f32>) -> f32 {
    terms.reduce(|sum, term| sum + term).unwrap_or(0.0)
}

/// Returns the length of a vector, or the magnitude of a scalar (`size` 1).
fn length(size: usize, component: impl Fn(usize) -> f32) -> f32 {
    match size {
        1 => component(0).abs(),
        _ => sum((0..size).map(|at| component(at) * component(at))).sqrt(),
    }
}

/// Returns the determinant of a matrix, by expansion along the first column.
fn determinant(matrix: &[f32], size: usize) -> f32 {
    if size == 1 {
        return matrix[0];
    }
    sum((0..size).map(|row| {
        let mut minor = [0.0; 9];
        let others = (size..size * size).filter(|at| at % size != row);
        for (value, at) in minor.iter_mut().zip(others) {
            *value = matrix[at];
        }
        let product = matrix[row] * determinant(&minor, size - 1);
        if row % 2 == 0 { product } else { -product }
    }))
}

/// Splits `value` into a fraction with a magnitude in [1/2, 1) and a power of 2. Returns the fraction and the exponent.
fn frexp(value: f32) -> (f32, i32) {
    if value == 0.0 || !value.is_finite() {
        return (value, 0);
    }
    // A subnormal number in single precision is a normal number in double precision.
    let bits = f64::from(value).to_bits();
    #[allow(clippy::cast_possible_truncation)]
    let exponent = (bits >> 52 & 0x7ff) as i32 - 1022;
    #[allow(clippy::cast_possible_truncation)]
    let fraction = f64::from_bits(bits & !(0x7ff << 52) | 1022 << 52) as f32;
    (fraction, exponent)
}
