// Converts the index of a position in all images of the minibatch to row, y and x.
fn position(index: u32, height: u32, width: u32) -> vec3u {
    let y = index / width;
    return vec3u(y / height, y % height, index % width);
}
