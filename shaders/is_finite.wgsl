// Whether a value is neither infinite nor NaN. The function tests the bits, because drivers may assume that no value is
// infinite or NaN. This file precedes the shaders of losses.

fn is_finite(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7f800000u) != 0x7f800000u;
}
