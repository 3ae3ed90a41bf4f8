// A whole SGD step of a multilayer perceptron in two dispatches, for GPUs. This is the second; the
// first is fused_middle.wgsl.
//
//   x = bytes / 255 of the minibatch      z₁ = x·W₁ + b₁      a₁ = f(z₁)      z₂ = a₁·W₂ + b₂  …
//   W ← W − learning_rate · aᵀ·δ          b ← b − learning_rate · Σ_rows δ
//
// Only two edges of a step are grid-wide: rows → parameters (a gradient sums over the rows) and
// parameters → rows (a forward pass reads all of W₁). Everything between z₁ and δ₁ is local to a row.
// And W₁ cut along its inputs into slices makes both of its products local to a slice: its gradient,
// its update, and its part of the next z₁ need nothing from another slice. So
//
//   middle            a few rows per workgroup: z₁ from the parts of all slices, then everything up
//                     to δ₁; the losses of the rows
//   backward_forward  a tile of a weight per workgroup: gradient, update, and of W₁ its part of the
//                     z₁ of the next step; others: biases; the log of losses and the step counter
//   forward           the parts of z₁ alone, before the first step
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

// A tile of a weight: 16 inputs by 32 outputs. An invocation sums a quarter of the inputs of one
// output, over every second row.
const DEPTH = 16u;
const WIDTH = 32u;
const QUARTERS = 4u;
// Rows of a minibatch that a tile's workgroup holds at a time: of δ and of bytes, where both are
// needed; of δ and of outputs; of bytes alone. The first is a whole minibatch of the book's.
const SLAB = 100u;
const LATER_SLAB = 50u;
const BYTE_SLAB = 200u;
// Where `right` has the updated tile (DEPTH, WIDTH), behind the sums of all invocations.
const UPDATED = 1024u;

@group(0) @binding(0) var<uniform> mlp: Mlp;
@group(0) @binding(1) var<storage, read> minibatch: array<u32>;        // bytes of the next and of this one: (2, rows, words)
// Parts of z₁ (slices, rows, outputs of layer 0), outputs (rows, columns), δ (rows, columns), losses (1, rows).
@group(0) @binding(2) var<storage, read_write> scratch: array<f32>;
@group(0) @binding(3) var<storage, read_write> parameters: array<f32>;
@group(0) @binding(4) var<storage, read_write> history: array<f32>;    // (1, capacity)
@group(0) @binding(5) var<storage, read_write> step_count: array<u32>; // (1, 1)
@group(0) @binding(3) var<storage, read> weights: array<f32>;          // `parameters`, where they are only read

// left: (LATER_SLAB, DEPTH) floats by their bits, or (BYTE_SLAB, 4) words of bytes; right: (SLAB, WIDTH)
// of δ, and afterwards sums and the updated tile.
var<workgroup> left: array<u32, 800>;
var<workgroup> right: array<f32, 3200>;

// A tile, and the part of it that is an invocation's: four inputs of one output, and of those the two
// that it updates.
struct Tile {
    layer: u32,
    input: u32,  // first of the tile
    output: u32, // first of the tile
    quarter: u32,
    half: u32,
    lane: u32,
}

fn tile_of(layer: u32, index: u32, local: u32) -> Tile {
    let across = (mlp.layer[layer].outputs + WIDTH - 1u) / WIDTH;
    let part = local / WIDTH;
    return Tile(
        layer, index / across * DEPTH, index % across * WIDTH, part % QUARTERS, part / QUARTERS, local % WIDTH
    );
}

fn load_right(tile: Tile, row: u32, rows: u32, local: u32) {
    let delta = mlp.layer[0].start + (mlp.rows + row) * mlp.columns + mlp.layer[tile.layer].column + tile.output;
    let outputs = min(WIDTH, mlp.layer[tile.layer].outputs - tile.output);
    for (var at = local; at < rows * WIDTH; at += 256u) {
        if (at % WIDTH < outputs) {
            right[at] = scratch[delta + at / WIDTH * mlp.columns + at % WIDTH];
        }
    }
}

fn load_left(tile: Tile, row: u32, rows: u32, local: u32) {
    let value = mlp.layer[tile.layer - 1u].start + row * mlp.columns + tile.input;
    let inputs = min(DEPTH, mlp.layer[tile.layer].inputs - tile.input);
    for (var at = local; at < rows * DEPTH; at += 256u) {
        var a = 0.0;
        if (at % DEPTH < inputs) {
            a = scratch[value + at / DEPTH * mlp.columns + at % DEPTH];
        }
        left[at] = bitcast<u32>(a);
    }
}

// Four words that an invocation brings of rows of bytes, at most BYTE_SLAB.
fn fetch_bytes(tile: Tile, first_row: u32, rows: u32, local: u32) -> vec4u {
    var words = vec4u();
    for (var i = 0u; i < 4u; i++) {
        let at = local + 256u * i;
        let word = tile.input / 4u + at % QUARTERS;
        if (at < rows * QUARTERS && word < mlp.words) {
            words[i] = minibatch[(first_row + at / QUARTERS) * mlp.words + word];
        }
    }
    return words;
}

fn put_bytes(words: vec4u, rows: u32, local: u32) {
    for (var i = 0u; i < 4u; i++) {
        let at = local + 256u * i;
        if (at < rows * QUARTERS) {
            left[at] = words[i];
        }
    }
}

// Σ a·δ over this invocation's rows, for its four inputs. `is_first` is `tile.layer == 0`, but that has to
// be told: a browser's compiler takes all of `tile` to differ between invocations, as parts of it do, and
// then lets no barrier depend on it.
fn half_gradient(tile: Tile, is_first: bool, local: u32) -> vec4f {
    let slab = select(LATER_SLAB, SLAB, is_first);
    var sum = vec4f();
    for (var row = 0u; row < mlp.rows; row += slab) {
        let rows = min(slab, mlp.rows - row);
        load_right(tile, row, rows, local);
        if (is_first) {
            put_bytes(fetch_bytes(tile, mlp.rows + row, rows, local), rows, local);
        } else {
            load_left(tile, row, rows, local);
        }
        workgroupBarrier();
        for (var r = tile.half; r < rows; r += 2u) {
            var a: vec4f;
            if (is_first) {
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

// The part of the next z₁ that the updated tile makes; `words` are of its first rows of bytes.
fn forward_tile(tile: Tile, words: vec4u, local: u32) {
    let outputs = mlp.layer[0].outputs;
    let output = tile.output + tile.lane;
    var w = array<vec4f, 4>();
    for (var q = 0u; q < QUARTERS; q++) {
        let at = UPDATED + 4u * q * WIDTH + tile.lane;
        w[q] = vec4f(right[at], right[at + WIDTH], right[at + 2u * WIDTH], right[at + 3u * WIDTH]);
    }
    for (var row = 0u; row < mlp.rows; row += BYTE_SLAB) {
        let rows = min(BYTE_SLAB, mlp.rows - row);
        if (row == 0u) {
            put_bytes(words, rows, local);
        } else {
            put_bytes(fetch_bytes(tile, row, rows, local), rows, local);
        }
        workgroupBarrier();
        if (output < outputs) {
            let part = (tile.input / DEPTH * mlp.rows + row) * outputs + output;
            for (var r = local / WIDTH; r < rows; r += 2u * QUARTERS) {
                let at = r * QUARTERS;
                scratch[part + r * outputs] = dot(unpack4x8unorm(left[at]), w[0])
                    + dot(unpack4x8unorm(left[at + 1u]), w[1])
                    + dot(unpack4x8unorm(left[at + 2u]), w[2])
                    + dot(unpack4x8unorm(left[at + 3u]), w[3]);
            }
        }
        workgroupBarrier();
    }
}

// The words of the next minibatch that `forward_tile` begins with.
fn first_words(tile: Tile, local: u32) -> vec4u {
    return fetch_bytes(tile, 0u, min(BYTE_SLAB, mlp.rows), local);
}

// The two inputs that an invocation updates; weights past an edge of the matrix are 0.
fn input_of(tile: Tile, i: u32) -> u32 {
    return 4u * tile.quarter + 2u * tile.half + i;
}

fn is_within(tile: Tile, i: u32) -> bool {
    return tile.input + input_of(tile, i) < mlp.layer[tile.layer].inputs
        && tile.output + tile.lane < mlp.layer[tile.layer].outputs;
}

fn place(tile: Tile, i: u32) -> u32 {
    let input = tile.input + input_of(tile, i);
    return mlp.layer[tile.layer].weight + input * mlp.layer[tile.layer].outputs + tile.output + tile.lane;
}

// What an invocation needs of memory later on is asked for first.
fn update_tile(tile: Tile, is_first: bool, local: u32) {
    var w = vec2f();
    for (var i = 0u; i < 2u; i++) {
        if (is_within(tile, i)) {
            w[i] = parameters[place(tile, i)];
        }
    }
    let sum = half_gradient(tile, is_first, local);
    for (var i = 0u; i < 4u; i++) {
        right[256u * i + local] = sum[i];
    }
    workgroupBarrier();
    for (var i = 0u; i < 2u; i++) {
        // Of all even rows, and of all odd ones.
        let at = 256u * (2u * tile.half + i) + local % 128u;
        w[i] -= mlp.learning_rate * (right[at] + right[at + 128u]);
        if (is_within(tile, i)) {
            parameters[place(tile, i)] = w[i];
        } else {
            w[i] = 0.0;
        }
        right[UPDATED + input_of(tile, i) * WIDTH + tile.lane] = w[i];
    }
    workgroupBarrier();
}

// Of all biases, 32 to a workgroup: eight invocations sum every eighth row each.
fn update_biases(index: u32, local: u32) {
    let column = index * WIDTH + local % WIDTH;
    var sum = 0.0;
    if (column < mlp.columns) {
        for (var row = local / WIDTH; row < mlp.rows; row += 8u) {
            sum += scratch[mlp.layer[0].start + (mlp.rows + row) * mlp.columns + column];
        }
    }
    right[local] = sum;
    workgroupBarrier();
    if (local >= WIDTH || column >= mlp.columns) {
        return;
    }
    sum = 0.0;
    for (var part = 0u; part < 8u; part++) {
        sum += right[part * WIDTH + local];
    }
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
        sum += scratch[losses + row];
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
            if (layer == 0u) {
                let words = first_words(tile, local);
                update_tile(tile, true, local);
                forward_tile(tile, words, local);
            } else {
                update_tile(tile, false, local);
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
    for (var i = 0u; i < 2u; i++) {
        var w = 0.0;
        if (is_within(tile, i)) {
            w = weights[place(tile, i)];
        }
        right[UPDATED + input_of(tile, i) * WIDTH + tile.lane] = w;
    }
    workgroupBarrier();
    forward_tile(tile, first_words(tile, local), local);
}
