// Softmax with cross-entropy loss. Computes loss and gradient in one pass over a row.
//
//   z        = logits[r] − max(logits[r])             (so that e^z never overflows)
//   loss[r]  = log Σ_c e^z[c] − z[label]
//   dlogits  = scale · (e^z / Σ_c e^z − onehot(label))  with scale = 1 / rows
//
// There is one invocation per row. The loss of a row is NaN if one of its logits is infinite or NaN, or if its label is
// not below `classes`. The shader tests the bits of the logits, because drivers may assume that no value is infinite or
// NaN. If all logits are finite but the loss is too large for f32, the loss is infinite.

struct Shape {
    rows: u32,
    classes: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> logits: array<f32>;         // (rows, classes)
@group(0) @binding(2) var<storage, read> labels: array<u32>;         // (1, rows)
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;   // (1, rows)
@group(0) @binding(4) var<storage, read_write> dlogits: array<f32>;  // (rows, classes)

@compute @workgroup_size(64)
fn forward_backward(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
                    @builtin(local_invocation_index) local: u32) {
    let row = (id.x + id.y * count.x) * 64u + local;
    if (row >= shape.rows) {
        return;
    }
    let first = row * shape.classes;
    var largest = logits[first];
    let label = min(labels[row], shape.classes - 1u);
    var finite = label == labels[row];
    for (var c = 0u; c < shape.classes; c++) {
        largest = max(largest, logits[first + c]);
        finite = finite && is_finite(logits[first + c]);
    }
    var sum = 0.0;
    for (var c = 0u; c < shape.classes; c++) {
        let e = exp(logits[first + c] - largest);
        dlogits[first + c] = e;
        sum += e;
    }
    for (var c = 0u; c < shape.classes; c++) {
        let target_probability = select(0.0, 1.0, c == label);
        dlogits[first + c] = shape.scale * (dlogits[first + c] / sum - target_probability);
    }
    var not_a_number = 0x7fc00000u;
    var infinite = 0x7f800000u;
    let loss = log(sum) - (logits[first + label] - largest);
    let in_range = select(bitcast<f32>(infinite), loss, is_finite(loss));
    losses[row] = select(bitcast<f32>(not_a_number), in_range, finite);
}
