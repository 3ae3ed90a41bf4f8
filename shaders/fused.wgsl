// A whole SGD step of a multilayer perceptron in two dispatches, for GPUs.
//
//   x = bytes / 255 of the minibatch      z₁ = x·W₁ + b₁      a₁ = f(z₁)      z₂ = a₁·W₂ + b₂  …
//   loss = cross-entropy of softmax(z_L)
//   δ_L = (softmax(z_L) − onehot(label)) / rows          δ_l = (δ_{l+1}·W_{l+1}ᵀ) ∘ f′(z_l)
//   W ← W − learning_rate · aᵀ·δ                         b ← b − learning_rate · Σ_rows δ
//
// Only two edges of this are grid-wide: rows → parameters (a gradient sums over the rows) and
// parameters → rows (a forward pass reads all of W₁). Everything between z₁ and δ₁ is local to a
// row. And W₁ cut along its inputs into slices makes both of its products local to a slice: its
// gradient, its update, and its part of the next z₁ need nothing from another slice. So
//
//   middle            a few rows per workgroup: z₁ from the parts of all slices, then everything up
//                     to δ₁; the losses of the rows
//   backward_forward  a tile of a weight per workgroup: gradient, update, and of W₁ its part of the
//                     z₁ of the next step; others: biases; the log of losses and the step counter
//   forward           the parts of z₁ alone, before the first step
//
// The bytes of a minibatch are copied together once: 49 slices and more read each row of them, and
// rows that lie scattered over a data set cost a walk through page tables each time.
//
// Sums run in a fixed order, so the same state gives the same bits.

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

// A tile of a weight: 16 inputs, four of them to an invocation, by 64 outputs.
const DEPTH = 16u;
const WIDTH = 64u;
const QUARTERS = 4u;
// Rows of a minibatch that a tile's workgroup holds at a time: of δ, and of bytes.
const SLAB = 48u;
const BYTE_SLAB = 192u;
// Outputs of all layers, of all rows of a workgroup of `middle`.
const ROOM = 2048u;

@group(0) @binding(0) var<uniform> mlp: Mlp;

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

var<workgroup> values: array<f32, ROOM>;
var<workgroup> deltas: array<f32, ROOM>;

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
    let slices = (mlp.layer[0].inputs + DEPTH - 1u) / DEPTH;
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

// ---- backward_forward, forward ----

@group(0) @binding(1) var<storage, read> x: array<u32>;               // `minibatch` of the middle
@group(0) @binding(2) var<storage, read_write> memory: array<f32>;     // its `scratch`
@group(0) @binding(3) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(4) var<storage, read_write> history: array<f32>;    // (1, capacity)
@group(0) @binding(5) var<storage, read_write> step_count: array<u32>; // (1, 1)
@group(0) @binding(3) var<storage, read> start_weights: array<f32>;    // `parameters` of `forward`

// Both are of the tile's rows: left (SLAB, DEPTH) floats by their bits, or (BYTE_SLAB, 4) words of
// bytes; right (SLAB, WIDTH), and afterwards the tile itself, four inputs at a time.
var<workgroup> left: array<u32, 768>;
var<workgroup> right: array<f32, 3072>;

// A tile, and the part of it that is an invocation's: four inputs of one output.
struct Tile {
    layer: u32,
    input: u32,  // first of the tile
    output: u32, // first of the tile
    quarter: u32,
    lane: u32,
}

fn tile_of(layer: u32, index: u32, local: u32) -> Tile {
    let across = (mlp.layer[layer].outputs + WIDTH - 1u) / WIDTH;
    return Tile(layer, index / across * DEPTH, index % across * WIDTH, local / WIDTH, local % WIDTH);
}

fn load_right(tile: Tile, row: u32, local: u32) {
    let delta = mlp.layer[0].start + (mlp.rows + row) * mlp.columns + mlp.layer[tile.layer].column + tile.output;
    let rows = min(SLAB, mlp.rows - row);
    let outputs = min(WIDTH, mlp.layer[tile.layer].outputs - tile.output);
    for (var at = local; at < rows * WIDTH; at += 256u) {
        if (at % WIDTH < outputs) {
            right[at] = memory[delta + at / WIDTH * mlp.columns + at % WIDTH];
        }
    }
}

fn load_left(tile: Tile, row: u32, local: u32) {
    let value = mlp.layer[0].start + row * mlp.columns + mlp.layer[tile.layer - 1u].column + tile.input;
    let rows = min(SLAB, mlp.rows - row);
    let inputs = min(DEPTH, mlp.layer[tile.layer].inputs - tile.input);
    for (var at = local; at < rows * DEPTH; at += 256u) {
        var a = 0.0;
        if (at % DEPTH < inputs) {
            a = memory[value + at / DEPTH * mlp.columns + at % DEPTH];
        }
        left[at] = bitcast<u32>(a);
    }
}

fn load_bytes(tile: Tile, first_row: u32, rows: u32, local: u32) {
    let word = tile.input / 4u;
    for (var at = local; at < rows * QUARTERS; at += 256u) {
        var four = 0u;
        if (word + at % QUARTERS < mlp.words) {
            four = x[(first_row + at / QUARTERS) * mlp.words + word + at % QUARTERS];
        }
        left[at] = four;
    }
}

// Σ_rows a·δ for this invocation's four inputs.
fn gradient(tile: Tile, local: u32) -> vec4f {
    var sum = vec4f();
    for (var row = 0u; row < mlp.rows; row += SLAB) {
        let rows = min(SLAB, mlp.rows - row);
        load_right(tile, row, local);
        if (tile.layer == 0u) {
            load_bytes(tile, mlp.rows + row, rows, local);
        } else {
            load_left(tile, row, local);
        }
        workgroupBarrier();
        for (var r = 0u; r < rows; r++) {
            var a: vec4f;
            if (tile.layer == 0u) {
                a = unpack4x8unorm(left[r * QUARTERS + tile.quarter]);
            } else {
                let at = r * DEPTH + 4u * tile.quarter;
                a = bitcast<vec4f>(vec4u(left[at], left[at + 1u], left[at + 2u], left[at + 3u]));
            }
            sum += a * right[r * WIDTH + tile.lane];
        }
        workgroupBarrier();
    }
    return sum;
}

// The part of the next z₁ that the tile in `right` makes.
fn forward_tile(tile: Tile, local: u32) {
    let outputs = mlp.layer[0].outputs;
    let output = tile.output + tile.lane;
    var w: array<vec4f, 4>;
    for (var q = 0u; q < QUARTERS; q++) {
        let at = (q * WIDTH + tile.lane) * 4u;
        w[q] = vec4f(right[at], right[at + 1u], right[at + 2u], right[at + 3u]);
    }
    for (var row = 0u; row < mlp.rows; row += BYTE_SLAB) {
        let rows = min(BYTE_SLAB, mlp.rows - row);
        load_bytes(tile, row, rows, local);
        workgroupBarrier();
        if (output < outputs) {
            let part = (tile.input / DEPTH * mlp.rows + row) * outputs + output;
            for (var r = tile.quarter; r < rows; r += QUARTERS) {
                let at = r * QUARTERS;
                memory[part + r * outputs] = dot(unpack4x8unorm(left[at]), w[0])
                    + dot(unpack4x8unorm(left[at + 1u]), w[1])
                    + dot(unpack4x8unorm(left[at + 2u]), w[2])
                    + dot(unpack4x8unorm(left[at + 3u]), w[3]);
            }
        }
        workgroupBarrier();
    }
}

// Weights past an edge of the matrix are 0.
fn is_within(tile: Tile, i: u32) -> bool {
    return tile.input + 4u * tile.quarter + i < mlp.layer[tile.layer].inputs
        && tile.output + tile.lane < mlp.layer[tile.layer].outputs;
}

fn place(tile: Tile, i: u32) -> u32 {
    let input = tile.input + 4u * tile.quarter + i;
    return mlp.layer[tile.layer].weight + input * mlp.layer[tile.layer].outputs + tile.output + tile.lane;
}

fn update_tile(tile: Tile, local: u32) {
    let sum = gradient(tile, local);
    for (var i = 0u; i < 4u; i++) {
        var w = 0.0;
        if (is_within(tile, i)) {
            w = parameters[place(tile, i)] - mlp.learning_rate * sum[i];
            parameters[place(tile, i)] = w;
        }
        right[local * 4u + i] = w;
    }
    workgroupBarrier();
}

// Of all biases, 64 to a workgroup: four invocations sum every fourth row each.
fn update_biases(index: u32, local: u32) {
    let column = index * WIDTH + local % WIDTH;
    var sum = 0.0;
    if (column < mlp.columns) {
        for (var row = local / WIDTH; row < mlp.rows; row += QUARTERS) {
            sum += memory[mlp.layer[0].start + (mlp.rows + row) * mlp.columns + column];
        }
    }
    right[local] = sum;
    workgroupBarrier();
    if (local >= WIDTH || column >= mlp.columns) {
        return;
    }
    sum = (right[local] + right[local + WIDTH]) + (right[local + 2u * WIDTH] + right[local + 3u * WIDTH]);
    var layer = 0u;
    for (var l = 1u; l < mlp.layers; l++) {
        if (column >= mlp.layer[l].column) {
            layer = l;
        }
    }
    parameters[mlp.layer[layer].bias + column - mlp.layer[layer].column] -= mlp.learning_rate * sum;
}

fn log_step(local: u32) {
    let losses = mlp.layer[0].start + 2u * mlp.rows * mlp.columns;
    var sum = 0.0;
    for (var row = local; row < mlp.rows; row += 256u) {
        sum += memory[losses + row];
    }
    right[local] = sum;
    workgroupBarrier();
    for (var width = 128u; width > 0u; width /= 2u) {
        if (local < width) {
            right[local] += right[local + width];
        }
        workgroupBarrier();
    }
    if (local == 0u) {
        history[step_count[0] % mlp.capacity] = right[0] / f32(mlp.rows);
        step_count[0] += 1u;
    }
}

@compute @workgroup_size(256)
fn backward_forward(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    var index = id.x + id.y * count.x;
    for (var layer = 0u; layer < mlp.layers; layer++) {
        let tiles = mlp.layer[layer].tiles;
        if (index < tiles) {
            let tile = tile_of(layer, index, local);
            update_tile(tile, local);
            if (layer == 0u) {
                forward_tile(tile, local);
            }
            return;
        }
        index -= tiles;
    }
    let biases = (mlp.columns + WIDTH - 1u) / WIDTH;
    if (index < biases) {
        update_biases(index, local);
    } else if (index == biases) {
        log_step(local);
    }
}

@compute @workgroup_size(256)
fn forward(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let index = id.x + id.y * count.x;
    if (index >= mlp.layer[0].tiles) {
        return;
    }
    let tile = tile_of(0u, index, local);
    for (var i = 0u; i < 4u; i++) {
        var w = 0.0;
        if (is_within(tile, i)) {
            w = start_weights[place(tile, i)];
        }
        right[local * 4u + i] = w;
    }
    workgroupBarrier();
    forward_tile(tile, local);
}
