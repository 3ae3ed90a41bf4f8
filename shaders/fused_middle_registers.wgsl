// The first dispatch of a fused step for drivers that run on a CPU: the mathematics of
// fused_middle_shared.wgsl, without workgroup memory and without barriers.
//
// A row is an invocation's, and what it makes of it lies in `scratch`, which no other touches there.
// `mlp` is no uniform: that driver would compile the kernel anew at every change of pipeline.

// Sums that an invocation holds.
const SUMS = 10u;

@group(0) @binding(0) var<storage, read> mlp: Mlp;

// Loss of one row, and its δ at `delta`, from the logits at `at`.
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

fn layer_forward(layer: u32, row: u32) {
    let inputs = mlp.layer[layer].inputs;
    let outputs = mlp.layer[layer].outputs;
    let y = mlp.layer[0].start + row * mlp.columns + mlp.layer[layer].column;
    for (var o = 0u; o < outputs; o += SUMS) {
        var column: array<u32, SUMS>;
        var sums = array<f32, SUMS>();
        for (var j = 0u; j < SUMS; j++) {
            column[j] = min(o + j, outputs - 1u);
            sums[j] = weights[mlp.layer[layer].bias + column[j]];
        }
        if (layer == 0u) {
            let pitch = mlp.rows * outputs;
            let slices = mlp.layer[0].start / pitch;
            for (var slice = 0u; slice < slices; slice++) {
                for (var j = 0u; j < SUMS; j++) {
                    sums[j] += scratch[slice * pitch + row * outputs + column[j]];
                }
            }
        } else {
            let x = mlp.layer[0].start + row * mlp.columns + mlp.layer[layer - 1u].column;
            for (var i = 0u; i < inputs; i++) {
                let value = scratch[x + i];
                for (var j = 0u; j < SUMS; j++) {
                    sums[j] += value * weights[mlp.layer[layer].weight + i * outputs + column[j]];
                }
            }
        }
        for (var j = 0u; j < SUMS; j++) {
            if (o + j < outputs) {
                scratch[y + o + j] = activate(mlp.layer[layer].activation, sums[j]);
            }
        }
    }
}

// δ of the layer before, from the δ of this one.
fn layer_backward(layer: u32, row: u32) {
    let inputs = mlp.layer[layer].inputs;
    let outputs = mlp.layer[layer].outputs;
    let x = mlp.layer[0].start + row * mlp.columns + mlp.layer[layer - 1u].column;
    let dx = x + mlp.rows * mlp.columns;
    let dy = mlp.layer[0].start + (mlp.rows + row) * mlp.columns + mlp.layer[layer].column;
    for (var i = 0u; i < inputs; i += SUMS) {
        var weight: array<u32, SUMS>;
        var sums = array<f32, SUMS>();
        for (var j = 0u; j < SUMS; j++) {
            weight[j] = mlp.layer[layer].weight + min(i + j, inputs - 1u) * outputs;
        }
        for (var o = 0u; o < outputs; o++) {
            let value = scratch[dy + o];
            for (var j = 0u; j < SUMS; j++) {
                sums[j] += value * weights[weight[j] + o];
            }
        }
        for (var j = 0u; j < SUMS; j++) {
            if (i + j < inputs) {
                scratch[dx + i + j] =
                    through(mlp.layer[layer - 1u].activation, scratch[x + i + j], sums[j]);
            }
        }
    }
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
