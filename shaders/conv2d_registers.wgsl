// Convolution of floats for lavapipe. conv2d_block.wgsl and conv2d_block_weight.wgsl explain the method.

@group(0) @binding(1) var<storage, read> left: array<f32>; // x or dy: see conv2d_shape.wgsl

fn pixel(at: u32) -> f32 {
    return left[at];
}

@compute @workgroup_size(8)
fn forward(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let row = shape.channels * shape.height * shape.width;
    forward_block(shape.first + id.x + id.y * count.x, local, row, 1.0);
}

@compute @workgroup_size(8)
fn backward_input(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = shape.first + id.x + id.y * count.x;
    let view = backward_view();
    let first = first_position(workgroup, local, view);
    if (first >= shape.rows * view.height * view.width) {
        return;
    }
    let column = first_column(workgroup, view);
    var sums: Sums;
    multiply(first, column, view, &sums);
    store(first, column, view, &sums);
}

@compute @workgroup_size(8)
fn backward_weight(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let row = shape.channels * shape.height * shape.width;
    weight_block(shape.first + id.x + id.y * count.x, local, row, 1.0);
}
