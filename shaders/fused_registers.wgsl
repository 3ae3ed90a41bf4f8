// A whole SGD step of a multilayer perceptron in two dispatches, for drivers that run on a CPU: the
// mathematics and the entry points of fused.wgsl, without workgroup memory and without barriers.
//
// There a load costs as much as dozens of multiplications. So `middle` gives a row to an invocation,
// and `backward_forward` a block of W₁, whose 200 sums 5 loads of four bytes and 10 of δ serve, and
// whose next 200 products 5 more. `mlp` is no uniform: that driver would compile the kernel anew.

struct Layer {
    inputs: u32,
    outputs: u32,
    weight: u32,     // where its weight (inputs, outputs) starts in the parameters
    bias: u32,       // where its bias (1, outputs) starts there
    activation: u32, // behind it: 0 none, 1 ReLU, 2 sigmoid
    column: u32,     // where its outputs start in a row of those of all layers
    tiles: u32,      // blocks of its weight, in whole workgroups
    start: u32,      // where its outputs of row 0 start in `scratch`, behind the parts of z₁
}

struct Mlp {
    rows: u32,       // of the minibatch
    words: u32,      // of an example: its bytes, four to a word
    layers: u32,
    columns: u32,    // outputs of all layers together
    group: u32,      // not used here
    list_mask: u32,  // minibatches that `list` holds, less 1
    capacity: u32,   // losses that `history` holds
    learning_rate: f32,
    layer: array<Layer, 8>,
}

const RELU = 1u;
const SIGMOID = 2u;

// A block of W₁, whose inputs are words of four bytes, and of every later weight.
const WORDS = 5u;
const INPUTS = 20u; // 4 · WORDS
const OUTPUTS = 10u;
const LATER_INPUTS = 8u;
const LATER_OUTPUTS = 2u;
// Sums that `middle` holds.
const SUMS = 10u;
// Biases that an invocation updates.
const BIASES = 8u;

@group(0) @binding(0) var<storage, read> mlp: Mlp;

fn activate(kind: u32, z: f32) -> f32 {
    if (kind == RELU) {
        return select(z, 0.0, z <= 0.0);
    }
    if (kind == SIGMOID) {
        let e = exp(-abs(z));
        return select(e, 1.0, z >= 0.0) / (1.0 + e);
    }
    return z;
}

// The gradient by the input of an activation, from its output y and the gradient by that.
fn through(kind: u32, y: f32, dy: f32) -> f32 {
    if (kind == RELU) {
        return select(dy, 0.0, y <= 0.0);
    }
    if (kind == SIGMOID) {
        return dy * (1.0 - y) * y;
    }
    return dy;
}

// ---- middle ----

@group(0) @binding(1) var<storage, read> weights: array<f32>;       // all parameters
@group(0) @binding(2) var<storage, read> list: array<u32>;          // (minibatches, rows)
@group(0) @binding(3) var<storage, read> labels: array<u32>;        // (1, examples)
@group(0) @binding(4) var<storage, read> step_now: array<u32>;      // (1, 1)
@group(0) @binding(5) var<storage, read> bytes: array<u32>;         // (examples, words)
// Parts of z₁ (slices, rows, outputs of layer 0), outputs (rows, columns), δ (rows, columns), losses (1, rows).
@group(0) @binding(6) var<storage, read_write> scratch: array<f32>;
// Bytes of the next minibatch and of this one: (2, rows, words).
@group(0) @binding(7) var<storage, read_write> minibatch: array<u32>;

fn is_finite(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7f800000u) != 0x7f800000u;
}

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
    let loss = log(sum) - (scratch[at + label] - largest);
    return select(bitcast<f32>(not_a_number), loss, finite);
}

fn layer_forward(layer: u32, row: u32) {
    let inputs = mlp.layer[layer].inputs;
    let outputs = mlp.layer[layer].outputs;
    let y = mlp.layer[0].start + row * mlp.columns + mlp.layer[layer].column;
    for (var o = 0u; o < outputs; o += SUMS) {
        var column: array<u32, SUMS>;
        var sums: array<f32, SUMS>;
        for (var j = 0u; j < SUMS; j++) {
            column[j] = min(o + j, outputs - 1u);
            sums[j] = weights[mlp.layer[layer].bias + column[j]];
        }
        if (layer == 0u) {
            let pitch = mlp.rows * outputs;
            let slices = (inputs + INPUTS - 1u) / INPUTS;
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
        var sums: array<f32, SUMS>;
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
    let example = list[(t & mlp.list_mask) * mlp.rows + row];
    let next = list[((t + 1u) & mlp.list_mask) * mlp.rows + row];
    let at = mlp.layer[0].start + row * mlp.columns + mlp.layer[last].column;
    let delta = at + mlp.rows * mlp.columns;
    scratch[mlp.layer[0].start + 2u * mlp.rows * mlp.columns + row] =
        softmax_cross_entropy(at, delta, mlp.layer[last].outputs, labels[example]);
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

// ---- backward_forward, forward ----

@group(0) @binding(1) var<storage, read> x: array<u32>;               // `minibatch` of the middle
@group(0) @binding(2) var<storage, read_write> memory: array<f32>;     // its `scratch`
@group(0) @binding(3) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(4) var<storage, read_write> history: array<f32>;    // (1, capacity)
@group(0) @binding(5) var<storage, read_write> step_count: array<u32>; // (1, 1)
@group(0) @binding(3) var<storage, read> start_weights: array<f32>;    // `parameters` of `forward`

fn byte(four: u32, place: u32) -> f32 {
    return f32((four >> (8u * place)) & 255u);
}

alias Block = array<array<f32, OUTPUTS>, INPUTS>;

// Where the block of W₁ with this number starts: an input and an output.
fn start_of(block: u32) -> vec2u {
    let across = (mlp.layer[0].outputs + OUTPUTS - 1u) / OUTPUTS;
    return vec2u(block / across * INPUTS, block % across * OUTPUTS);
}

// Past the last input of an example its last word is read again: weights there are 0.
fn load_words(example: u32, input: u32) -> array<u32, WORDS> {
    var four: array<u32, WORDS>;
    for (var k = 0u; k < WORDS; k++) {
        four[k] = x[example * mlp.words + min(input / 4u + k, mlp.words - 1u)];
    }
    return four;
}

// The part of the next z₁ that this block makes.
fn forward_block(start: vec2u, block: Block) {
    let outputs = mlp.layer[0].outputs;
    let rows = mlp.rows;
    var w = block;
    for (var row = 0u; row < rows; row++) {
        let four = load_words(row, start.x);
        var sums: array<f32, OUTPUTS>;
        for (var i = 0u; i < INPUTS; i++) {
            let value = byte(four[i / 4u], i % 4u);
            for (var j = 0u; j < OUTPUTS; j++) {
                sums[j] += value * w[i][j];
            }
        }
        let part = (start.x / INPUTS * rows + row) * outputs + start.y;
        for (var j = 0u; j < OUTPUTS; j++) {
            if (start.y + j < outputs) {
                memory[part + j] = sums[j] / 255.0;
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
            dy[j] = memory[delta + row * columns + output[j]];
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
            dy[j] = memory[delta + row * columns + min(output + j, outputs - 1u)];
        }
        for (var i = 0u; i < LATER_INPUTS; i++) {
            let value = memory[before + row * columns + min(input + i, inputs - 1u)];
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

// Eight neighbouring biases of all layers.
fn update_biases(block: u32) {
    let first = block * BIASES;
    var sums: array<f32, BIASES>;
    for (var row = 0u; row < mlp.rows; row++) {
        let delta = mlp.layer[0].start + (mlp.rows + row) * mlp.columns;
        for (var j = 0u; j < BIASES; j++) {
            sums[j] += memory[delta + min(first + j, mlp.columns - 1u)];
        }
    }
    for (var j = 0u; j < BIASES; j++) {
        let column = first + j;
        if (column < mlp.columns) {
            var layer = 0u;
            for (var l = 1u; l < mlp.layers; l++) {
                if (column >= mlp.layer[l].column) {
                    layer = l;
                }
            }
            parameters[mlp.layer[layer].bias + column - mlp.layer[layer].column] -=
                mlp.learning_rate * sums[j];
        }
    }
}

fn log_step() {
    var sum = 0.0;
    for (var row = 0u; row < mlp.rows; row++) {
        sum += memory[mlp.layer[0].start + 2u * mlp.rows * mlp.columns + row];
    }
    history[step_count[0] % mlp.capacity] = sum / f32(mlp.rows);
    step_count[0] += 1u;
}

@compute @workgroup_size(8)
fn backward_forward(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    var block = (id.x + id.y * count.x) * 8u + local;
    if (block < mlp.layer[0].tiles) {
        first_layer(block);
        return;
    }
    block -= mlp.layer[0].tiles;
    for (var layer = 1u; layer < mlp.layers; layer++) {
        let tiles = mlp.layer[layer].tiles;
        if (block < tiles) {
            later_layer(layer, block);
            return;
        }
        block -= tiles;
    }
    let biases = (mlp.columns + BIASES - 1u) / BIASES;
    if (block < biases) {
        update_biases(block);
    } else if (block == biases) {
        log_step();
    }
}

@compute @workgroup_size(8)
fn forward(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let start = start_of((id.x + id.y * count.x) * 8u + local);
    let inputs = mlp.layer[0].inputs;
    let outputs = mlp.layer[0].outputs;
    if (start.x >= inputs) {
        return;
    }
    var w: Block;
    for (var i = 0u; i < INPUTS; i++) {
        for (var j = 0u; j < OUTPUTS; j++) {
            if (start.x + i < inputs && start.y + j < outputs) {
                w[i][j] = start_weights[mlp.layer[0].weight + (start.x + i) * outputs + start.y + j];
            }
        }
    }
    forward_block(start, w);
}
