// Whether a value is NaN. The bits are tested, because drivers may assume that no value is.

fn is_nan(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
}
