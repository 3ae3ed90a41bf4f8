// Whether a value is NaN. The function tests the bits, because drivers may assume that no value is NaN.

fn is_nan(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
}
