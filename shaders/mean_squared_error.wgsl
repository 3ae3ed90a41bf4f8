// Mean squared error over all outputs. Computes loss and gradient in one pass over a row.
//
//   losses[r]     = Σ_c (y[r,c] − t[r,c])² / outputs
//   dy[r,c]       = scale · (y[r,c] − t[r,c])       with scale = 2 / (rows · outputs)
//
// There is one invocation per row.

struct Shape {
    rows: u32,
    outputs: u32,
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
    var sum = 0.0;
    for (var c = 0u; c < shape.outputs; c++) {
        let difference = y[first + c] - targets[first + c];
        dy[first + c] = shape.scale * difference;
        sum += difference * difference;
    }
    losses[row] = sum / f32(shape.outputs);
}
