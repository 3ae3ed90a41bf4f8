// A byte of four that are packed into a word, lowest first. Shaders that unpack bytes have this before them.

fn byte(four: u32, place: u32) -> f32 {
    return f32((four >> (8u * place)) & 255u);
}
