// For the largest products: tiles of 128×128 outputs with 256 invocations. linear_blocks.wgsl and linear_8x8.wgsl
// precede this file. The slabs have 8 elements, because slabs of 16 would exceed 16 KiB, the workgroup memory that
// every browser grants.

const ROWS = 128u;
const COLUMNS = 128u;
const SLAB = 8u;

// The vectors that one invocation copies from each slab.
struct Shares {
    left: Share,
    right: Share,
}

struct Values {
    left: vec4f,
    right: vec4f,
}

fn shares_of(tile: Tile, a: Factor, b: Factor, local: u32) -> Shares {
    return Shares(left_share(a, tile, local), right_share(b, tile, local));
}

fn load(shares: Shares, slab: u32, depth: u32) -> Values {
    return Values(load_left(shares.left, slab, depth), load_right(shares.right, slab, depth));
}

fn put(shares: Shares, values: Values) {
    left_tile[shares.left.to] = values.left;
    right_tile[shares.right.to] = values.right;
}

fn add_slab(sums: Sums, place: Place) -> Sums {
    return add_eight_steps(sums, 0u, place);
}
