// The products of a convolution for GPUs: tiles of 64 positions × 32 columns in workgroup memory. A file with the entry
// points follows this one. That file also defines how a tile is loaded: `Cursor`, `Fetched`, `fetch` and `put`.
//
// A workgroup computes one tile of a product left·right. It iterates over the summed dimension in slabs of 16 elements.
// Its 128 invocations copy a slab to workgroup memory while they already load the next slab from storage. Each
// invocation computes the sums of 4 positions × 4 columns. Pixels outside of an image are copied as 0. So the images
// need not be unfolded (im2col) in storage.
//
// A vector of a slab holds four positions that are 16 apart, or four columns that are 8 apart. So neighboring
// invocations read and write neighboring floats of storage, and still load vectors from workgroup memory. The loops are
// unrolled by hand and vectors are indexed by constants. Otherwise a driver might not unroll a loop. Then the vectors
// that the loop indexes might be in memory instead of registers.

@group(0) @binding(1) var<storage, read> left: array<f32>;          // x or dy: see conv2d_shape.wgsl
@group(0) @binding(2) var<storage, read> right: array<f32>;         // w or dy
@group(0) @binding(3) var<storage, read_write> product: array<f32>; // y, dx or parts (see conv2d_parts.wgsl)

const POSITIONS = 64u;
const COLUMNS = 32u;
const SLAB = 16u;
const DOWN = 16u;  // invocations along the positions of a tile
const ACROSS = 8u; // invocations along the columns of a tile
// Row lengths in vectors: one more than the tile's rows have, so that invocations that write to the same column use
// different memory banks.
const LEFT_PITCH = 17u;
const RIGHT_PITCH = 9u;

var<workgroup> left_tile: array<vec4f, 272>;  // (SLAB, LEFT_PITCH)
var<workgroup> right_tile: array<vec4f, 144>; // (SLAB, RIGHT_PITCH)

// Returns four positions, 16 apart, from `first` on. An invocation copies these positions, or computes their sums.
fn four_positions(first: u32) -> vec4u {
    return first + DOWN * vec4u(0u, 1u, 2u, 3u);
}

fn four_columns(first: u32) -> vec4u {
    return first + ACROSS * vec4u(0u, 1u, 2u, 3u);
}

// Adds step k of the slab to the sums: the product of each position's value and each column's value.
fn add_step(sums: mat4x4f, k: u32, local: u32) -> mat4x4f {
    let positions = left_tile[k * LEFT_PITCH + local % DOWN];
    let columns = right_tile[k * RIGHT_PITCH + local / DOWN];
    return sums + mat4x4f(positions * columns.x, positions * columns.y, positions * columns.z, positions * columns.w);
}

fn add_four_steps(before: mat4x4f, k: u32, local: u32) -> mat4x4f {
    var sums = before;
    sums = add_step(sums, k, local);
    sums = add_step(sums, k + 1u, local);
    sums = add_step(sums, k + 2u, local);
    sums = add_step(sums, k + 3u, local);
    return sums;
}

// Returns the sums of an invocation: 4 positions × 4 columns. A column of the matrix has the sums of one column of the
// tile.
fn multiply(local: u32, slabs: u32, begin: Cursor) -> mat4x4f {
    var cursor = begin;
    var sums = mat4x4f();
    var fetched = fetch(&cursor);
    for (var slab = 0u; slab < slabs; slab++) {
        put(local, fetched);
        workgroupBarrier();
        // This loads the next slab. After the last slab, the loaded values are not used.
        fetched = fetch(&cursor);
        sums = add_four_steps(sums, 0u, local);
        sums = add_four_steps(sums, 4u, local);
        sums = add_four_steps(sums, 8u, local);
        sums = add_four_steps(sums, 12u, local);
        workgroupBarrier();
    }
    return sums;
}
