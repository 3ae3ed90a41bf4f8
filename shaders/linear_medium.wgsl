// Linear layer (the book's Affine), for GPUs and large products: tiles of 128×64 outputs.
//
//   forward          y  = x·w + b      y[r,o]  = b[o] + Σ_i x[r,i]·w[i,o]
//   backward_input   dx = dy·wᵀ        dx[r,i] = Σ_o dy[r,o]·w[i,o]
//   backward_weight  dw = xᵀ·dy        dw[i,o] = Σ_r x[r,i]·dy[r,o]
//
// Each workgroup makes one tile of the product left·right. It walks along the summed dimension in
// slabs of 16, which its 256 invocations copy to workgroup memory; each sums 8×4 outputs, for which it
// loads three vectors at every step. A vector of a slab holds four lines (rows of `left`, columns of
// `right`) that lie a quarter of the tile apart. So neighbouring invocations read and write neighbouring
// floats, which a GPU joins into whole transactions, and still load vectors from workgroup memory.

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

const ROWS = 128u;
const COLUMNS = 64u;
const ROW_FOURS = 32u;    // vectors down a tile
const COLUMN_FOURS = 16u; // vectors across
const SLAB = 16u;
const SIDE = 16u;         // invocations along one side of a tile
// A vector more, so that invocations that write one below the other meet different banks.
const LEFT_PITCH = ROW_FOURS + 1u;
const RIGHT_PITCH = COLUMN_FOURS + 1u;

// Vector f of a slab's row holds the tile's rows f, f + 32, f + 64, f + 96, or its columns f, f + 16,
// f + 32, f + 48.
var<workgroup> left_tile: array<vec4f, SLAB * LEFT_PITCH>;
var<workgroup> right_tile: array<vec4f, SLAB * RIGHT_PITCH>;

// A factor of the product. Its line l (a row of `left`, a column of `right`) has the element at depth k
// at l·line_step + k·depth_step.
struct Factor {
    lines: u32,
    line_step: u32,
    depth_step: u32,
}

// What one invocation copies of each slab of a factor: a vector, and of `left` one half a slab below.
struct Share {
    lines: vec4u, // where they begin
    depth: u32,
    depth_step: u32,
    to: u32,      // its place in the tile
}

struct Tile {
    row: u32,    // of the first output
    column: u32,
}

fn tile_of(workgroup: u32, columns: u32) -> Tile {
    let across = (columns + COLUMNS - 1u) / COLUMNS;
    return Tile(workgroup / across * ROWS, workgroup % across * COLUMNS);
}

// The four lines of a vector of so many, of which this is the first.
fn four_from(line: u32, fours: u32) -> vec4u {
    return line + vec4u(0u, fours, 2u * fours, 3u * fours);
}

// Neighbouring invocations read neighbouring elements, whichever way the factor lies. Past the last line
// that one is read again, for outputs that are not stored.
fn share_of(factor: Factor, first: u32, fours: u32, local: u32) -> Share {
    let by_depth = factor.depth_step == 1u;
    let depths = SIDE * SIDE / fours;
    let depth = select(local / fours, local % depths, by_depth);
    let four = select(local % fours, local / depths, by_depth);
    let lines = min(four_from(first + four, fours), vec4u(factor.lines - 1u));
    return Share(lines * factor.line_step, depth, factor.depth_step, depth * (fours + 1u) + four);
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

fn columns_of(tile: Tile, local: u32) -> vec4u {
    return four_from(tile.column + local % SIDE, COLUMN_FOURS);
}

// An invocation's outputs: eight rows of four columns, from `start` in each row on. Sums are indexed by
// constants alone, so that they stay in registers.
fn multiply(tile: Tile, a: Factor, b: Factor, depth: u32, start: vec4f, local: u32) {
    let down = local / SIDE;
    let across = local % SIDE;
    let of_left = share_of(a, tile.row, ROW_FOURS, local);
    let of_right = share_of(b, tile.column, COLUMN_FOURS, local);
    var next_upper = load_left(of_left, depth, 0u);
    var next_lower = load_left(of_left, depth, SLAB / 2u);
    var next_right = load_right(of_right, depth, 0u);
    var upper = mat4x4f(start, start, start, start);
    var lower = upper;
    for (var slab = 0u; slab < depth; slab += SLAB) {
        left_tile[of_left.to] = next_upper;
        left_tile[of_left.to + SLAB / 2u * LEFT_PITCH] = next_lower;
        right_tile[of_right.to] = next_right;
        workgroupBarrier();
        // Under way while this slab is multiplied.
        next_upper = load_left(of_left, depth, slab + SLAB);
        next_lower = load_left(of_left, depth, slab + SLAB + SLAB / 2u);
        next_right = load_right(of_right, depth, slab + SLAB);
        for (var k = 0u; k < SLAB; k++) {
            let y = right_tile[k * RIGHT_PITCH + across];
            upper += outer(left_tile[k * LEFT_PITCH + down], y);
            lower += outer(left_tile[k * LEFT_PITCH + SIDE + down], y);
        }
        workgroupBarrier();
    }
    let row = tile.row + down;
    let columns = columns_of(tile, local);
    store(four_from(row, ROW_FOURS), columns, upper, a, b);
    store(four_from(row + SIDE, ROW_FOURS), columns, lower, a, b);
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
    multiply(tile, x, w, shape.inputs, bias_of(columns_of(tile, local)), local);
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
    multiply(tile, dy, w_transposed, shape.outputs, vec4f(), local);
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
    multiply(tile, x_transposed, dy, shape.rows, vec4f(), local);
}
