// Binary cross-entropy of sigmoid(logits), loss and gradient in one pass over a row.
//
//   z             = logits[r,c]
//   losses[r]     = Σ_c (max(z, 0) − z·t[r,c] + log(1 + e^−|z|)) / outputs     (so that no power of e overflows)
//   dlogits[r,c]  = scale · (1 / (1 + e^−z) − t[r,c])                          with scale = 1 / (rows · outputs)
//
// One invocation per row. Drivers may assume that no value is infinite or NaN, so a row of logits with one is found by
// its bits, and its loss is NaN. So is the loss of a row with a target that is not 0 to 1. Where a loss of finite
// logits is too large for f32, it is infinite.

struct Shape {
    rows: u32,
    outputs: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> logits: array<f32>;         // (rows, outputs)
@group(0) @binding(2) var<storage, read> targets: array<f32>;        // (rows, outputs)
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;   // (1, rows)
@group(0) @binding(4) var<storage, read_write> dlogits: array<f32>;  // (rows, outputs)

@compute @workgroup_size(64)
fn forward_backward(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
                    @builtin(local_invocation_index) local: u32) {
    let row = (id.x + id.y * count.x) * 64u + local;
    if (row >= shape.rows) {
        return;
    }
    let first = row * shape.outputs;
    var sound = true;
    var sum = 0.0;
    for (var c = 0u; c < shape.outputs; c++) {
        let term = binary_term(logits[first + c], targets[first + c]);
        sound = sound && term.is_sound;
        sum += term.loss;
        dlogits[first + c] = shape.scale * term.slope;
    }
    var not_a_number = 0x7fc00000u;
    var infinite = 0x7f800000u;
    let mean = sum / f32(shape.outputs);
    let in_range = select(bitcast<f32>(infinite), mean, is_finite(mean));
    losses[row] = select(bitcast<f32>(not_a_number), in_range, sound);
}
