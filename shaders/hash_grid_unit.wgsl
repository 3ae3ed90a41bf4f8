// The table gradient of a multiresolution hash grid: dtable[e] = Σ weight(corner) · dy over all corners whose entry is
// e. The contributions are summed as integers, so that the order of the additions does not change the result:
//
//   unit   = 2^(exponent − 30)      with 2^exponent above the largest |dy| of the level
//   whole  = dy / unit, truncated to an integer; |whole| < 2³⁰
//   upper  = whole · fraction, rounded;  lower = whole − upper      along one axis after the other: this gives one
//                                                                    contribution per corner; their sum is `whole`
//   dtable = unit · Σ contribution
//
// A sum has two words, high and low, and the value 2³² · high + low − 2³¹. The atomic addition to the low word returns
// the old word, which shows whether the addition overflowed. Only then the high word changes. Its total change does not
// depend on the order of the additions. A sum of 0 has the low word 2³¹, the middle of the range, so that small sums of
// both signs do not overflow. If a gradient is not finite, the whole gradient of its level is NaN.

const BITS = 30;
const ZERO = 0x80000000u; // the low word of a sum of 0
const INFINITE = 0x7f800000u;

// Returns the exponent of the unit, from the bits of the largest |dy|. It is limited so that the unit and its
// reciprocal are normal numbers.
fn unit_of(bits: u32) -> i32 {
    return max(i32(bits >> 23u) - 126 - BITS, -126);
}

fn power_of_two(exponent: i32) -> f32 {
    return bitcast<f32>(u32(exponent + 127) << 23u);
}
