// What a rectified linear unit makes of a value: itself where it is above 0 or NaN, else 0. Seen by its bits: a driver
// may assume that there is no NaN, and take the larger of the value and 0, which loses one. From −0 to −∞ the bits are
// those of a number that is not above 0.

fn rectified(value: f32) -> f32 {
    return select(value, 0.0, bitcast<u32>(value) - 0x80000000u <= 0x7f800000u);
}

fn rectified_four(values: vec4f) -> vec4f {
    return select(values, vec4f(), bitcast<vec4u>(values) - 0x80000000u <= vec4u(0x7f800000u));
}
