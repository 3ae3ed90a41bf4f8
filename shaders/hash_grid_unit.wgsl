// The gradient of a multiresolution hash grid by its table, dtable[e] = Σ weight(corner) · dy over the corners that
// have the entry e. It is summed in integers, so that the order of additions does not matter:
//
//   unit   = 2^(exponent − 30),  2^exponent above the largest |dy| of the level
//   whole  = dy / unit, without its fraction: below 2³⁰
//   upper  = whole · fraction, rounded;  lower = whole − upper      along one axis after the other: a contribution of
//                                                                    each corner, which add up to `whole`
//   dtable = unit · Σ contribution
//
// A sum is two words, 2³² · high + low − 2³¹. The atomic addition to the low word returns what was there, which tells
// whether it ran over; only then is there anything to add to the high word. How often it ran over is the same in any
// order. Sums begin in the middle of the low word, so that small ones of either sign stay within. A gradient that is
// not finite makes NaN of its level.

const BITS = 30;
const ZERO = 0x80000000u; // the low word of a sum of 0
const INFINITE = 0x7f800000u;

// The exponent of the unit, which is a normal number, as is its reciprocal.
fn unit_of(bits: u32) -> i32 {
    return max(i32(bits >> 23u) - 126 - BITS, -126);
}

fn power_of_two(exponent: i32) -> f32 {
    return bitcast<f32>(u32(exponent + 127) << 23u);
}
