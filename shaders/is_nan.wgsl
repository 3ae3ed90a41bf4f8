// Whether a value is NaN, by its bits, as drivers may assume that none is.

fn is_nan(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
}
