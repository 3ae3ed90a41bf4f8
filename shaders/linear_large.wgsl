// Linear layer (the book's Affine), for GPUs and large products: tiles of 128×64 outputs.
//
//   forward          y  = x·w + b      y[r,o]  = b[o] + Σ_i x[r,i]·w[i,o]
//   backward_input   dx = dy·wᵀ        dx[r,i] = Σ_o dy[r,o]·w[i,o]
//   backward_weight  dw = xᵀ·dy        dw[i,o] = Σ_r x[r,i]·dy[r,o]
//
// Each workgroup makes one tile of the product left·right. It walks along the summed dimension in
// slabs of 16, which its 256 invocations copy to workgroup memory, four neighbours at a time; each
// sums 8×4 outputs, for which it loads three vectors at every step. Rows of the slabs are padded by
// a vector, so that invocations that write one below the other meet different banks.

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
const SLAB = 16u;
const SIDE = 16u;      // invocations along one side of a tile
const LEFT_PITCH = 33u;  // ROWS / 4 + 1
const RIGHT_PITCH = 17u; // COLUMNS / 4 + 1

var<workgroup> left_tile: array<vec4f, 528>;  // (SLAB, LEFT_PITCH): four rows to a vector
var<workgroup> right_tile: array<vec4f, 272>; // (SLAB, RIGHT_PITCH): four columns to a vector

// A matrix (rows, columns) whose element (r, c) lies at r·row_step + c·column_step.
struct View {
    rows: u32,
    columns: u32,
    row_step: u32,
    column_step: u32,
}

struct Place {
    row: u32,    // of the tile's first output
    column: u32,
    local: u32,
}

fn place_of(workgroup: u32, columns: u32, local: u32) -> Place {
    let across = (columns + COLUMNS - 1u) / COLUMNS;
    return Place(workgroup / across * ROWS, workgroup % across * COLUMNS, local);
}

// Four neighbours across, at one depth; past an edge 0.
fn four_of_left(a: View, row: u32, k: u32) -> vec4f {
    var four = vec4f();
    if (k < a.columns) {
        let at = k * a.column_step;
        if (row < a.rows) { four.x = left[row * a.row_step + at]; }
        if (row + 1u < a.rows) { four.y = left[(row + 1u) * a.row_step + at]; }
        if (row + 2u < a.rows) { four.z = left[(row + 2u) * a.row_step + at]; }
        if (row + 3u < a.rows) { four.w = left[(row + 3u) * a.row_step + at]; }
    }
    return four;
}

fn four_of_right(b: View, k: u32, column: u32) -> vec4f {
    var four = vec4f();
    if (k < b.rows) {
        let at = k * b.row_step;
        if (column < b.columns) { four.x = right[at + column * b.column_step]; }
        if (column + 1u < b.columns) { four.y = right[at + (column + 1u) * b.column_step]; }
        if (column + 2u < b.columns) { four.z = right[at + (column + 2u) * b.column_step]; }
        if (column + 3u < b.columns) { four.w = right[at + (column + 3u) * b.column_step]; }
    }
    return four;
}

// Neighbouring invocations read neighbouring elements, whichever way the matrices lie.
fn load_slab(place: Place, a: View, b: View, slab: u32) {
    for (var at = place.local; at < SLAB * ROWS / 4u; at += SIDE * SIDE) {
        let by_depth = a.column_step == 1u;
        let depth = select(at / (ROWS / 4u), at % SLAB, by_depth);
        let four = select(at % (ROWS / 4u), at / SLAB, by_depth);
        left_tile[depth * LEFT_PITCH + four] = four_of_left(a, place.row + 4u * four, slab + depth);
    }
    let by_depth = b.row_step == 1u;
    let depth = select(place.local / (COLUMNS / 4u), place.local % SLAB, by_depth);
    let four = select(place.local % (COLUMNS / 4u), place.local / SLAB, by_depth);
    right_tile[depth * RIGHT_PITCH + four] = four_of_right(b, slab + depth, place.column + 4u * four);
}

// Row of the tile of an invocation's output i: two groups of four.
fn row_of(local: u32, i: u32) -> u32 {
    return local / SIDE * 4u + i % 4u + i / 4u * (ROWS / 2u);
}

// An invocation's outputs: eight rows of four columns, from `start` in each row on.
fn multiply(place: Place, a: View, b: View, start: vec4f) {
    let down = place.local / SIDE;
    let across = place.local % SIDE;
    var sums = array<vec4f, 8>(start, start, start, start, start, start, start, start);
    for (var slab = 0u; slab < a.columns; slab += SLAB) {
        load_slab(place, a, b, slab);
        workgroupBarrier();
        for (var k = 0u; k < SLAB; k++) {
            let upper = left_tile[k * LEFT_PITCH + down];
            let lower = left_tile[k * LEFT_PITCH + SIDE + down];
            let y = right_tile[k * RIGHT_PITCH + across];
            sums[0] += upper.x * y;
            sums[1] += upper.y * y;
            sums[2] += upper.z * y;
            sums[3] += upper.w * y;
            sums[4] += lower.x * y;
            sums[5] += lower.y * y;
            sums[6] += lower.z * y;
            sums[7] += lower.w * y;
        }
        workgroupBarrier();
    }
    let column = place.column + 4u * across;
    for (var i = 0u; i < 8u; i++) {
        let row = place.row + row_of(place.local, i);
        if (row < a.rows) {
            let at = row * b.columns + column;
            if (column < b.columns) { product[at] = sums[i].x; }
            if (column + 1u < b.columns) { product[at + 1u] = sums[i].y; }
            if (column + 2u < b.columns) { product[at + 2u] = sums[i].z; }
            if (column + 3u < b.columns) { product[at + 3u] = sums[i].w; }
        }
    }
}

@compute @workgroup_size(256)
fn forward(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let place = place_of(id.x + id.y * count.x, shape.outputs, local);
    let x = View(shape.rows, shape.inputs, shape.inputs, 1u);
    let w = View(shape.inputs, shape.outputs, shape.outputs, 1u);
    let c = place.column + 4u * (local % SIDE);
    let last = shape.outputs - 1u;
    let b = vec4f(
        bias[min(c, last)], bias[min(c + 1u, last)], bias[min(c + 2u, last)], bias[min(c + 3u, last)]
    );
    multiply(place, x, w, b);
}

@compute @workgroup_size(256)
fn backward_input(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let place = place_of(id.x + id.y * count.x, shape.inputs, local);
    let dy = View(shape.rows, shape.outputs, shape.outputs, 1u);
    let w_transposed = View(shape.outputs, shape.inputs, 1u, shape.outputs);
    multiply(place, dy, w_transposed, vec4f());
}

@compute @workgroup_size(256)
fn backward_weight(
    @builtin(workgroup_id) id: vec3u,
    @builtin(num_workgroups) count: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let place = place_of(id.x + id.y * count.x, shape.outputs, local);
    let x_transposed = View(shape.inputs, shape.rows, 1u, shape.inputs);
    let dy = View(shape.rows, shape.outputs, shape.outputs, 1u);
    multiply(place, x_transposed, dy, vec4f());
}
