// Relative L2 loss over all outputs, loss and gradient in one pass over a row.
//
//   losses[r]   = Σ_c (y[r,c] − t[r,c])² / (y[r,c]² + epsilon) / outputs
//   dy[r,c]     = scale · (y[r,c] − t[r,c]) / (y[r,c]² + epsilon)      with scale = 2 / (rows · outputs)
//
// The gradient takes what is below the line for a constant. One invocation per row. Drivers may assume that no value is
// infinite or NaN, so a row with one among its outputs or targets is found by its bits, and its loss is NaN, as is the
// gradient there. Where a square of finite numbers is too large for f32, the loss is infinite.

struct Shape {
    rows: u32,
    outputs: u32,
    epsilon: f32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> y: array<f32>;             // (rows, outputs)
@group(0) @binding(2) var<storage, read> targets: array<f32>;       // (rows, outputs)
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;  // (1, rows)
@group(0) @binding(4) var<storage, read_write> dy: array<f32>;      // (rows, outputs)

@compute @workgroup_size(64)
fn forward_backward(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
                    @builtin(local_invocation_index) local: u32) {
    let row = (id.x + id.y * count.x) * 64u + local;
    if (row >= shape.rows) {
        return;
    }
    let first = row * shape.outputs;
    var not_a_number = 0x7fc00000u;
    var infinite = 0x7f800000u;
    var finite = true;
    var sum = 0.0;
    for (var c = 0u; c < shape.outputs; c++) {
        let term = relative_term(y[first + c], targets[first + c], shape.epsilon);
        finite = finite & term.is_sound;
        sum += term.loss;
        dy[first + c] = select(bitcast<f32>(not_a_number), shape.scale * term.slope, term.is_sound);
    }
    let mean = sum / f32(shape.outputs);
    let loss = select(bitcast<f32>(infinite), mean, is_finite(mean));
    losses[row] = select(bitcast<f32>(not_a_number), loss, finite);
}
