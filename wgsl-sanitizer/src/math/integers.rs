//! Component-wise functions of integers.

use naga::MathFunction as F;

#[inline]
pub(super) fn signed(function: F, bits: [u32; 4]) -> u32 {
    let [x, y, z, _] = bits.map(u32::cast_signed);
    let value = match function {
        F::Min => x.min(y),
        F::Max => x.max(y),
        F::Abs => x.wrapping_abs(),
        F::Clamp => x.max(y).min(z),
        F::Sign => x.signum(),
        F::ExtractBits => match field(bits[1], bits[2]) {
            (_, 0) => 0,
            (offset, count) => x << (32 - count - offset) >> (32 - count),
        },
        // The highest bit that differs from the sign bit.
        F::FirstLeadingBit => return leading(bits[0] ^ (x >> 31).cast_unsigned()),
        // The other functions do the same for signed and unsigned integers.
        _ => return unsigned(function, bits),
    };
    value.cast_unsigned()
}

#[inline]
pub(super) fn unsigned(function: F, [x, y, z, w]: [u32; 4]) -> u32 {
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
        F::ExtractBits => match field(y, z) {
            (_, 0) => 0,
            (offset, count) => x << (32 - count - offset) >> (32 - count),
        },
        F::InsertBits => match field(z, w) {
            (_, 0) => x,
            (offset, count) => {
                let mask = u32::MAX >> (32 - count) << offset;
                x & !mask | y << offset & mask
            }
        },
        F::FirstTrailingBit => match x {
            0 => u32::MAX,
            _ => x.trailing_zeros(),
        },
        F::FirstLeadingBit => leading(x),
        other => unreachable!("{other:?} of a component of integers"),
    }
}

/// Returns the index of the highest bit that is 1, or −1 if all bits are 0.
fn leading(x: u32) -> u32 {
    31_u32.wrapping_sub(x.leading_zeros())
}

/// Clamps the offset and the length of a bit field so that the field stays inside 32 bits.
fn field(offset: u32, count: u32) -> (u32, u32) {
    let offset = offset.min(32);
    (offset, count.min(32 - offset))
}
