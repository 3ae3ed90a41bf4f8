// The kernel of losses over values (not classes). It computes loss and gradient in one pass over a row. The file that
// follows this one defines the loss by a function term(y, t):
//
//   losses[r]   = Σ_c term(y[r,c], t[r,c]).loss / outputs
//   dy[r,c]     = scale · term(y[r,c], t[r,c]).slope
//
// There is one invocation per row. If an output or its target is invalid for the loss, for example NaN, the loss of the
// row and the gradient of that output are NaN. The terms find such values by their bits, because drivers may assume
// that no value is infinite or NaN. If all values are valid but the loss is too large for f32, the loss is infinite.
//
// loss_terms.wgsl precedes this file. The file that follows also defines Shape, with rows, outputs and scale.

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
    var is_sound = true;
    var sum = 0.0;
    for (var c = 0u; c < shape.outputs; c++) {
        let of_value = term(y[first + c], targets[first + c]);
        is_sound = is_sound & of_value.is_sound;
        sum += of_value.loss;
        dy[first + c] = select(bitcast<f32>(not_a_number), shape.scale * of_value.slope, of_value.is_sound);
    }
    let mean = sum / f32(shape.outputs);
    let in_range = select(bitcast<f32>(infinite), mean, is_finite(mean));
    losses[row] = select(bitcast<f32>(not_a_number), in_range, is_sound);
}
