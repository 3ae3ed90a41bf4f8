//! Numbers packed into a word and back.

use half::f16;

use super::{F, Number, to_bits, whole};

fn packed(function: F, values: &[f32]) -> u32 {
    let [word] = whole(function, Number::F32, &[&to_bits(values)]);
    word
}

fn unpacked<const N: usize>(function: F, word: u32) -> [f32; N] {
    whole(function, Number::U32, &[&[word]]).map(f32::from_bits)
}

#[test]
fn fractions_are_packed() {
    assert_eq!(packed(F::Pack4x8snorm, &[1.0, -1.0, 0.0, 0.5]), 0x4000_817f);
    assert_eq!(
        packed(F::Pack4x8snorm, &[9.0, -9.0, -0.5, f32::INFINITY]),
        0x7fc1_817f
    );
    assert_eq!(packed(F::Pack4x8unorm, &[0.0, 1.0, 0.5, 0.25]), 0x4080_ff00);
    assert_eq!(
        packed(F::Pack4x8unorm, &[-3.0, 3.0, f32::NAN, 0.0]),
        0x0000_ff00
    );
    assert_eq!(packed(F::Pack2x16snorm, &[1.0, -1.0]), 0x8001_7fff);
    assert_eq!(packed(F::Pack2x16snorm, &[0.5, -0.5]), 0xc001_4000);
    assert_eq!(packed(F::Pack2x16unorm, &[1.0, 0.5]), 0x8000_ffff);
    // The scaled value lies just below 1/2 and rounds down. In single precision, adding 1/2 would round it up.
    let [byte, word] = [0.5 / 127.0, 0.5 / 65_535.0];
    assert_eq!(packed(F::Pack4x8snorm, &[byte, byte, 0.0, 0.0]), 0);
    assert_eq!(packed(F::Pack2x16unorm, &[word, word]), 0);
}

#[test]
fn fractions_are_unpacked() {
    // The lowest integer gives −1, like the integer above it.
    assert_eq!(
        unpacked(F::Unpack4x8snorm, 0x0180_817f),
        [1.0, -1.0, -1.0, 1.0 / 127.0]
    );
    assert_eq!(
        unpacked(F::Unpack4x8unorm, 0x3300_01ff),
        [1.0, 1.0 / 255.0, 0.0, 0.2]
    );
    assert_eq!(unpacked(F::Unpack2x16snorm, 0x8000_7fff), [1.0, -1.0]);
    assert_eq!(
        unpacked(F::Unpack2x16snorm, 0xffff_0002),
        [2.0 / 32_767.0, -1.0 / 32_767.0]
    );
    assert_eq!(unpacked(F::Unpack2x16unorm, 0x3333_ffff), [1.0, 0.2]);
}

#[test]
fn halves() {
    assert_eq!(packed(F::Pack2x16float, &[1.0, -2.0]), 0xc000_3c00);
    assert_eq!(packed(F::Pack2x16float, &[65_504.0, 0.1]), 0x2e66_7bff);
    assert_eq!(
        packed(F::Pack2x16float, &[1.0 + 1.0 / 2048.0, 2.0_f32.powi(-24)]),
        0x0001_3c00
    );
    assert_eq!(unpacked(F::Unpack2x16float, 0xc000_3c00), [1.0, -2.0]);
    assert_eq!(
        unpacked(F::Unpack2x16float, 0xfc00_0001),
        [2.0_f32.powi(-24), f32::NEG_INFINITY]
    );
    // Every 16-bit pattern that is not a NaN is unchanged after unpacking and packing.
    for bits in 0..=u16::MAX {
        if !f16::from_bits(bits).is_nan() {
            let [value, zero] = unpacked(F::Unpack2x16float, bits.into());
            assert_eq!(packed(F::Pack2x16float, &[value, zero]), bits.into());
        }
    }
}

#[test]
fn bytes() {
    let integers = |function, number, values: [i32; 4]| -> [u32; 1] {
        whole(function, number, &[&values.map(i32::cast_unsigned)])
    };
    assert_eq!(
        integers(F::Pack4xI8, Number::I32, [1, -1, 128, -129]),
        [0x7f80_ff01]
    );
    assert_eq!(
        integers(F::Pack4xU8, Number::U32, [1, 255, 256, 511]),
        [0xff00_ff01]
    );
    assert_eq!(
        integers(F::Pack4xI8Clamp, Number::I32, [1, -1, 128, -129]),
        [0x807f_ff01]
    );
    assert_eq!(
        integers(
            F::Pack4xI8Clamp,
            Number::I32,
            [i32::MAX, i32::MIN, 127, -128]
        ),
        [0x807f_807f]
    );
    // The unsigned number with the bits of −1 is the largest.
    assert_eq!(
        integers(F::Pack4xU8Clamp, Number::U32, [1, 255, 256, -1]),
        [0xffff_ff01]
    );

    let signed = whole(F::Unpack4xI8, Number::U32, &[&[0x807f_ff01]]);
    assert_eq!(signed.map(u32::cast_signed), [1, -1, 127, -128]);
    assert_eq!(
        whole(F::Unpack4xU8, Number::U32, &[&[0x807f_ff01]]),
        [1, 255, 127, 128]
    );

    let dot =
        |function, x: u32, y: u32| -> [u32; 1] { whole(function, Number::U32, &[&[x], &[y]]) };
    // 1·2 − 1·3 + 127·1 − 128·127.
    assert_eq!(
        dot(F::Dot4I8Packed, 0x807f_ff01, 0x7f01_0302),
        [(-16_130_i32).cast_unsigned()]
    );
    // 1·2 + 255·3 + 127·1 + 128·127.
    assert_eq!(dot(F::Dot4U8Packed, 0x807f_ff01, 0x7f01_0302), [17_150]);
    assert_eq!(dot(F::Dot4I8Packed, 0x8080_8080, 0x8080_8080), [65_536]);
    assert_eq!(dot(F::Dot4U8Packed, u32::MAX, u32::MAX), [260_100]);
}
