// The entry points of a convolution for SwiftShader. conv2d_vectors_block.wgsl and conv2d_vectors_weight.wgsl, which
// precede this file, explain the method.

@compute @workgroup_size(8)
fn forward(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let view = forward_view(shape.channels * shape.height * shape.width);
    let block = block_of(shape.first + id.x + id.y * count.x, local, view);
    if (block.position >= shape.rows * view.height * view.width) {
        return;
    }
    let sums = multiply(block, view);
    store(block, view, Sums(
        finished(block.column, sums.upper_left),
        finished(block.column + 4u, sums.upper_right),
        finished(block.column, sums.lower_left),
        finished(block.column + 4u, sums.lower_right),
    ));
}

@compute @workgroup_size(8)
fn backward_input(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let view = backward_view();
    let block = block_of(shape.first + id.x + id.y * count.x, local, view);
    if (block.position >= shape.rows * view.height * view.width) {
        return;
    }
    store(block, view, multiply(block, view));
}
