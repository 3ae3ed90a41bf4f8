//! Numbers packed into a word, lowest first.

use half::f16;
use naga::MathFunction as F;

/// The bytes of a word, sign-extended or not, as words.
fn bytes(word: u32, is_signed: bool) -> [u32; 4] {
    word.to_le_bytes().map(|byte| match is_signed {
        true => i32::from(byte.cast_signed()).cast_unsigned(),
        false => byte.into(),
    })
}

fn halves(word: u32) -> [u16; 2] {
    let [a, b, c, d] = word.to_le_bytes();
    [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])]
}

pub(super) fn dot_packed(function: F, x: u32, y: u32) -> u32 {
    let is_signed = function == F::Dot4I8Packed;
    let products = bytes(x, is_signed).into_iter().zip(bytes(y, is_signed));
    products.fold(0, |sum: u32, (x, y)| sum.wrapping_add(x.wrapping_mul(y)))
}

/// ⌊1/2 + largest · min(max(x, least), 1)⌋
// The number is within the range of what it is packed into.
#[allow(clippy::cast_possible_truncation)]
fn scaled(bits: u32, least: f32, largest: f32) -> i32 {
    let value = f32::from_bits(bits).max(least).min(1.0);
    (0.5 + largest * value).floor() as i32
}

pub(super) fn pack(function: F, values: &[u32]) -> u32 {
    let (width, number): (u32, Box<dyn Fn(u32) -> u32>) = match function {
        F::Pack4x8snorm => (8, Box::new(|x| scaled(x, -1.0, 127.0).cast_unsigned())),
        F::Pack4x8unorm => (8, Box::new(|x| scaled(x, 0.0, 255.0).cast_unsigned())),
        F::Pack2x16snorm => (16, Box::new(|x| scaled(x, -1.0, 32_767.0).cast_unsigned())),
        F::Pack2x16unorm => (16, Box::new(|x| scaled(x, 0.0, 65_535.0).cast_unsigned())),
        F::Pack2x16float => (
            16,
            Box::new(|x| f16::from_f32(f32::from_bits(x)).to_bits().into()),
        ),
        F::Pack4xI8Clamp => (
            8,
            Box::new(|x| x.cast_signed().clamp(-128, 127).cast_unsigned()),
        ),
        F::Pack4xU8Clamp => (8, Box::new(|x| x.min(255))),
        _ => (8, Box::new(|x| x)),
    };
    let mask = u32::MAX >> (32 - width);
    let numbers = values.iter().map(|&value| number(value) & mask);
    (0..)
        .zip(numbers)
        .fold(0, |word, (at, number)| word | number << (at * width))
}

pub(super) fn unpack(function: F, word: u32, result: &mut [u32]) {
    let signed = |value: i32, largest: f32| {
        // Small integers are exact.
        #[allow(clippy::cast_precision_loss)]
        let value = value as f32;
        (value / largest).max(-1.0).to_bits()
    };
    let unsigned = |value: u16, largest: f32| (f32::from(value) / largest).to_bits();
    let four = |of: &dyn Fn(u8) -> u32| word.to_le_bytes().map(of).to_vec();
    let two = |of: &dyn Fn(u16) -> u32| halves(word).map(of).to_vec();
    let values = match function {
        F::Unpack4x8snorm => four(&|byte| signed(byte.cast_signed().into(), 127.0)),
        F::Unpack4x8unorm => four(&|byte| unsigned(byte.into(), 255.0)),
        F::Unpack2x16snorm => two(&|half| signed(half.cast_signed().into(), 32_767.0)),
        F::Unpack2x16unorm => two(&|half| unsigned(half, 65_535.0)),
        F::Unpack2x16float => two(&|half| f32::from(f16::from_bits(half)).to_bits()),
        F::Unpack4xI8 => bytes(word, true).to_vec(),
        _ => bytes(word, false).to_vec(),
    };
    result.copy_from_slice(&values);
}
