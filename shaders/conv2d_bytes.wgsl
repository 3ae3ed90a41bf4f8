// Convolution of images of bytes, as the first layer of a network, for lavapipe. conv2d_block.wgsl and
// conv2d_block_weight.wgsl explain the method. Each pixel is x = byte / 255. A word has four bytes, lowest byte first,
// and each row of the minibatch starts a new word. There is no input gradient, because the first layer needs none.

@group(0) @binding(1) var<storage, read> left: array<u32>; // (rows, words)

fn pixel(at: u32) -> f32 {
    return byte(left[at / 4u], at % 4u);
}

// Number of bytes per row of the minibatch, rounded up to whole words.
fn row_of_bytes() -> u32 {
    return (shape.channels * shape.height * shape.width + 3u) / 4u * 4u;
}

@compute @workgroup_size(8)
fn forward(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    forward_block(shape.first + id.x + id.y * count.x, local, row_of_bytes(), 255.0);
}

@compute @workgroup_size(8)
fn backward_weight(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    weight_block(shape.first + id.x + id.y * count.x, local, row_of_bytes(), 255.0);
}
