// The rectified linear unit. Returns the value if it is above 0 or NaN, else 0. The function tests the bits, because a
// driver may assume that no value is NaN. It could then compile a comparison with 0 to a maximum, which loses NaN. The
// values with the bits of −0 to −∞ become 0.

fn rectified(value: f32) -> f32 {
    return select(value, 0.0, bitcast<u32>(value) - 0x80000000u <= 0x7f800000u);
}

fn rectified_four(values: vec4f) -> vec4f {
    return select(values, vec4f(), bitcast<vec4u>(values) - 0x80000000u <= vec4u(0x7f800000u));
}
