// The middle of a step of a multilayer perceptron in two dispatches, for GPUs: see fused_slices.wgsl.
//
//   z₁ = b₁ + Σ_slices of its parts     a₁ = f(z₁)     z₂ = a₁·W₂ + b₂  …
//   loss = cross-entropy of softmax(z_L)
//   δ_L = (softmax(z_L) − onehot(label)) / rows          δ_l = (δ_{l+1}·W_{l+1}ᵀ) ∘ f′(z_l)
//
// All of this is local to a row. A workgroup takes a few rows, whose outputs and δ lie in workgroup
// memory. A step of a small network is a chain of waits for memory; so several invocations share the
// terms of a sum, and others fetch the labels meanwhile.
//
// Other workgroups copy the bytes of the next minibatch together, as many slices read each of them,
// and rows that lie scattered over a data set cost a walk through page tables.

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
const ROOM = 1800u;
// Rows of a workgroup at most: as many invocations fetch their labels.
const MOST_ROWS = 32u;
// The other invocations sum, so many at most for one sum.
const SUMMERS = 224u;
const MOST_PARTS = 16u;

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
var<workgroup> parts: array<f32, SUMMERS>;
var<workgroup> row_labels: array<u32, MOST_ROWS>;
var<workgroup> row_largest: array<f32, MOST_ROWS>; // logits
var<workgroup> row_sums: array<f32, MOST_ROWS>;    // of exponentials
var<workgroup> row_finite: array<u32, MOST_ROWS>;  // 1 where all logits are finite

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

// The largest of the logits of a row, which lie in `values` from `at` on.
fn largest_of(at: u32, classes: u32) -> f32 {
    var largest = values[at];
    for (var first = 0u; first < classes; first += 4u) {
        let c = at + min(first + vec4u(0u, 1u, 2u, 3u), vec4u(classes - 1u));
        let two = max(vec2f(values[c.x], values[c.y]), vec2f(values[c.z], values[c.w]));
        largest = max(largest, max(two.x, two.y));
    }
    return largest;
}

// The sum of the exponentials of a row, which lie in `deltas` from `at` on.
fn sum_of_exponentials(at: u32, classes: u32) -> f32 {
    var sum = vec4f();
    for (var first = 0u; first < classes; first += 4u) {
        let c = first + vec4u(0u, 1u, 2u, 3u);
        let place = at + min(c, vec4u(classes - 1u));
        let e = vec4f(deltas[place.x], deltas[place.y], deltas[place.z], deltas[place.w]);
        sum += select(vec4f(), e, c < vec4u(classes));
    }
    return (sum.x + sum.y) + (sum.z + sum.w);
}

// Losses of all rows of the workgroup, and δ of the last layer. One invocation adds the exponentials of a
// row, which are few; the rest is shared by all.
fn softmax_cross_entropy(first: u32, rows: u32, local: u32) {
    let last = mlp.layers - 1u;
    let classes = mlp.layer[last].outputs;
    let logits = mlp.layer[last].column;
    if (local < rows) {
        row_largest[local] = largest_of(local * mlp.columns + logits, classes);
        row_finite[local] = 1u;
    }
    workgroupBarrier();
    for (var at = local; at < rows * classes; at += 256u) {
        let row = at / classes;
        let place = row * mlp.columns + logits + at % classes;
        deltas[place] = exp(values[place] - row_largest[row]);
        if (!is_finite(values[place])) {
            row_finite[row] = 0u;
        }
    }
    workgroupBarrier();
    if (local < rows) {
        let at = local * mlp.columns + logits;
        row_sums[local] = sum_of_exponentials(at, classes);
        let loss = log(row_sums[local]) - (values[at + row_labels[local]] - row_largest[local]);
        var not_a_number = 0x7fc00000u;
        scratch[mlp.layer[0].start + 2u * mlp.rows * mlp.columns + first + local] =
            select(bitcast<f32>(not_a_number), loss, row_finite[local] == 1u);
    }
    workgroupBarrier();
    for (var at = local; at < rows * classes; at += 256u) {
        let row = at / classes;
        let place = row * mlp.columns + logits + at % classes;
        let target_probability = select(0.0, 1.0, at % classes == row_labels[row]);
        deltas[place] = (deltas[place] / row_sums[row] - target_probability) / f32(mlp.rows);
    }
    workgroupBarrier();
}

// How invocations share the sums of `count` outputs: `parts` take an output together.
struct Share {
    count: u32,
    parts: u32,
    outputs: u32, // at a time
}

fn share_of(count: u32) -> Share {
    let parts = clamp(SUMMERS / count, 1u, MOST_PARTS);
    return Share(count, parts, SUMMERS / parts);
}

// Four of the parts of z₁ of one output of one row; behind the last slice there are zeros. No branch
// stands between the loads, so that all of them are under way at once.
fn four_slices(slice: vec4u, slices: u32, at: u32) -> vec4f {
    let pitch = mlp.rows * mlp.layer[0].outputs;
    let place = min(slice, vec4u(slices - 1u)) * pitch + at;
    let read = vec4f(scratch[place.x], scratch[place.y], scratch[place.z], scratch[place.w]);
    return select(vec4f(), read, slice < vec4u(slices));
}

// Every `share.parts`-th of the parts of z₁ that the slices made, for one output of one row.
fn part_of_first(part: u32, share: Share, row: u32, output: u32) -> f32 {
    let slices = mlp.layer[0].start / (mlp.rows * mlp.layer[0].outputs);
    let at = row * mlp.layer[0].outputs + output;
    let step = share.parts;
    var sum = vec4f();
    for (var slice = part; slice < slices; slice += 16u * step) {
        let four = slice + step * vec4u(0u, 1u, 2u, 3u);
        let a = four_slices(four, slices, at);
        let b = four_slices(four + 4u * step, slices, at);
        let c = four_slices(four + 8u * step, slices, at);
        let d = four_slices(four + 12u * step, slices, at);
        sum += (a + b) + (c + d);
    }
    return (sum.x + sum.y) + (sum.z + sum.w);
}

// Every `share.parts`-th term of one output of one row of the workgroup.
fn part_of_later(part: u32, share: Share, layer: u32, row: u32, output: u32) -> f32 {
    let inputs = mlp.layer[layer].inputs;
    let outputs = mlp.layer[layer].outputs;
    let x = row * mlp.columns + mlp.layer[layer - 1u].column;
    let weight = mlp.layer[layer].weight + output;
    var sum = vec4f();
    for (var first = part; first < inputs; first += 4u * share.parts) {
        let term = first + share.parts * vec4u(0u, 1u, 2u, 3u);
        let i = min(term, vec4u(inputs - 1u));
        let at = weight + i * outputs;
        let w = vec4f(weights[at.x], weights[at.y], weights[at.z], weights[at.w]);
        let a = vec4f(values[x + i.x], values[x + i.y], values[x + i.z], values[x + i.w]);
        sum += select(vec4f(), a * w, term < vec4u(inputs));
    }
    return (sum.x + sum.y) + (sum.z + sum.w);
}

// Every `share.parts`-th term of δ of one input of one row of the workgroup.
fn part_of_delta(part: u32, share: Share, layer: u32, row: u32, input: u32) -> f32 {
    let outputs = mlp.layer[layer].outputs;
    let dy = row * mlp.columns + mlp.layer[layer].column;
    let weight = mlp.layer[layer].weight + input * outputs;
    var sum = vec4f();
    for (var first = part; first < outputs; first += 4u * share.parts) {
        let term = first + share.parts * vec4u(0u, 1u, 2u, 3u);
        let o = min(term, vec4u(outputs - 1u));
        let at = weight + o;
        let w = vec4f(weights[at.x], weights[at.y], weights[at.z], weights[at.w]);
        let d = vec4f(deltas[dy + o.x], deltas[dy + o.y], deltas[dy + o.z], deltas[dy + o.w]);
        sum += select(vec4f(), d * w, term < vec4u(outputs));
    }
    return (sum.x + sum.y) + (sum.z + sum.w);
}

// Of the output that is this invocation's to finish.
fn sum_of_parts(share: Share, local: u32) -> f32 {
    var sum = 0.0;
    for (var part = 0u; part < share.parts; part++) {
        sum += parts[part * share.outputs + local];
    }
    return sum;
}

fn forward_layer(layer: u32, first: u32, rows: u32, local: u32) {
    let outputs = mlp.layer[layer].outputs;
    let share = share_of(rows * outputs);
    for (var base = 0u; base < share.count; base += share.outputs) {
        let part = local / share.outputs;
        let at = base + local % share.outputs;
        if (part < share.parts && at < share.count) {
            if (layer == 0u) {
                parts[local] = part_of_first(part, share, first + at / outputs, at % outputs);
            } else {
                parts[local] = part_of_later(part, share, layer, at / outputs, at % outputs);
            }
        }
        workgroupBarrier();
        if (part == 0u && at < share.count) {
            let z = weights[mlp.layer[layer].bias + at % outputs] + sum_of_parts(share, local);
            values[at / outputs * mlp.columns + mlp.layer[layer].column + at % outputs] =
                activate(mlp.layer[layer].activation, z);
        }
        workgroupBarrier();
    }
}

// δ of the layer below, from that of this one.
fn backward_layer(layer: u32, rows: u32, local: u32) {
    let inputs = mlp.layer[layer].inputs;
    let share = share_of(rows * inputs);
    for (var base = 0u; base < share.count; base += share.outputs) {
        let part = local / share.outputs;
        let at = base + local % share.outputs;
        if (part < share.parts && at < share.count) {
            parts[local] = part_of_delta(part, share, layer, at / inputs, at % inputs);
        }
        workgroupBarrier();
        if (part == 0u && at < share.count) {
            let x = at / inputs * mlp.columns + mlp.layer[layer - 1u].column + at % inputs;
            let dy = sum_of_parts(share, local);
            deltas[x] = through(mlp.layer[layer - 1u].activation, values[x], dy);
        }
        workgroupBarrier();
    }
}

// One word of the next minibatch takes the place of this one's, which moves on.
fn copy_word(at: u32) {
    let words = mlp.rows * mlp.words;
    if (at < words) {
        let next = ((step_now[0] + 1u) & mlp.list_mask) * mlp.rows;
        minibatch[words + at] = minibatch[at];
        minibatch[at] = bytes[list[next + at / mlp.words] * mlp.words + at % mlp.words];
    }
}

@compute @workgroup_size(256)
fn middle(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let index = id.x + id.y * count.x;
    let groups = (mlp.rows + mlp.group - 1u) / mlp.group;
    if (index >= groups) {
        copy_word((index - groups) * 256u + local);
        return;
    }
    let first = index * mlp.group;
    let rows = min(mlp.group, mlp.rows - first);
    let last = mlp.layers - 1u;
    if (local >= SUMMERS && local - SUMMERS < rows) {
        let row = local - SUMMERS;
        row_labels[row] = labels[list[(step_now[0] & mlp.list_mask) * mlp.rows + first + row]];
    }
    for (var layer = 0u; layer <= last; layer++) {
        forward_layer(layer, first, rows, local);
    }
    softmax_cross_entropy(first, rows, local);
    for (var layer = last; layer > 0u; layer--) {
        backward_layer(layer, rows, local);
    }
    for (var at = local; at < rows * mlp.columns; at += 256u) {
        scratch[mlp.layer[0].start + first * mlp.columns + at] = values[at];
        scratch[mlp.layer[0].start + (mlp.rows + first) * mlp.columns + at] = deltas[at];
    }
}
