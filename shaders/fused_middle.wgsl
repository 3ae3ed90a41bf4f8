// The middle of a step of a multilayer perceptron in two dispatches, for GPUs: see fused_slices.wgsl.
//
//   z₁ = b₁ + Σ_slices of its parts     a₁ = f(z₁)     z₂ = a₁·W₂ + b₂  …
//   loss = cross-entropy of softmax(z_L)
//   δ_L = (softmax(z_L) − onehot(label)) / rows          δ_l = (δ_{l+1}·W_{l+1}ᵀ) ∘ f′(z_l)
//
// All of this is local to a row. A workgroup takes a few rows, whose outputs and δ lie in workgroup
// memory; it also copies the bytes of the same rows of the next minibatch together, as many slices
// read each of them, and rows that lie scattered over a data set cost a walk through page tables.

struct Layer {
    inputs: u32,
    outputs: u32,
    weight: u32,     // where its weight (inputs, outputs) starts in the parameters
    bias: u32,       // where its bias (1, outputs) starts there
    activation: u32, // behind it: 0 none, 1 ReLU, 2 sigmoid
    column: u32,     // where its outputs start in a row of those of all layers
    tiles: u32,      // of its weight
    start: u32,      // where its outputs of row 0 start in `scratch`, behind the parts of z₁
}

struct Mlp {
    rows: u32,       // of the minibatch
    words: u32,      // of an example: its bytes, four to a word
    layers: u32,
    columns: u32,    // outputs of all layers together
    group: u32,      // rows that a workgroup of `middle` takes
    list_mask: u32,  // minibatches that `list` holds, less 1
    capacity: u32,   // losses that `history` holds
    learning_rate: f32,
    layer: array<Layer, 8>,
}

const RELU = 1u;
const SIGMOID = 2u;

// Outputs of all layers, of all rows of a workgroup.
const ROOM = 2048u;

@group(0) @binding(0) var<uniform> mlp: Mlp;
@group(0) @binding(1) var<storage, read> weights: array<f32>;       // all parameters
@group(0) @binding(2) var<storage, read> list: array<u32>;          // (minibatches, rows)
@group(0) @binding(3) var<storage, read> labels: array<u32>;        // (1, examples)
@group(0) @binding(4) var<storage, read> step_now: array<u32>;      // (1, 1)
@group(0) @binding(5) var<storage, read> bytes: array<u32>;         // (examples, words)
// Parts of z₁ (slices, rows, outputs of layer 0), outputs (rows, columns), δ (rows, columns), losses (1, rows).
@group(0) @binding(6) var<storage, read_write> scratch: array<f32>;
// Bytes of the next minibatch and of this one: (2, rows, words).
@group(0) @binding(7) var<storage, read_write> minibatch: array<u32>;

var<workgroup> values: array<f32, ROOM>;
var<workgroup> deltas: array<f32, ROOM>;

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

fn is_finite(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7f800000u) != 0x7f800000u;
}

// Loss of one row, and its δ, from the logits that lie in `values` from `at` on.
fn softmax_cross_entropy(at: u32, classes: u32, label: u32) -> f32 {
    var largest = values[at];
    var finite = true;
    for (var c = 0u; c < classes; c++) {
        largest = max(largest, values[at + c]);
        finite = finite && is_finite(values[at + c]);
    }
    var sum = 0.0;
    for (var c = 0u; c < classes; c++) {
        let e = exp(values[at + c] - largest);
        deltas[at + c] = e;
        sum += e;
    }
    for (var c = 0u; c < classes; c++) {
        let target_probability = select(0.0, 1.0, c == label);
        deltas[at + c] = (deltas[at + c] / sum - target_probability) / f32(mlp.rows);
    }
    var not_a_number = 0x7fc00000u;
    let loss = log(sum) - (values[at + label] - largest);
    return select(bitcast<f32>(not_a_number), loss, finite);
}

// z₁ of one output of one row: its bias and the parts of all slices.
fn first_output(row: u32, output: u32) -> f32 {
    let outputs = mlp.layer[0].outputs;
    let pitch = mlp.rows * outputs;
    let slices = mlp.layer[0].start / pitch;
    var sum = weights[mlp.layer[0].bias + output];
    for (var slice = 0u; slice < slices; slice++) {
        sum += scratch[slice * pitch + row * outputs + output];
    }
    return sum;
}

fn later_output(layer: u32, row: u32, output: u32) -> f32 {
    let outputs = mlp.layer[layer].outputs;
    let inputs = mlp.layer[layer].inputs;
    let x = row * mlp.columns + mlp.layer[layer - 1u].column;
    let weight = mlp.layer[layer].weight + output;
    var sum = weights[mlp.layer[layer].bias + output];
    for (var i = 0u; i < inputs; i++) {
        sum += values[x + i] * weights[weight + i * outputs];
    }
    return sum;
}

@compute @workgroup_size(256)
fn middle(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let first = (id.x + id.y * count.x) * mlp.group;
    if (first >= mlp.rows) {
        return;
    }
    let rows = min(mlp.group, mlp.rows - first);
    let last = mlp.layers - 1u;
    for (var layer = 0u; layer <= last; layer++) {
        let outputs = mlp.layer[layer].outputs;
        for (var at = local; at < rows * outputs; at += 256u) {
            let row = at / outputs;
            let output = at % outputs;
            var z: f32;
            if (layer == 0u) {
                z = first_output(first + row, output);
            } else {
                z = later_output(layer, row, output);
            }
            values[row * mlp.columns + mlp.layer[layer].column + output] =
                activate(mlp.layer[layer].activation, z);
        }
        workgroupBarrier();
    }
    for (var row = local; row < rows; row += 256u) {
        let example = list[(step_now[0] & mlp.list_mask) * mlp.rows + first + row];
        let at = row * mlp.columns + mlp.layer[last].column;
        scratch[mlp.layer[0].start + 2u * mlp.rows * mlp.columns + first + row] =
            softmax_cross_entropy(at, mlp.layer[last].outputs, labels[example]);
    }
    workgroupBarrier();
    for (var layer = last; layer > 0u; layer--) {
        let inputs = mlp.layer[layer].inputs;
        let outputs = mlp.layer[layer].outputs;
        for (var at = local; at < rows * inputs; at += 256u) {
            let row = at / inputs;
            let x = row * mlp.columns + mlp.layer[layer - 1u].column + at % inputs;
            let dy = row * mlp.columns + mlp.layer[layer].column;
            let weight = mlp.layer[layer].weight + (at % inputs) * outputs;
            var sum = 0.0;
            for (var o = 0u; o < outputs; o++) {
                sum += deltas[dy + o] * weights[weight + o];
            }
            deltas[x] = through(mlp.layer[layer - 1u].activation, values[x], sum);
        }
        workgroupBarrier();
    }
    for (var at = local; at < rows * mlp.columns; at += 256u) {
        scratch[mlp.layer[0].start + first * mlp.columns + at] = values[at];
        scratch[mlp.layer[0].start + (mlp.rows + first) * mlp.columns + at] = deltas[at];
    }
    let next = ((step_now[0] + 1u) & mlp.list_mask) * mlp.rows;
    for (var at = local; at < rows * mlp.words; at += 256u) {
        let row = first + at / mlp.words;
        let word = at % mlp.words;
        minibatch[(mlp.rows + row) * mlp.words + word] = minibatch[row * mlp.words + word];
        minibatch[row * mlp.words + word] = bytes[list[next + row] * mlp.words + word];
    }
}
