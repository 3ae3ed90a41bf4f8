//! Functions of whole vectors and matrices.

use naga::MathFunction as F;

use super::Number;
use super::packing::{dot_packed, pack, unpack};

/// A function whose result is no function of components alone.
///
/// Vectors are their components, matrices their columns one after another; `columns` is the number of columns of the first
/// argument where that is a matrix. `modf` and `frexp` give both members of their struct, one after the other.
pub(crate) fn composite(
    function: F,
    number: Number,
    columns: usize,
    arguments: &[&[u32]],
    result: &mut [u32],
) {
    match (function, number) {
        (F::Dot, Number::I32 | Number::U32) => {
            let products = arguments[0].iter().zip(arguments[1]);
            result[0] = products.fold(0, |sum: u32, (&x, &y)| sum.wrapping_add(x.wrapping_mul(y)));
        }
        (F::Dot4I8Packed | F::Dot4U8Packed, _) => {
            result[0] = dot_packed(function, arguments[0][0], arguments[1][0]);
        }
        (
            F::Pack4x8snorm
            | F::Pack4x8unorm
            | F::Pack2x16snorm
            | F::Pack2x16unorm
            | F::Pack2x16float
            | F::Pack4xI8
            | F::Pack4xU8
            | F::Pack4xI8Clamp
            | F::Pack4xU8Clamp,
            _,
        ) => result[0] = pack(function, arguments[0]),
        (
            F::Unpack4x8snorm
            | F::Unpack4x8unorm
            | F::Unpack2x16snorm
            | F::Unpack2x16unorm
            | F::Unpack2x16float
            | F::Unpack4xI8
            | F::Unpack4xU8,
            _,
        ) => unpack(function, arguments[0][0], result),
        (F::Transpose, _) => {
            let rows = arguments[0].len() / columns;
            for (at, slot) in result.iter_mut().enumerate() {
                let (column, row) = (at / columns, at % columns);
                *slot = arguments[0][row * rows + column];
            }
        }
        (F::Frexp, _) => {
            let count = arguments[0].len();
            for (at, &bits) in arguments[0].iter().enumerate() {
                let (fraction, exponent) = frexp(f32::from_bits(bits));
                result[at] = number.round(fraction);
                result[count + at] = exponent.cast_unsigned();
            }
        }
        _ => {
            let numbers = |argument: &&[u32]| -> Vec<f32> {
                argument.iter().map(|&bits| f32::from_bits(bits)).collect()
            };
            let arguments: Vec<Vec<f32>> = arguments.iter().map(numbers).collect();
            let values = floats(function, columns, &arguments);
            for (slot, value) in result.iter_mut().zip(values) {
                *slot = number.round(value);
            }
        }
    }
}

fn dot(x: &[f32], y: &[f32]) -> f32 {
    let products = x.iter().zip(y).map(|(x, y)| x * y);
    products.reduce(|sum, product| sum + product).unwrap_or(0.0)
}

fn length(x: &[f32]) -> f32 {
    match x {
        [x] => x.abs(),
        _ => dot(x, x).sqrt(),
    }
}

fn floats(function: F, columns: usize, arguments: &[Vec<f32>]) -> Vec<f32> {
    let x = &arguments[0][..];
    let y = || &arguments[1][..];
    let map = |function: &dyn Fn(f32, f32) -> f32| -> Vec<f32> {
        x.iter().zip(y()).map(|(&x, &y)| function(x, y)).collect()
    };
    match function {
        F::Dot => vec![dot(x, y())],
        F::Cross => {
            let (a, b) = (x, y());
            vec![
                a[1] * b[2] - a[2] * b[1],
                a[2] * b[0] - a[0] * b[2],
                a[0] * b[1] - a[1] * b[0],
            ]
        }
        F::Distance => vec![length(&map(&|x, y| x - y))],
        F::Length => vec![length(x)],
        F::Normalize => {
            let length = length(x);
            x.iter().map(|x| x / length).collect()
        }
        F::FaceForward => {
            let is_facing = dot(y(), &arguments[2]) < 0.0;
            x.iter().map(|&x| if is_facing { x } else { -x }).collect()
        }
        F::Reflect => {
            let twice = 2.0 * dot(y(), x);
            map(&|x, y| x - twice * y)
        }
        F::Refract => {
            let ratio = arguments[2][0];
            let cosine = dot(y(), x);
            let k = 1.0 - ratio * ratio * (1.0 - cosine * cosine);
            match k < 0.0 {
                true => vec![0.0; x.len()],
                false => {
                    let scale = ratio * cosine + k.sqrt();
                    map(&|x, y| ratio * x - scale * y)
                }
            }
        }
        F::Modf => {
            let wholes = x.iter().map(|x| x.trunc());
            x.iter().map(|x| x - x.trunc()).chain(wholes).collect()
        }
        F::Determinant => vec![determinant(x, columns)],
        other => unreachable!("{other:?} of vectors"),
    }
}

/// By the first column.
fn determinant(matrix: &[f32], size: usize) -> f32 {
    if size == 1 {
        return matrix[0];
    }
    let term = |row: usize| {
        let minor: Vec<f32> = (1..size)
            .flat_map(|column| (0..size).map(move |other| (column, other)))
            .filter(|&(_, other)| other != row)
            .map(|(column, other)| matrix[column * size + other])
            .collect();
        let product = matrix[row] * determinant(&minor, size - 1);
        if row.is_multiple_of(2) {
            product
        } else {
            -product
        }
    };
    (1..size).fold(term(0), |sum, row| sum + term(row))
}

/// A fraction of magnitude 1/2 to 1, and the power of 2 that it is multiplied by.
fn frexp(value: f32) -> (f32, i32) {
    if value == 0.0 || !value.is_finite() {
        return (value, 0);
    }
    // A subnormal number of single precision is a normal one of double.
    let bits = f64::from(value).to_bits();
    let exponent = i32::try_from(bits >> 52 & 0x7ff).unwrap_or(0) - 1022;
    let fraction = f64::from_bits(bits & !(0x7ff << 52) | 1022 << 52);
    #[allow(clippy::cast_possible_truncation)]
    let fraction = fraction as f32;
    (fraction, exponent)
}
