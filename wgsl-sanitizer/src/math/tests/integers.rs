//! Component-wise functions of integers.

use super::{F, signed, unsigned};

const LEAST: i32 = i32::MIN;

#[test]
fn comparisons() {
    signed(
        F::Abs,
        &[(&[-5], 5), (&[5], 5), (&[0], 0), (&[LEAST], LEAST)],
    );
    unsigned(F::Abs, &[(&[u32::MAX], u32::MAX), (&[0], 0)]);
    signed(F::Min, &[(&[-1, 1], -1), (&[LEAST, i32::MAX], LEAST)]);
    unsigned(F::Min, &[(&[u32::MAX, 1], 1), (&[0, 7], 0)]);
    signed(F::Max, &[(&[-1, 1], 1), (&[LEAST, i32::MAX], i32::MAX)]);
    unsigned(F::Max, &[(&[u32::MAX, 1], u32::MAX), (&[0, 7], 7)]);
    signed(
        F::Clamp,
        &[
            (&[5, -2, 3], 3),
            (&[-5, -2, 3], -2),
            (&[1, -2, 3], 1),
            (&[1, 3, -2], -2),
        ],
    );
    unsigned(
        F::Clamp,
        &[
            (&[5, 2, 3], 3),
            (&[0, 2, 3], 2),
            (&[u32::MAX, 2, 3], 3),
            (&[0, 3, 2], 2),
        ],
    );
    signed(
        F::Sign,
        &[(&[LEAST], -1), (&[-1], -1), (&[0], 0), (&[9], 1)],
    );
    unsigned(F::Sign, &[(&[0], 0), (&[u32::MAX], 1)]);
}

#[test]
fn counts() {
    unsigned(
        F::CountTrailingZeros,
        &[(&[0], 32), (&[1], 0), (&[0x8000_0000], 31), (&[0b1100], 2)],
    );
    signed(
        F::CountTrailingZeros,
        &[(&[0], 32), (&[LEAST], 31), (&[-2], 1)],
    );
    unsigned(
        F::CountLeadingZeros,
        &[(&[0], 32), (&[1], 31), (&[u32::MAX], 0)],
    );
    signed(F::CountLeadingZeros, &[(&[0], 32), (&[1], 31), (&[-1], 0)]);
    unsigned(
        F::CountOneBits,
        &[(&[0], 0), (&[u32::MAX], 32), (&[0xf0f1], 9)],
    );
    signed(F::CountOneBits, &[(&[-1], 32), (&[LEAST], 1)]);
    unsigned(
        F::FirstTrailingBit,
        &[
            (&[0], u32::MAX),
            (&[1], 0),
            (&[0x8000_0000], 31),
            (&[0b1100], 2),
        ],
    );
    signed(
        F::FirstTrailingBit,
        &[(&[0], -1), (&[LEAST], 31), (&[-1], 0)],
    );
    unsigned(
        F::FirstLeadingBit,
        &[
            (&[0], u32::MAX),
            (&[1], 0),
            (&[u32::MAX], 31),
            (&[0b1100], 3),
        ],
    );
    signed(
        F::FirstLeadingBit,
        &[
            (&[0], -1),
            (&[-1], -1),
            (&[1], 0),
            (&[-2], 0),
            (&[i32::MAX], 30),
            (&[LEAST], 30),
            (&[-9], 3),
            (&[0b1100], 3),
        ],
    );
}

#[test]
fn reversal() {
    unsigned(
        F::ReverseBits,
        &[
            (&[1], 0x8000_0000),
            (&[0x0000_00f0], 0x0f00_0000),
            (&[u32::MAX], u32::MAX),
        ],
    );
    signed(F::ReverseBits, &[(&[1], LEAST), (&[-2], i32::MAX)]);
}

#[test]
fn bit_fields_are_read() {
    let word = 0xf234_5678;
    unsigned(
        F::ExtractBits,
        &[
            (&[word, 0, 0], 0),
            (&[word, 4, 8], 0x67),
            (&[word, 28, 4], 0xf),
            (&[word, 0, 32], word),
            // Offset and count are clamped so that the field ends at bit 31.
            (&[word, 28, 30], 0xf),
            (&[word, 32, 1], 0),
            (&[word, 32, 0], 0),
            (&[word, 99, 99], 0),
            (&[word, 0, 99], word),
            (&[word, 1, u32::MAX], word >> 1),
            (&[word, u32::MAX, u32::MAX], 0),
        ],
    );
    signed(
        F::ExtractBits,
        &[
            // The highest bit of a field is its sign bit.
            (&[0x0000_00f0, 4, 4], -1),
            (&[0x0000_0070, 4, 4], 7),
            (&[LEAST, 31, 1], -1),
            (&[LEAST, 0, 32], LEAST),
            (&[-8, 1, 99], -4),
            (&[-1, 0, 0], 0),
            (&[-1, 32, 1], 0),
        ],
    );
}

#[test]
fn bit_fields_are_written() {
    let word = 0xf234_5678;
    unsigned(
        F::InsertBits,
        &[
            (&[word, 0xabcd, 4, 8], 0xf234_5cd8),
            (&[word, u32::MAX, 0, 0], word),
            (&[word, 0xabcd, 0, 32], 0xabcd),
            (&[word, 0, 28, 4], 0x0234_5678),
            // Offset and count are clamped so that the field ends at bit 31.
            (&[word, 0, 28, 30], 0x0234_5678),
            (&[word, 0, 32, 1], word),
            (&[word, 0, 99, 99], word),
            (&[word, 1, 1, u32::MAX], 2),
        ],
    );
    signed(
        F::InsertBits,
        &[
            (&[0, -1, 4, 4], 0xf0),
            (&[-1, 0, 31, 1], i32::MAX),
            (&[-1, 5, 0, 32], 5),
            (&[7, -1, 32, 32], 7),
        ],
    );
}
