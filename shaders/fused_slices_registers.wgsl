// Blocks of weights in the second dispatch of a fused step for the software driver lavapipe, without workgroup memory
// and barriers. fused_slices_shared.wgsl has the formulas, and fused_slices_software.wgsl, which precedes this file,
// has the entry point.
//
// On lavapipe, a load costs as much as dozens of multiplications. So an invocation handles a block of W₁ with 200
// weights. For each row, it loads 5 words of four bytes and 10 values of δ, and adds to 200 sums. For the next step, it
// loads 5 words per row and computes 200 products. lavapipe unrolls loops of constant length, and can therefore keep
// arrays in registers.

// A block of W₁ has INPUTS × OUTPUTS weights; its inputs are in WORDS words of four bytes. A block of a later layer's
// weight has LATER_INPUTS × LATER_OUTPUTS weights.
const WORDS = 5u;
const INPUTS = 20u; // 4 · WORDS
const OUTPUTS = 10u;
const LATER_INPUTS = 8u;
const LATER_OUTPUTS = 2u;
// Number of biases that an invocation updates.
const BIASES = 8u;

alias Block = array<array<f32, OUTPUTS>, INPUTS>;

// Loads the words of an example from `input` on. Words past the last one are clamped to it; their weights are 0.
fn load_words(example: u32, input: u32) -> array<u32, WORDS> {
    var four: array<u32, WORDS>;
    for (var k = 0u; k < WORDS; k++) {
        four[k] = minibatch[example * mlp.words + min(input / 4u + k, mlp.words - 1u)];
    }
    return four;
}

// Computes the part of the next step's z₁ that the block contributes.
fn forward_block(start: vec2u, block: Block) {
    let outputs = mlp.layer[0].outputs;
    let rows = mlp.rows;
    var w = block;
    for (var row = 0u; row < rows; row++) {
        let four = load_words(row, start.x);
        var sums = array<f32, OUTPUTS>();
        for (var i = 0u; i < INPUTS; i++) {
            let value = byte(four[i / 4u], i % 4u);
            for (var j = 0u; j < OUTPUTS; j++) {
                sums[j] += value * w[i][j];
            }
        }
        let part = (start.x / INPUTS * rows + row) * outputs + start.y;
        for (var j = 0u; j < OUTPUTS; j++) {
            if (start.y + j < outputs) {
                scratch[part + j] = sums[j] / 255.0;
            }
        }
    }
}

fn first_layer(block: u32) {
    let start = start_of(block);
    let inputs = mlp.layer[0].inputs;
    let outputs = mlp.layer[0].outputs;
    if (start.x >= inputs) {
        return;
    }
    let rows = mlp.rows;
    let columns = mlp.columns;
    var output: array<u32, OUTPUTS>;
    for (var j = 0u; j < OUTPUTS; j++) {
        output[j] = min(start.y + j, outputs - 1u);
    }
    let delta = mlp.layer[0].start + rows * columns;
    var sums: Block;
    for (var row = 0u; row < rows; row++) {
        var dy: array<f32, OUTPUTS>;
        for (var j = 0u; j < OUTPUTS; j++) {
            dy[j] = scratch[delta + row * columns + output[j]];
        }
        let four = load_words(rows + row, start.x);
        for (var i = 0u; i < INPUTS; i++) {
            let value = byte(four[i / 4u], i % 4u);
            for (var j = 0u; j < OUTPUTS; j++) {
                sums[i][j] += value * dy[j];
            }
        }
    }
    let rate = mlp.learning_rate / 255.0;
    for (var i = 0u; i < INPUTS; i++) {
        let row = mlp.layer[0].weight + (start.x + i) * outputs;
        for (var j = 0u; j < OUTPUTS; j++) {
            var w = 0.0;
            if (start.x + i < inputs && start.y + j < outputs) {
                w = parameters[row + output[j]] - rate * sums[i][j];
                parameters[row + output[j]] = w;
            }
            sums[i][j] = w;
        }
    }
    forward_block(start, sums);
}

fn later_layer(layer: u32, block: u32) {
    let inputs = mlp.layer[layer].inputs;
    let outputs = mlp.layer[layer].outputs;
    let across = (outputs + LATER_OUTPUTS - 1u) / LATER_OUTPUTS;
    let input = block / across * LATER_INPUTS;
    let output = block % across * LATER_OUTPUTS;
    if (input >= inputs) {
        return;
    }
    let rows = mlp.rows;
    let columns = mlp.columns;
    let before = mlp.layer[layer - 1u].start;
    let delta = mlp.layer[layer].start + rows * columns;
    var sums: array<array<f32, LATER_OUTPUTS>, LATER_INPUTS>;
    for (var row = 0u; row < rows; row++) {
        var dy: array<f32, LATER_OUTPUTS>;
        for (var j = 0u; j < LATER_OUTPUTS; j++) {
            dy[j] = scratch[delta + row * columns + min(output + j, outputs - 1u)];
        }
        for (var i = 0u; i < LATER_INPUTS; i++) {
            let value = scratch[before + row * columns + min(input + i, inputs - 1u)];
            for (var j = 0u; j < LATER_OUTPUTS; j++) {
                sums[i][j] += value * dy[j];
            }
        }
    }
    for (var i = 0u; i < LATER_INPUTS; i++) {
        for (var j = 0u; j < LATER_OUTPUTS; j++) {
            if (input + i < inputs && output + j < outputs) {
                parameters[mlp.layer[layer].weight + (input + i) * outputs + output + j] -=
                    mlp.learning_rate * sums[i][j];
            }
        }
    }
}

// Updates eight neighboring biases, counted over all layers.
fn update_biases(block: u32) {
    let first = block * BIASES;
    var sums: array<f32, BIASES>;
    for (var row = 0u; row < mlp.rows; row++) {
        let delta = mlp.layer[0].start + (mlp.rows + row) * mlp.columns;
        for (var j = 0u; j < BIASES; j++) {
            sums[j] += scratch[delta + min(first + j, mlp.columns - 1u)];
        }
    }
    for (var j = 0u; j < BIASES; j++) {
        update_bias(first + j, sums[j]);
    }
}

// Computes the parts of z₁ before the first step of a call. An invocation handles one output of one slice. It computes
// the same sums as `forward_block`, but this simpler kernel compiles faster.
@compute @workgroup_size(8)
fn forward(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let index = (id.x + id.y * count.x) * 8u + local;
    let inputs = mlp.layer[0].inputs;
    let outputs = mlp.layer[0].outputs;
    let input = index / outputs * INPUTS;
    let output = index % outputs;
    if (input >= inputs) {
        return;
    }
    var w: array<f32, INPUTS>;
    for (var i = 0u; i < INPUTS; i++) {
        if (input + i < inputs) {
            w[i] = weights[mlp.layer[0].weight + (input + i) * outputs + output];
        }
    }
    let rows = mlp.rows;
    for (var row = 0u; row < rows; row++) {
        let four = load_words(row, input);
        var sum = 0.0;
        for (var i = 0u; i < INPUTS; i++) {
            sum += byte(four[i / 4u], i % 4u) * w[i];
        }
        scratch[(input / INPUTS * rows + row) * outputs + output] = sum / 255.0;
    }
}
