// The gradient of a multiresolution hash grid by its table, dtable[e] = Σ weight(corner) · dy over the corners that have the
// entry e. It is summed in integers, so that the order of additions does not matter:
//
//   unit   = 2^(exponent − bits),  2^exponent above the largest |dy| of the level
//   whole  = dy / unit, without its fraction: below 2^bits
//   upper  = whole · fraction, rounded;  lower = whole − upper      along one axis after the other: a contribution of
//                                                                    each corner, which add up to `whole`
//   dtable = unit · Σ contribution
//
// A contribution is two limbs, its low bits and the rest, that are summed apart: there are as many bits as let neither
// overflow, even where all rows are in one cell. A gradient that is not finite makes NaN of its level.

const INFINITE = 0x7f800000u;

// The exponent of the unit, which is a normal number, as is its reciprocal.
fn unit_of(bits: u32) -> i32 {
    return max(i32(bits >> 23u) - 126 - i32(shape.bits), -126);
}

fn power_of_two(exponent: i32) -> f32 {
    return bitcast<f32>(u32(exponent + 127) << 23u);
}
