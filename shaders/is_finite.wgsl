// Whether a value is neither infinite nor NaN, by its bits, as drivers may assume that none is. Shaders of a
// loss have this before them.

fn is_finite(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7f800000u) != 0x7f800000u;
}
