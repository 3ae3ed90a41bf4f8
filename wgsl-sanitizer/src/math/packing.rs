//! Functions on numbers that are packed into a 32-bit word. The first number is in the lowest bits.

use half::f16;
use naga::MathFunction as F;

/// Returns the dot product of four packed bytes with four others. The sum wraps at 32 bits.
pub(super) fn dot_packed(function: F, x: u32, y: u32) -> u32 {
    let bytes = match function {
        F::Dot4I8Packed => signed_bytes,
        F::Dot4U8Packed => unsigned_bytes,
        other => unreachable!("{other:?} of packed bytes"),
    };
    let products = bytes(x).into_iter().zip(bytes(y));
    products.fold(0, |sum: u32, (x, y)| sum.wrapping_add(x.wrapping_mul(y)))
}

pub(super) fn pack(function: F, values: &[u32]) -> u32 {
    let word = |width: u32, number: &dyn Fn(u32) -> u32| {
        let mask = u32::MAX >> (32 - width);
        let numbers = (0..).zip(values);
        numbers.fold(0, |word, (at, &value)| {
            word | (number(value) & mask) << (at * width)
        })
    };
    match function {
        F::Pack4x8snorm => word(8, &|x| scaled(x, -1.0, 127.0)),
        F::Pack4x8unorm => word(8, &|x| scaled(x, 0.0, 255.0)),
        F::Pack2x16snorm => word(16, &|x| scaled(x, -1.0, 32_767.0)),
        F::Pack2x16unorm => word(16, &|x| scaled(x, 0.0, 65_535.0)),
        F::Pack2x16float => word(16, &|x| f16::from_f32(f32::from_bits(x)).to_bits().into()),
        F::Pack4xI8 | F::Pack4xU8 => word(8, &|x| x),
        F::Pack4xI8Clamp => word(8, &|x| x.cast_signed().clamp(-128, 127).cast_unsigned()),
        F::Pack4xU8Clamp => word(8, &|x| x.min(255)),
        other => unreachable!("{other:?} packs nothing"),
    }
}

pub(super) fn unpack(function: F, word: u32, result: &mut [u32]) {
    let bytes = word.to_le_bytes();
    let [a, b, c, d] = bytes;
    let halves = [[a, b], [c, d]].map(u16::from_le_bytes);
    match function {
        F::Unpack4x8snorm => {
            let number = |byte: u8| snorm(byte.cast_signed().into(), 127.0);
            result.copy_from_slice(&bytes.map(number));
        }
        F::Unpack4x8unorm => {
            result.copy_from_slice(&bytes.map(|byte| (f32::from(byte) / 255.0).to_bits()));
        }
        F::Unpack2x16snorm => {
            let number = |half: u16| snorm(half.cast_signed().into(), 32_767.0);
            result.copy_from_slice(&halves.map(number));
        }
        F::Unpack2x16unorm => {
            result.copy_from_slice(&halves.map(|half| (f32::from(half) / 65_535.0).to_bits()));
        }
        F::Unpack2x16float => {
            let number = |half| f32::from(f16::from_bits(half)).to_bits();
            result.copy_from_slice(&halves.map(number));
        }
        F::Unpack4xI8 => result.copy_from_slice(&signed_bytes(word)),
        F::Unpack4xU8 => result.copy_from_slice(&unsigned_bytes(word)),
        other => unreachable!("{other:?} unpacks nothing"),
    }
}

fn signed_bytes(word: u32) -> [u32; 4] {
    let number = |byte: u8| i32::from(byte.cast_signed()).cast_unsigned();
    word.to_le_bytes().map(number)
}

fn unsigned_bytes(word: u32) -> [u32; 4] {
    word.to_le_bytes().map(u32::from)
}

/// Returns ⌊1/2 + largest · min(max(x, least), 1)⌋, which is exact in double precision.
fn scaled(bits: u32, least: f32, largest: f64) -> u32 {
    let value = f32::from_bits(bits).max(least).min(1.0);
    // The value fits in the packed type.
    #[allow(clippy::cast_possible_truncation)]
    let number = (0.5 + largest * f64::from(value)).floor() as i32;
    number.cast_unsigned()
}

/// Unpacks a signed normalized number. The lowest integer, such as −128, gives −1, like the integer above it.
fn snorm(number: f32, largest: f32) -> u32 {
    (number / largest).max(-1.0).to_bits()
}
