// Computes one layer for one row, in the first dispatch of a fused step for the software driver lavapipe.
// fused_middle_software.wgsl, which precedes this file, has the rest of the dispatch. lavapipe unrolls loops of
// constant length, and can therefore keep arrays in registers.

// Number of sums that an invocation computes at a time.
const SUMS = 10u;

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

// Computes δ of the previous layer from δ of this layer.
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
