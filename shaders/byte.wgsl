// One of four bytes packed into a word, lowest byte first. This file precedes shaders that unpack bytes.

fn byte(four: u32, place: u32) -> f32 {
    return f32((four >> (8u * place)) & 255u);
}
