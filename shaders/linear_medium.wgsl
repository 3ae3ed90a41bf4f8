// For large products that have too few tiles of 128×128 outputs to use the whole GPU: tiles of 64×64 outputs with 128
// invocations. linear_blocks.wgsl and linear_8x4.wgsl precede this file.

const ROWS = 64u;
const COLUMNS = 64u;
const SLAB = 16u;

// The vectors that one invocation copies from each slab.
struct Shares {
    left: array<Share, 2>,
    right: array<Share, 2>,
}

struct Values {
    left: array<vec4f, 2>,
    right: array<vec4f, 2>,
}

fn shares_of(tile: Tile, a: Factor, b: Factor, local: u32) -> Shares {
    return Shares(
        array<Share, 2>(
            left_share(a, tile, local),
            left_share(a, tile, local + INVOCATIONS),
        ),
        array<Share, 2>(right_share(b, tile, local), right_share(b, tile, local + INVOCATIONS)),
    );
}

fn load(shares: Shares, slab: u32, depth: u32) -> Values {
    return Values(
        array<vec4f, 2>(
            load_left(shares.left[0], slab, depth),
            load_left(shares.left[1], slab, depth),
        ),
        array<vec4f, 2>(
            load_right(shares.right[0], slab, depth),
            load_right(shares.right[1], slab, depth),
        ),
    );
}

fn put(shares: Shares, values: Values) {
    left_tile[shares.left[0].to] = values.left[0];
    left_tile[shares.left[1].to] = values.left[1];
    right_tile[shares.right[0].to] = values.right[0];
    right_tile[shares.right[1].to] = values.right[1];
}

// The loop has two iterations instead of 16 unrolled steps. So the code is half as long, and a GPU has to fetch fewer
// instructions after it has run other kernels.
fn add_slab(sums: Sums, place: Place) -> Sums {
    var all = sums;
    for (var k = 0u; k < SLAB; k += 8u) {
        all = add_eight_steps(all, k, place);
    }
    return all;
}
