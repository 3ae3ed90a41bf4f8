// The products of a convolution for GPUs: tiles of 64 positions × 32 columns in workgroup memory. Behind this stands a file
// with the entry points, and with what a tile is loaded from: `Cursor`, `fetch`, `left_at` and `right_at`.
//
// A workgroup makes one tile of a product left·right. It walks along the summed dimension in slabs of 16, which its 256
// invocations copy to workgroup memory, while the next slab is already on its way from storage; each sums 4 positions ×
// 2 columns. What lies outside of an image is copied as 0, so that nothing is ever unfolded in storage.

@group(0) @binding(1) var<storage, read> left: array<f32>;          // x or dy
@group(0) @binding(2) var<storage, read> right: array<f32>;         // w or dy
@group(0) @binding(3) var<storage, read_write> product: array<f32>; // y, dx or parts

const POSITIONS = 64u;
const COLUMNS = 32u;
const SLAB = 16u;
const SIDE = 16u; // invocations along one side of a tile
// One more than a row of a tile has: invocations that write one column of it write to different banks.
const LEFT_STEP = 65u;
const RIGHT_STEP = 33u;

var<workgroup> left_tile: array<f32, 1040>; // (SLAB, LEFT_STEP)
var<workgroup> right_tile: array<f32, 528>; // (SLAB, RIGHT_STEP)

// What an invocation copies of a slab.
struct Fetched {
    left: vec4f,
    right: vec2f,
}

// Sums of positions c, c + 16, c + 32 and c + 48 in columns r and r + 16, by invocation 16·r + c.
alias Sums = array<vec4f, 2>;

fn multiply(local: u32, slabs: u32, begin: Cursor) -> Sums {
    var cursor = begin;
    var sums = Sums();
    var fetched = fetch(&cursor);
    let c = local % SIDE;
    let r = local / SIDE;
    for (var slab = 0u; slab < slabs; slab++) {
        for (var e = 0u; e < 4u; e++) {
            left_tile[left_at(local, e)] = fetched.left[e];
        }
        for (var e = 0u; e < 2u; e++) {
            right_tile[right_at(local, e)] = fetched.right[e];
        }
        workgroupBarrier();
        // Behind the last slab it fetches zeros, which nobody reads.
        fetched = fetch(&cursor);
        for (var k = 0u; k < SLAB; k++) {
            let at = k * LEFT_STEP + c;
            let of_left = vec4f(left_tile[at], left_tile[at + SIDE], left_tile[at + 2u * SIDE], left_tile[at + 3u * SIDE]);
            let of_right = k * RIGHT_STEP + r;
            sums[0] += of_left * right_tile[of_right];
            sums[1] += of_left * right_tile[of_right + SIDE];
        }
        workgroupBarrier();
    }
    return sums;
}
