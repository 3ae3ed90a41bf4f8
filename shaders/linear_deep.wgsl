// The products of linear_product.wgsl for GPUs, for few outputs with long sums: tiles of 8×8 outputs.
//
// With few outputs, large tiles would be too few to use the whole GPU. So the tiles are small. Each slab of a sum costs
// the latency of memory and two barriers, so the slabs are long: 128 elements of the summed dimension. A step handles
// one index k of the summed dimension. Each sum is split into 16 parts within the workgroup, and each part has every
// 16th step. 16 invocations compute the same part of all sums of the tile, 2×2 sums per invocation. At the end, the
// parts are added in workgroup memory, always in the same order.

const INVOCATIONS = 256u;
const TILE = 8u;
const PAIRS = 4u; // pairs of rows, or of columns, in a tile
const SLAB = 128u;
const HALF_SLAB = 64u;
const PARTS = 16u;
// Row length of the tiles in pairs: one pair more than needed, so that invocations that write to the same column use
// different memory banks.
const PITCH = PAIRS + 1u;

// Pair p in a row of `left_tile` holds the tile's rows p and p + 4; in `right_tile`, it holds the columns p and p + 4.
var<workgroup> left_tile: array<vec2f, SLAB * PITCH>;
var<workgroup> right_tile: array<vec2f, SLAB * PITCH>;
var<workgroup> parts: array<f32, PARTS * TILE * TILE>;

// Describes what one invocation copies from each slab of a factor (`left` or `right`): the elements of two lines, each
// at two indices (depths) of the summed dimension. A line is a row of `left` or a column of `right`.
struct Share {
    lines: vec2u, // index of the first element of each line
    depth: u32,   // the first depth; the second depth is half a slab further
    depth_step: u32,
    to: u32,      // index in left_tile or right_tile
}

fn tile_of(workgroup: u32, columns: u32) -> Tile {
    let across = (columns + TILE - 1u) / TILE;
    return Tile(workgroup / across * TILE, workgroup % across * TILE);
}

fn tiles_of(rows: u32, columns: u32) -> u32 {
    return ((rows + TILE - 1u) / TILE) * ((columns + TILE - 1u) / TILE);
}

// Chooses an invocation's elements so that neighboring invocations read neighboring elements, whether the factor is
// stored in row-major or column-major order. Lines past the last line are clamped to it; their outputs are not stored.
fn share_of(factor: Factor, first: u32, local: u32) -> Share {
    let by_depth = factor.depth_step == 1u;
    let depth = select(local / PAIRS, local % HALF_SLAB, by_depth);
    let pair = select(local % PAIRS, local / HALF_SLAB, by_depth);
    let lines = min(first + vec2u(pair, pair + PAIRS), vec2u(factor.lines - 1u));
    return Share(lines * factor.line_step, depth, factor.depth_step, depth * PITCH + pair);
}

// Loads an invocation's elements of a slab. There is no branch between the loads, so that all are in flight at once.
// Elements past the end of the sum are 0.
fn load_left(share: Share, depth: u32, slab: u32) -> vec4f {
    let k = slab + share.depth + vec2u(0u, HALF_SLAB);
    let upper = share.lines + min(k.x, depth - 1u) * share.depth_step;
    let lower = share.lines + min(k.y, depth - 1u) * share.depth_step;
    let values = vec4f(left[upper.x], left[upper.y], left[lower.x], left[lower.y]);
    return select(vec4f(), values, k.xxyy < vec4u(depth));
}

fn load_right(share: Share, depth: u32, slab: u32) -> vec4f {
    let k = slab + share.depth + vec2u(0u, HALF_SLAB);
    let upper = share.lines + min(k.x, depth - 1u) * share.depth_step;
    let lower = share.lines + min(k.y, depth - 1u) * share.depth_step;
    let values = vec4f(right[upper.x], right[upper.y], right[lower.x], right[lower.y]);
    return select(vec4f(), values, k.xxyy < vec4u(depth));
}

// Returns the terms that step k adds to the sums of 2×2 outputs.
fn products(k: u32, down: u32, across: u32) -> vec4f {
    let x = left_tile[k * PITCH + down];
    let y = right_tile[k * PITCH + across];
    return x.xxyy * y.xyxy;
}

// Computes this invocation's part of the sums of 2×2 outputs: rows d and d + 4, columns a and a + 4 of the tile.
fn multiply(tile: Tile, a: Factor, b: Factor, depth: u32, local: u32) -> vec4f {
    let part = local / (PAIRS * PAIRS);
    let down = local / PAIRS % PAIRS;
    let across = local % PAIRS;
    let of_left = share_of(a, tile.row, local);
    let of_right = share_of(b, tile.column, local);
    var next_left = load_left(of_left, depth, 0u);
    var next_right = load_right(of_right, depth, 0u);
    var sums = vec4f();
    for (var slab = 0u; slab < depth; slab += SLAB) {
        left_tile[of_left.to] = next_left.xy;
        left_tile[of_left.to + HALF_SLAB * PITCH] = next_left.zw;
        right_tile[of_right.to] = next_right.xy;
        right_tile[of_right.to + HALF_SLAB * PITCH] = next_right.zw;
        workgroupBarrier();
        // Load the next slab; these loads are in flight while this slab is multiplied.
        next_left = load_left(of_left, depth, slab + SLAB);
        next_right = load_right(of_right, depth, slab + SLAB);
        for (var k = part; k < SLAB; k += 4u * PARTS) {
            sums += products(k, down, across);
            sums += products(k + PARTS, down, across);
            sums += products(k + 2u * PARTS, down, across);
            sums += products(k + 3u * PARTS, down, across);
        }
        workgroupBarrier();
    }
    return sums;
}

// Returns `start` plus all parts of one output's sum. Each of the first 64 invocations gets one output of the tile, and
// the other invocations get 0.
fn total(start: f32, sums: vec4f, local: u32) -> f32 {
    let part = local / (PAIRS * PAIRS);
    let first = part * TILE * TILE + local / PAIRS % PAIRS * TILE + local % PAIRS;
    parts[first] = sums.x;
    parts[first + PAIRS] = sums.y;
    parts[first + PAIRS * TILE] = sums.z;
    parts[first + PAIRS * TILE + PAIRS] = sums.w;
    workgroupBarrier();
    if (local >= TILE * TILE) {
        return 0.0;
    }
    var sum = start;
    for (var i = 0u; i < PARTS; i++) {
        sum += parts[i * TILE * TILE + local];
    }
    return sum;
}

// Converts an output to the gradient with respect to a ReLU's input; x is the ReLU's output. Indices past the last row
// or column are clamped to it; that output is not stored.
fn masked(tile: Tile, sum: f32, local: u32) -> f32 {
    let row = min(tile.row + local / TILE, shape.rows - 1u);
    let column = min(tile.column + local % TILE, shape.inputs - 1u);
    return select(sum, 0.0, x[row * shape.inputs + column] <= 0.0);
}

fn store(tile: Tile, rows: u32, columns: u32, sum: f32, local: u32) {
    let row = tile.row + local / TILE;
    let column = tile.column + local % TILE;
    if (local >= TILE * TILE || row >= rows || column >= columns) {
        return;
    }
    product[row * columns + column] = select(sum, rectified(sum), shape.relu == 1u);
}

@compute @workgroup_size(INVOCATIONS)
fn forward(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = tile_of(shape.first + id.x + id.y * count.x, shape.outputs);
    let x = Factor(shape.rows, shape.inputs, 1u);
    let w = Factor(shape.outputs, 1u, shape.outputs);
    let sums = multiply(tile, x, w, shape.inputs, local);
    let b = bias[min(tile.column + local % TILE, shape.outputs - 1u)];
    store(tile, shape.rows, shape.outputs, total(b, sums, local), local);
}

@compute @workgroup_size(INVOCATIONS)
fn backward_input(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = tile_of(shape.first + id.x + id.y * count.x, shape.inputs);
    let dy = Factor(shape.rows, shape.outputs, 1u);
    let w_transposed = Factor(shape.inputs, shape.outputs, 1u);
    let sums = multiply(tile, dy, w_transposed, shape.outputs, local);
    store(tile, shape.rows, shape.inputs, total(0.0, sums, local), local);
}

@compute @workgroup_size(INVOCATIONS)
fn backward_input_relu(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = tile_of(shape.first + id.x + id.y * count.x, shape.inputs);
    let dy = Factor(shape.rows, shape.outputs, 1u);
    let w_transposed = Factor(shape.inputs, shape.outputs, 1u);
    let sums = multiply(tile, dy, w_transposed, shape.outputs, local);
    let sum = masked(tile, total(0.0, sums, local), local);
    store(tile, shape.rows, shape.inputs, sum, local);
}

fn gradient_by_weight(workgroup: u32, local: u32) {
    let tile = tile_of(workgroup, shape.outputs);
    let x_transposed = Factor(shape.inputs, 1u, shape.inputs);
    let dy = Factor(shape.outputs, 1u, shape.outputs);
    let sums = multiply(tile, x_transposed, dy, shape.rows, local);
    store(tile, shape.inputs, shape.outputs, total(0.0, sums, local), local);
}
