// The first dispatch of a fused step for software drivers, without workgroup memory and barriers.
// fused_middle_shared.wgsl has the formulas. fused_middle_registers.wgsl or fused_middle_vectors.wgsl follows this file
// and computes one layer for one row.
//
// Each invocation handles one row. It stores the row's outputs and δ in `scratch`, where no other invocation reads or
// writes them. `mlp` is a storage buffer, because with a uniform buffer lavapipe would recompile the kernel at every
// change of pipeline.

@group(0) @binding(0) var<storage, read> mlp: Mlp;

// Returns the loss of one row. The row's logits start at index `at` of `scratch`. Stores δ from index `delta` on.
fn softmax_cross_entropy(at: u32, delta: u32, classes: u32, label: u32) -> f32 {
    var largest = scratch[at];
    var finite = true;
    for (var c = 0u; c < classes; c++) {
        largest = max(largest, scratch[at + c]);
        finite = finite && is_finite(scratch[at + c]);
    }
    var sum = 0.0;
    for (var c = 0u; c < classes; c++) {
        let e = exp(scratch[at + c] - largest);
        scratch[delta + c] = e;
        sum += e;
    }
    for (var c = 0u; c < classes; c++) {
        let target_probability = select(0.0, 1.0, c == label);
        scratch[delta + c] = (scratch[delta + c] / sum - target_probability) / f32(mlp.rows);
    }
    var not_a_number = 0x7fc00000u;
    var infinite = 0x7f800000u;
    let loss = log(sum) - (scratch[at + label] - largest);
    let in_range = select(bitcast<f32>(infinite), loss, is_finite(loss));
    return select(bitcast<f32>(not_a_number), in_range, finite);
}

@compute @workgroup_size(8)
fn middle(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let row = (id.x + id.y * count.x) * 8u + local;
    if (row >= mlp.rows) {
        return;
    }
    let last = mlp.layers - 1u;
    for (var layer = 0u; layer <= last; layer++) {
        layer_forward(layer, row);
    }
    let t = step_now[0];
    let label = labels[(t & mlp.list_mask) * mlp.rows + row];
    let next = list[((t + 1u) & mlp.list_mask) * mlp.rows + row];
    let at = mlp.layer[0].start + row * mlp.columns + mlp.layer[last].column;
    let delta = at + mlp.rows * mlp.columns;
    scratch[mlp.layer[0].start + 2u * mlp.rows * mlp.columns + row] =
        softmax_cross_entropy(at, delta, mlp.layer[last].outputs, label);
    for (var layer = last; layer > 0u; layer--) {
        layer_backward(layer, row);
    }
    let words = mlp.words;
    let ahead = row * words;
    let now = (mlp.rows + row) * words;
    for (var word = 0u; word < words; word++) {
        minibatch[now + word] = minibatch[ahead + word];
        minibatch[ahead + word] = bytes[next * words + word];
    }
}
