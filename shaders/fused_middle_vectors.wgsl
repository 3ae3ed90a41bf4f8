// Computes one layer for one row, in the first dispatch of a fused step for the software driver SwiftShader. Two files
// precede this one. software_vectors.wgsl explains why each sum is a variable with a name, and
// fused_middle_software.wgsl has the rest of the dispatch.

// Number of sums that an invocation computes at a time.
const SUMS = 4u;

fn load_scratch(at: vec4u) -> vec4f {
    return vec4f(scratch[at.x], scratch[at.y], scratch[at.z], scratch[at.w]);
}

fn load_weights(at: vec4u) -> vec4f {
    return vec4f(weights[at.x], weights[at.y], weights[at.z], weights[at.w]);
}

fn store_output(layer: u32, at: u32, z: f32, is_there: bool) {
    if (is_there) {
        scratch[at] = activate(mlp.layer[layer].activation, z);
    }
}

fn layer_forward(layer: u32, row: u32) {
    let inputs = mlp.layer[layer].inputs;
    let outputs = mlp.layer[layer].outputs;
    let y = mlp.layer[0].start + row * mlp.columns + mlp.layer[layer].column;
    for (var o = 0u; o < outputs; o += SUMS) {
        let column = min(o + FOUR, vec4u(outputs - 1u));
        var sums = load_weights(mlp.layer[layer].bias + column);
        if (layer == 0u) {
            let pitch = mlp.rows * outputs;
            let slices = mlp.layer[0].start / pitch;
            for (var slice = 0u; slice < slices; slice++) {
                sums += load_scratch(slice * pitch + row * outputs + column);
            }
        } else {
            let x = mlp.layer[0].start + row * mlp.columns + mlp.layer[layer - 1u].column;
            let weight = mlp.layer[layer].weight + column;
            for (var i = 0u; i < inputs; i++) {
                sums += scratch[x + i] * load_weights(weight + i * outputs);
            }
        }
        store_output(layer, y + o, sums.x, true);
        store_output(layer, y + o + 1u, sums.y, o + 1u < outputs);
        store_output(layer, y + o + 2u, sums.z, o + 2u < outputs);
        store_output(layer, y + o + 3u, sums.w, o + 3u < outputs);
    }
}

fn store_delta(layer: u32, x: u32, sum: f32, is_there: bool) {
    if (is_there) {
        scratch[x + mlp.rows * mlp.columns] = through(mlp.layer[layer].activation, scratch[x], sum);
    }
}

// Computes δ of the previous layer from δ of this layer.
fn layer_backward(layer: u32, row: u32) {
    let inputs = mlp.layer[layer].inputs;
    let outputs = mlp.layer[layer].outputs;
    let x = mlp.layer[0].start + row * mlp.columns + mlp.layer[layer - 1u].column;
    let dy = mlp.layer[0].start + (mlp.rows + row) * mlp.columns + mlp.layer[layer].column;
    for (var i = 0u; i < inputs; i += SUMS) {
        let weight = mlp.layer[layer].weight + min(i + FOUR, vec4u(inputs - 1u)) * outputs;
        var sums = vec4f();
        for (var o = 0u; o < outputs; o++) {
            sums += scratch[dy + o] * load_weights(weight + o);
        }
        store_delta(layer - 1u, x + i, sums.x, true);
        store_delta(layer - 1u, x + i + 1u, sums.y, i + 1u < inputs);
        store_delta(layer - 1u, x + i + 2u, sums.z, i + 2u < inputs);
        store_delta(layer - 1u, x + i + 3u, sums.w, i + 3u < inputs);
    }
}
