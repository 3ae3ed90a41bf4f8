// The second dispatch of a fused step for GPUs. fused_slices_shared.wgsl, which precedes this file, has the formulas. A
// workgroup of `backward_forward` handles a tile of a weight, or 16 biases, or the history of losses.

const QUARTERS = 4u;
// Rows of the minibatch in workgroup memory at a time. The minibatch in the book has 100 rows.
const SLAB = 100u;
// Start of the updated tile (SIDE, SIDE) in `right`. The sums of all invocations come before it.
const UPDATED = 1024u;

// Inputs of a tile, (SLAB, QUARTERS) vectors of four inputs.
var<workgroup> left: array<vec4f, SLAB * QUARTERS>;
// At first the δ of a tile's outputs, (SLAB, SIDE); later the sums of all invocations and the updated tile.
var<workgroup> right: array<f32, SLAB * SIDE>;

// A tile, and an invocation's part of it. The invocation sums the gradients of four weights over every fourth row. The
// four weights belong to four inputs and one output. Then the invocation updates one of these weights.
struct Tile {
    layer: u32,
    input: u32,   // first input of the tile
    output: u32,  // first output of the tile
    turn: u32,    // 0 to 3: the first row to sum, and the input whose weight is updated
    quarter: u32,
    lane: u32,
}

fn tiles_of(layer: u32) -> u32 {
    return (inputs_of(layer) + SIDE - 1u) / SIDE * ((outputs_of(layer) + SIDE - 1u) / SIDE);
}

fn tile_of(layer: u32, index: u32, local: u32) -> Tile {
    let across = (outputs_of(layer) + SIDE - 1u) / SIDE;
    let part = local / SIDE;
    return Tile(
        layer, index / across * SIDE, index % across * SIDE, part / QUARTERS, part % QUARTERS, local % SIDE
    );
}

// Loads one column of four rows of outputs or δ. `at` is the column's index in the first row of the slab. There is no
// branch between the loads, so that all are in flight at once. Rows past the last one are clamped to it.
fn fetch_rows(at: u32, row: vec4u, rows: u32) -> vec4f {
    let place = at + min(row, vec4u(rows - 1u)) * columns();
    return vec4f(scratch[place.x], scratch[place.y], scratch[place.z], scratch[place.w]);
}

// What an invocation loads from a slab of δ: δ of one output in every 16th row. Outputs past the last one are clamped
// to it; their sums are not stored.
struct Right {
    upper: vec4f,
    lower: vec4f,
}

fn fetch_right(tile: Tile, row: u32, rows: u32, local: u32) -> Right {
    let outputs = min(SIDE, outputs_of(tile.layer) - tile.output);
    let at = deltas_start() + row * columns() + column_of(tile.layer)
        + tile.output + min(tile.lane, outputs - 1u);
    let first = local / SIDE + SIDE * vec4u(0u, 1u, 2u, 3u);
    return Right(fetch_rows(at, first, rows), fetch_rows(at, first + 4u * SIDE, rows));
}

fn put_right(values: Right, rows: u32, local: u32) {
    for (var i = 0u; i < 4u; i++) {
        let at = local + 256u * i;
        if (at < rows * SIDE) {
            right[at] = values.upper[i];
        }
        if (at + 1024u < rows * SIDE) {
            right[at + 1024u] = values.lower[i];
        }
    }
}

// What an invocation loads from a slab of inputs: two vectors of four inputs.
struct Left {
    upper: vec4f,
    lower: vec4f,
}

// Loads vector `at` of a slab of bytes that starts at row `first` of `minibatch`. Rows and words past the last one are
// clamped to it. This is harmless, because their sums are not stored, or their weights are 0.
fn bytes_at(tile: Tile, first: u32, rows: u32, at: u32) -> vec4f {
    let row = first + min(at / QUARTERS, rows - 1u);
    let word = min(tile.input / 4u + at % QUARTERS, words() - 1u);
    return unpack4x8unorm(minibatch[row * words() + word]);
}

fn fetch_bytes(tile: Tile, first: u32, rows: u32, local: u32) -> Left {
    return Left(bytes_at(tile, first, rows, local), bytes_at(tile, first, rows, local + 256u));
}

// Loads vector `at` of a slab of the previous layer's outputs. Rows and outputs past the last one are clamped to it;
// their sums are not stored.
fn outputs_at(tile: Tile, first: u32, rows: u32, at: u32) -> vec4f {
    let row = first + min(at / QUARTERS, rows - 1u);
    let input = tile.input + 4u * (at % QUARTERS) + vec4u(0u, 1u, 2u, 3u);
    let place = outputs_start() + column_of(tile.layer - 1u) + row * columns()
        + min(input, vec4u(inputs_of(tile.layer) - 1u));
    return vec4f(scratch[place.x], scratch[place.y], scratch[place.z], scratch[place.w]);
}

// Loads the inputs of a slab that starts at `row`. The inputs of the first layer are bytes in the second half of
// `minibatch`; the first half has the next minibatch.
fn fetch_left(tile: Tile, row: u32, rows: u32, local: u32) -> Left {
    if (tile.layer == 0u) {
        return fetch_bytes(tile, batch + row, rows, local);
    }
    return Left(outputs_at(tile, row, rows, local), outputs_at(tile, row, rows, local + 256u));
}

fn put_left(values: Left, rows: u32, local: u32) {
    if (local < rows * QUARTERS) {
        left[local] = values.upper;
    }
    if (local + 256u < rows * QUARTERS) {
        left[local + 256u] = values.lower;
    }
}

// Returns the terms of one row in the gradients of four weights: of four inputs and one output.
fn term(tile: Tile, row: u32) -> vec4f {
    return left[row * QUARTERS + tile.quarter] * right[row * SIDE + tile.lane];
}

// Returns the invocation's part of the gradients of its four weights: Σ a·δ over its rows.
fn part_of_gradient(tile: Tile, local: u32) -> vec4f {
    var rows = min(SLAB, batch);
    var next_left = fetch_left(tile, 0u, rows, local);
    var next_right = fetch_right(tile, 0u, rows, local);
    var sum = vec4f();
    for (var row = 0u; row < batch; row += SLAB) {
        rows = min(SLAB, batch - row);
        put_left(next_left, rows, local);
        put_right(next_right, rows, local);
        workgroupBarrier();
        // Load the next slab; these loads are in flight while this slab is summed.
        if (row + SLAB < batch) {
            let next_rows = min(SLAB, batch - row - SLAB);
            next_left = fetch_left(tile, row + SLAB, next_rows, local);
            next_right = fetch_right(tile, row + SLAB, next_rows, local);
        }
        var r = tile.turn;
        for (; r + 12u < rows; r += 16u) {
            sum += term(tile, r);
            sum += term(tile, r + 4u);
            sum += term(tile, r + 8u);
            sum += term(tile, r + 12u);
        }
        for (; r < rows; r += 4u) {
            sum += term(tile, r);
        }
        workgroupBarrier();
    }
    return sum;
}

// Returns the updated weights of four inputs of the tile and of this invocation's output.
fn updated(tile: Tile, quarter: u32) -> vec4f {
    let at = UPDATED + 4u * quarter * SIDE + tile.lane;
    return vec4f(right[at], right[at + SIDE], right[at + 2u * SIDE], right[at + 3u * SIDE]);
}

// Computes the part of the next step's z₁ that the updated tile contributes. `first` has what this invocation has
// loaded from the first slab of inputs.
fn forward_tile(tile: Tile, first: Left, local: u32) {
    let outputs = width_1;
    let output = tile.output + tile.lane;
    let w_0 = updated(tile, 0u);
    let w_1 = updated(tile, 1u);
    let w_2 = updated(tile, 2u);
    let w_3 = updated(tile, 3u);
    var values = first;
    for (var row = 0u; row < batch; row += SLAB) {
        let rows = min(SLAB, batch - row);
        if (row > 0u) {
            values = fetch_bytes(tile, row, rows, local);
        }
        put_left(values, rows, local);
        workgroupBarrier();
        if (output < outputs) {
            let part = (tile.input / SIDE * batch + row) * outputs + output;
            for (var r = local / SIDE; r < rows; r += SIDE) {
                let at = r * QUARTERS;
                scratch[part + r * outputs] = (dot(left[at], w_0) + dot(left[at + 1u], w_1))
                    + (dot(left[at + 2u], w_2) + dot(left[at + 3u], w_3));
            }
        }
        workgroupBarrier();
    }
}

// Loads an invocation's inputs from the first slab of the next minibatch, for `forward_tile`.
fn first_of_next(tile: Tile, local: u32) -> Left {
    return fetch_bytes(tile, 0u, min(SLAB, batch), local);
}

// Returns the input, counted within the tile, whose weight an invocation updates.
fn input_of(tile: Tile) -> u32 {
    return 4u * tile.quarter + tile.turn;
}

fn is_within(tile: Tile) -> bool {
    return tile.input + input_of(tile) < inputs_of(tile.layer)
        && tile.output + tile.lane < outputs_of(tile.layer);
}

fn place(tile: Tile) -> u32 {
    let input = tile.input + input_of(tile);
    return mlp.layer[tile.layer].weight + input * outputs_of(tile.layer) + tile.output + tile.lane;
}

// Updates the weights of a tile. Weights outside of the matrix are 0. Each invocation loads its weight first, so that
// the load is done when the gradient is known.
fn update_tile(tile: Tile, local: u32) {
    var w = 0.0;
    if (is_within(tile)) {
        w = parameters[place(tile)];
    }
    let sum = part_of_gradient(tile, local);
    for (var i = 0u; i < 4u; i++) {
        right[256u * i + local] = sum[i];
    }
    workgroupBarrier();
    // The gradient is the sum of four parts; each part is the sum over every fourth row.
    let at = 256u * tile.turn + local % 64u;
    w -= mlp.learning_rate * ((right[at] + right[at + 64u]) + (right[at + 128u] + right[at + 192u]));
    if (is_within(tile)) {
        parameters[place(tile)] = w;
    } else {
        w = 0.0;
    }
    right[UPDATED + input_of(tile) * SIDE + tile.lane] = w;
    workgroupBarrier();
}

// Updates 16 biases. For each bias, 16 invocations share the sum over the rows: an invocation sums every 16th row.
fn update_biases(index: u32, local: u32) {
    let column = index * SIDE + local % SIDE;
    var sum = vec4f();
    if (column < columns()) {
        let at = deltas_start() + column;
        for (var row = local / SIDE; row < batch; row += 8u * SIDE) {
            let near = row + SIDE * vec4u(0u, 1u, 2u, 3u);
            let far = near + 4u * SIDE;
            let a = fetch_rows(at, near, batch);
            let b = fetch_rows(at, far, batch);
            sum += select(vec4f(), a, near < vec4u(batch)) + select(vec4f(), b, far < vec4u(batch));
        }
    }
    right[local] = (sum.x + sum.y) + (sum.z + sum.w);
    workgroupBarrier();
    if (local >= SIDE || column >= columns()) {
        return;
    }
    var total = 0.0;
    for (var part = 0u; part < SIDE; part++) {
        total += right[part * SIDE + local];
    }
    var layer = 0u;
    for (var l = 1u; l < layers; l++) {
        if (column >= column_of(l)) {
            layer = l;
        }
    }
    parameters[mlp.layer[layer].bias + column - column_of(layer)] -= mlp.learning_rate * total;
}

fn log_step(local: u32) {
    var sum = 0.0;
    for (var row = local; row < batch; row += 256u) {
        sum += scratch[losses_start() + row];
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
        history[step_count[0] % mlp.capacity] = right[0] / f32(batch);
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
    if (index < tiles_of(0u)) {
        let tile = tile_of(0u, index, local);
        let next = first_of_next(tile, local);
        update_tile(tile, local);
        forward_tile(tile, next, local);
        return;
    }
    index -= tiles_of(0u);
    for (var layer = 1u; layer < layers; layer++) {
        if (index < tiles_of(layer)) {
            update_tile(tile_of(layer, index, local), local);
            return;
        }
        index -= tiles_of(layer);
    }
    let biases = (columns() + SIDE - 1u) / SIDE;
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
    if (index >= tiles_of(0u)) {
        return;
    }
    let tile = tile_of(0u, index, local);
    var w = 0.0;
    if (is_within(tile)) {
        w = weights[place(tile)];
    }
    right[UPDATED + input_of(tile) * SIDE + tile.lane] = w;
    workgroupBarrier();
    forward_tile(tile, first_of_next(tile, local), local);
}
