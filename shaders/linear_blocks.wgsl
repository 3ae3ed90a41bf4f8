// The products of linear_product.wgsl for GPUs and large matrices: tiles of ROWS×COLUMNS outputs.
//
// Each workgroup computes one tile of the product left·right. It iterates over the summed dimension in slabs, which its
// invocations copy to workgroup memory. A step handles one index k of the summed dimension. In each step, an invocation
// loads three or four vectors from workgroup memory. A line is a row of `left` or a column of `right`. A vector of a
// slab holds the elements of four lines that are a quarter of the tile apart. So neighboring invocations read and write
// neighboring floats of storage, which a GPU combines into full memory transactions, and still load vectors from
// workgroup memory.
//
// Eight steps are unrolled by hand, because a driver may not unroll even a short loop, and then the kernel is a quarter
// slower.
//
// Two files follow this one. linear_8x8.wgsl or linear_8x4.wgsl defines the outputs of an invocation: COLUMN_GROUPS,
// Block, Sums and the functions on them. linear_large.wgsl or linear_medium.wgsl defines the sizes of tile and slab
// (ROWS, COLUMNS, SLAB), an invocation's copies of a slab (Shares, Values, shares_of, load, put), and the steps of a
// slab (add_slab).

const ROW_FOURS = ROWS / 4u;                 // vectors down a tile
const COLUMN_FOURS = COLUMNS / 4u;           // vectors across a tile
const DOWN = ROW_FOURS / 2u;                 // invocations down a tile
const ACROSS = COLUMN_FOURS / COLUMN_GROUPS; // invocations across a tile
const INVOCATIONS = DOWN * ACROSS;
// Row lengths of the tiles in vectors. They have one vector more than needed, so that invocations that write to the
// same column use different memory banks.
const LEFT_PITCH = ROW_FOURS + 1u;
const RIGHT_PITCH = COLUMN_FOURS + 1u;

// Vector f in a row of `left_tile` holds the tile's rows f, f + ROW_FOURS, f + 2·ROW_FOURS and f + 3·ROW_FOURS. Vector
// f in a row of `right_tile` holds the corresponding columns.
var<workgroup> left_tile: array<vec4f, SLAB * LEFT_PITCH>;
var<workgroup> right_tile: array<vec4f, SLAB * RIGHT_PITCH>;

// Describes a vector that an invocation copies from each slab of a factor (`left` or `right`).
struct Share {
    lines: vec4u, // index of the first element of each of the four lines
    depth: u32,
    depth_step: u32,
    to: u32,      // index in left_tile or right_tile
}

// Position of an invocation in its tile.
struct Place {
    down: u32,
    across: u32,
}

fn tile_of(workgroup: u32, columns: u32) -> Tile {
    let across = (columns + COLUMNS - 1u) / COLUMNS;
    return Tile(workgroup / across * ROWS, workgroup % across * COLUMNS);
}

fn tiles_of(rows: u32, columns: u32) -> u32 {
    return ((rows + ROWS - 1u) / ROWS) * ((columns + COLUMNS - 1u) / COLUMNS);
}

// Returns the position of an invocation in its tile. 32 neighboring invocations are arranged as 4×8, so per step they
// load only 4 + 8 different vectors from each group of lines. Arranged as 2×16, they would load 2 + 16.
fn place_of(local: u32) -> Place {
    let group = local / 32u;
    let lane = local % 32u;
    let across = ACROSS / 8u; // groups
    return Place(group / across * 4u + lane / 8u, group % across * 8u + lane % 8u);
}

// Returns the four lines of a vector whose first line is `line`. A row of the slab has `fours` vectors.
fn four_from(line: u32, fours: u32) -> vec4u {
    return line + vec4u(0u, fours, 2u * fours, 3u * fours);
}

// Describes vector `index` of a slab with `fours` vectors per row. Vectors are numbered so that neighboring invocations
// read neighboring elements, whether the factor is stored in row-major or column-major order. Lines past the last line
// are clamped to it; their outputs are not stored.
fn share_of(factor: Factor, first: u32, fours: u32, index: u32) -> Share {
    let by_depth = factor.depth_step == 1u;
    let depth = select(index / fours, index % SLAB, by_depth);
    let four = select(index % fours, index / SLAB, by_depth);
    let lines = min(four_from(first + four, fours), vec4u(factor.lines - 1u));
    return Share(lines * factor.line_step, depth, factor.depth_step, depth * (fours + 1u) + four);
}

fn left_share(factor: Factor, tile: Tile, index: u32) -> Share {
    return share_of(factor, tile.row, ROW_FOURS, index);
}

fn right_share(factor: Factor, tile: Tile, index: u32) -> Share {
    return share_of(factor, tile.column, COLUMN_FOURS, index);
}

// Loads a vector of a slab. Indices past the end of the sum are clamped to the last element, and their steps are
// skipped later. No loaded value is used before `put`, so all loads are in flight while the current slab is multiplied.
fn load_left(share: Share, slab: u32, depth: u32) -> vec4f {
    let at = share.lines + min(slab + share.depth, depth - 1u) * share.depth_step;
    return vec4f(left[at.x], left[at.y], left[at.z], left[at.w]);
}

fn load_right(share: Share, slab: u32, depth: u32) -> vec4f {
    let at = share.lines + min(slab + share.depth, depth - 1u) * share.depth_step;
    return vec4f(right[at.x], right[at.y], right[at.z], right[at.w]);
}

// Returns the product of each row's value and each column's value.
fn outer(rows: vec4f, columns: vec4f) -> mat4x4f {
    return mat4x4f(rows.x * columns, rows.y * columns, rows.z * columns, rows.w * columns);
}

fn add_eight_steps(before: Sums, first: u32, place: Place) -> Sums {
    var sums = before;
    sums = add_step(sums, first, place);
    sums = add_step(sums, first + 1u, place);
    sums = add_step(sums, first + 2u, place);
    sums = add_step(sums, first + 3u, place);
    sums = add_step(sums, first + 4u, place);
    sums = add_step(sums, first + 5u, place);
    sums = add_step(sums, first + 6u, place);
    sums = add_step(sums, first + 7u, place);
    return sums;
}

// Converts four sums to the gradient with respect to a ReLU's input; x is the ReLU's output. Indices past the last row
// or column are clamped to it; those outputs are not stored.
fn masked_row(row: u32, columns: vec4u, sums: vec4f) -> vec4f {
    let at = min(row, shape.rows - 1u) * shape.inputs + min(columns, vec4u(shape.inputs - 1u));
    let read = vec4f(x[at.x], x[at.y], x[at.z], x[at.w]);
    return select(sums, vec4f(), read <= vec4f());
}

fn masked_quarter(rows: vec4u, columns: vec4u, sums: mat4x4f) -> mat4x4f {
    return mat4x4f(
        masked_row(rows.x, columns, sums[0]),
        masked_row(rows.y, columns, sums[1]),
        masked_row(rows.z, columns, sums[2]),
        masked_row(rows.w, columns, sums[3]),
    );
}

fn store_row(row: u32, columns: vec4u, sums: vec4f, rows: u32, width: u32) {
    if (row >= rows) {
        return;
    }
    let at = row * width + columns;
    let stored = select(sums, rectified_four(sums), shape.relu == 1u);
    if (columns.x < width) { product[at.x] = stored.x; }
    if (columns.y < width) { product[at.y] = stored.y; }
    if (columns.z < width) { product[at.z] = stored.z; }
    if (columns.w < width) { product[at.w] = stored.w; }
}

fn store_quarter(rows: vec4u, columns: vec4u, sums: mat4x4f, a: Factor, b: Factor) {
    store_row(rows.x, columns, sums[0], a.lines, b.lines);
    store_row(rows.y, columns, sums[1], a.lines, b.lines);
    store_row(rows.z, columns, sums[2], a.lines, b.lines);
    store_row(rows.w, columns, sums[3], a.lines, b.lines);
}

// Computes the sums of an invocation, starting with the values in `start`.
fn multiply(tile: Tile, a: Factor, b: Factor, depth: u32, start: Sums, local: u32) -> Sums {
    let place = place_of(local);
    let shares = shares_of(tile, a, b, local);
    var sums = start;
    var next = load(shares, 0u, depth);
    let rest = depth % SLAB;
    for (var slab = 0u; slab < depth - rest; slab += SLAB) {
        put(shares, next);
        workgroupBarrier();
        next = load(shares, slab + SLAB, depth);
        sums = add_slab(sums, place);
        workgroupBarrier();
    }
    if (rest > 0u) {
        put(shares, next);
        workgroupBarrier();
        for (var k = 0u; k < rest; k++) {
            sums = add_step(sums, k, place);
        }
    }
    return sums;
}

fn bias_of(columns: vec4u) -> vec4f {
    let c = min(columns, vec4u(shape.outputs - 1u));
    return vec4f(bias[c.x], bias[c.y], bias[c.z], bias[c.w]);
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
    let block = block_of(tile, place_of(local));
    store(block, multiply(tile, x, w, shape.inputs, from_bias(block), local), x, w);
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
    let sums = multiply(tile, dy, w_transposed, shape.outputs, Sums(), local);
    store(block_of(tile, place_of(local)), sums, dy, w_transposed);
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
    let sums = multiply(tile, dy, w_transposed, shape.outputs, Sums(), local);
    let block = block_of(tile, place_of(local));
    store(block, masked(block, sums), dy, w_transposed);
}

fn gradient_by_weight(workgroup: u32, local: u32) {
    let tile = tile_of(workgroup, shape.outputs);
    let x_transposed = Factor(shape.inputs, 1u, shape.inputs);
    let dy = Factor(shape.outputs, 1u, shape.outputs);
    let sums = multiply(tile, x_transposed, dy, shape.rows, Sums(), local);
    store(block_of(tile, place_of(local)), sums, x_transposed, dy);
}
