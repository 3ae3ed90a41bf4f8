// The gradient of a multiresolution hash grid by its table, dtable[e] = Σ weight(corner) · dy over the corners that
// have the entry e. Integers are summed, so that the order of the additions does not matter:
//
//   unit   = 2^(exponent − 30),  2^exponent above the largest |dy| of the level
//   whole  = dy / unit, truncated: below 2³⁰
//   upper  = whole · fraction, rounded;  lower = whole − upper      along one axis after the other: this gives one
//                                                                    contribution per corner; their sum is `whole`
//   dtable = unit · Σ contribution
//
// A sum has two words: 2³² · high + low − 2³¹. The atomic addition to the low word returns the old value, which shows
// whether the sum left the low word's range. Only then does the high word change; its total change does not depend on
// the order. Sums begin in the middle of the low word's range, so that small sums of either sign stay within. A
// gradient that is not finite makes its level NaN.

const BITS = 30;
const ZERO = 0x80000000u; // the low word of a sum of 0
const INFINITE = 0x7f800000u;

// The exponent of the unit. The unit and its reciprocal are normal numbers.
fn unit_of(bits: u32) -> i32 {
    return max(i32(bits >> 23u) - 126 - BITS, -126);
}

fn power_of_two(exponent: i32) -> f32 {
    return bitcast<f32>(u32(exponent + 127) << 23u);
}
