// Linear layer (the book's Affine), for GPUs and the largest products: tiles of 128×128 outputs.
//
//   forward          y  = x·w + b      y[r,o]  = b[o] + Σ_i x[r,i]·w[i,o]
//   backward_input   dx = dy·wᵀ        dx[r,i] = Σ_o dy[r,o]·w[i,o]
//   backward_weight  dw = xᵀ·dy        dw[i,o] = Σ_r x[r,i]·dy[r,o]
//
// Each workgroup makes one tile of the product left·right. It walks along the summed dimension in
// slabs of 8, which its 256 invocations copy to workgroup memory; each sums 8×8 outputs, for which it
// loads four vectors at every step. A vector of a slab holds four lines (rows of `left`, columns of
// `right`) that lie 32 apart. So neighbouring invocations read and write neighbouring floats, which a
// GPU joins into whole transactions, and still load vectors from workgroup memory.

struct Shape {
    rows: u32,     // of the batch
    inputs: u32,
    outputs: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> left: array<f32>;
@group(0) @binding(2) var<storage, read> right: array<f32>;
@group(0) @binding(3) var<storage, read_write> product: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>; // (1, outputs)

const TILE = 128u;
const FOURS = 32u; // vectors across a tile
const SLAB = 8u;
const SIDE = 16u;  // invocations along one side of a tile
// A vector more, so that invocations that write one below the other meet different banks.
const PITCH = FOURS + 1u;

// Vector f of a slab's row holds the tile's rows f, f + 32, f + 64, f + 96, or such columns.
var<workgroup> left_tile: array<vec4f, SLAB * PITCH>;
var<workgroup> right_tile: array<vec4f, SLAB * PITCH>;

// A factor of the product. Its line l (a row of `left`, a column of `right`) has the element at depth k
// at l·line_step + k·depth_step.
struct Factor {
    lines: u32,
    line_step: u32,
    depth_step: u32,
}

// What one invocation copies of each slab of a factor: a vector.
struct Share {
    lines: vec4u, // where they begin
    depth: u32,
    depth_step: u32,
    to: u32,      // its place in the tile
}

// Outputs of an invocation: two groups of rows by two groups of columns.
struct Block {
    rows: array<vec4u, 2>,
    columns: array<vec4u, 2>,
}

struct Tile {
    row: u32,    // of the first output
    column: u32,
}

fn tile_of(workgroup: u32, columns: u32) -> Tile {
    let across = (columns + TILE - 1u) / TILE;
    return Tile(workgroup / across * TILE, workgroup % across * TILE);
}

// The four lines of a vector whose first is this.
fn four_from(line: u32) -> vec4u {
    return line + vec4u(0u, FOURS, 2u * FOURS, 3u * FOURS);
}

fn block_of(tile: Tile, local: u32) -> Block {
    let row = tile.row + local / SIDE;
    let column = tile.column + local % SIDE;
    return Block(
        array<vec4u, 2>(four_from(row), four_from(row + SIDE)),
        array<vec4u, 2>(four_from(column), four_from(column + SIDE)),
    );
}

// Neighbouring invocations read neighbouring elements, whichever way the factor lies. Past the last line
// that one is read again, for outputs that are not stored.
fn share_of(factor: Factor, first: u32, local: u32) -> Share {
    let by_depth = factor.depth_step == 1u;
    let depth = select(local / FOURS, local % SLAB, by_depth);
    let four = select(local % FOURS, local / SLAB, by_depth);
    let lines = min(four_from(first + four), vec4u(factor.lines - 1u));
    return Share(lines * factor.line_step, depth, factor.depth_step, depth * PITCH + four);
}

// No branch stands between the loads, so that all of them are under way at once. Past the end of the
// sum there are zeros.
fn load_left(share: Share, depth: u32, slab: u32) -> vec4f {
    let k = slab + share.depth;
    let at = share.lines + min(k, depth - 1u) * share.depth_step;
    let values = vec4f(left[at.x], left[at.y], left[at.z], left[at.w]);
    return select(vec4f(), values, k < depth);
}

fn load_right(share: Share, depth: u32, slab: u32) -> vec4f {
    let k = slab + share.depth;
    let at = share.lines + min(k, depth - 1u) * share.depth_step;
    let values = vec4f(right[at.x], right[at.y], right[at.z], right[at.w]);
    return select(vec4f(), values, k < depth);
}

// Every row's value times every column's.
fn outer(rows: vec4f, columns: vec4f) -> mat4x4f {
    return mat4x4f(rows.x * columns, rows.y * columns, rows.z * columns, rows.w * columns);
}

fn store_row(row: u32, columns: vec4u, sums: vec4f, rows: u32, width: u32) {
    if (row >= rows) {
        return;
    }
    let at = row * width + columns;
    if (columns.x < width) { product[at.x] = sums.x; }
    if (columns.y < width) { product[at.y] = sums.y; }
    if (columns.z < width) { product[at.z] = sums.z; }
    if (columns.w < width) { product[at.w] = sums.w; }
}

fn store(rows: vec4u, columns: vec4u, sums: mat4x4f, a: Factor, b: Factor) {
    store_row(rows.x, columns, sums[0], a.lines, b.lines);
    store_row(rows.y, columns, sums[1], a.lines, b.lines);
    store_row(rows.z, columns, sums[2], a.lines, b.lines);
    store_row(rows.w, columns, sums[3], a.lines, b.lines);
}

// The outputs of an invocation, from `start` in each column on. Sums are indexed by constants alone, so
// that they stay in registers.
fn multiply(tile: Tile, a: Factor, b: Factor, depth: u32, start: mat2x4f, local: u32) {
    let down = local / SIDE;
    let across = local % SIDE;
    let of_left = share_of(a, tile.row, local);
    let of_right = share_of(b, tile.column, local);
    var next_left = load_left(of_left, depth, 0u);
    var next_right = load_right(of_right, depth, 0u);
    var sums_00 = mat4x4f(start[0], start[0], start[0], start[0]);
    var sums_01 = mat4x4f(start[1], start[1], start[1], start[1]);
    var sums_10 = sums_00;
    var sums_11 = sums_01;
    for (var slab = 0u; slab < depth; slab += SLAB) {
        left_tile[of_left.to] = next_left;
        right_tile[of_right.to] = next_right;
        workgroupBarrier();
        // Under way while this slab is multiplied.
        next_left = load_left(of_left, depth, slab + SLAB);
        next_right = load_right(of_right, depth, slab + SLAB);
        for (var k = 0u; k < SLAB; k++) {
            let x_0 = left_tile[k * PITCH + down];
            let x_1 = left_tile[k * PITCH + SIDE + down];
            let y_0 = right_tile[k * PITCH + across];
            let y_1 = right_tile[k * PITCH + SIDE + across];
            sums_00 += outer(x_0, y_0);
            sums_01 += outer(x_0, y_1);
            sums_10 += outer(x_1, y_0);
            sums_11 += outer(x_1, y_1);
        }
        workgroupBarrier();
    }
    let block = block_of(tile, local);
    store(block.rows[0], block.columns[0], sums_00, a, b);
    store(block.rows[0], block.columns[1], sums_01, a, b);
    store(block.rows[1], block.columns[0], sums_10, a, b);
    store(block.rows[1], block.columns[1], sums_11, a, b);
}

fn bias_of(columns: vec4u) -> vec4f {
    let c = min(columns, vec4u(shape.outputs - 1u));
    return vec4f(bias[c.x], bias[c.y], bias[c.z], bias[c.w]);
}

@compute @workgroup_size(256)
fn forward(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = tile_of(id.x + id.y * count.x, shape.outputs);
    let x = Factor(shape.rows, shape.inputs, 1u);
    let w = Factor(shape.outputs, 1u, shape.outputs);
    let columns = block_of(tile, local).columns;
    let b = mat2x4f(bias_of(columns[0]), bias_of(columns[1]));
    multiply(tile, x, w, shape.inputs, b, local);
}

@compute @workgroup_size(256)
fn backward_input(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = tile_of(id.x + id.y * count.x, shape.inputs);
    let dy = Factor(shape.rows, shape.outputs, 1u);
    let w_transposed = Factor(shape.inputs, shape.outputs, 1u);
    multiply(tile, dy, w_transposed, shape.outputs, mat2x4f(), local);
}

@compute @workgroup_size(256)
fn backward_weight(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = tile_of(id.x + id.y * count.x, shape.outputs);
    let x_transposed = Factor(shape.inputs, 1u, shape.inputs);
    let dy = Factor(shape.outputs, 1u, shape.outputs);
    multiply(tile, x_transposed, dy, shape.rows, mat2x4f(), local);
}
