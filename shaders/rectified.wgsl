// The rectified linear unit: the value itself if it is above 0 or NaN, else 0. The bits are tested, because a driver
// may assume that no value is NaN and compile a comparison to a maximum with 0, which loses NaN. The bit patterns from
// −0 to −∞ are the numbers that become 0.

fn rectified(value: f32) -> f32 {
    return select(value, 0.0, bitcast<u32>(value) - 0x80000000u <= 0x7f800000u);
}

fn rectified_four(values: vec4f) -> vec4f {
    return select(values, vec4f(), bitcast<vec4u>(values) - 0x80000000u <= vec4u(0x7f800000u));
}
