// Blocks of 8×4 outputs per invocation. linear_blocks.wgsl precedes this file.

const COLUMN_GROUPS = 1u;

// Row and column indices of an invocation's outputs: two groups of four rows by one group of four columns.
struct Block {
    rows: array<vec4u, 2>,
    columns: vec4u,
}

// Sums of a block. They are indexed only by constants, so that the driver keeps them in registers.
struct Sums {
    upper: mat4x4f,
    lower: mat4x4f,
}

fn block_of(tile: Tile, place: Place) -> Block {
    let row = tile.row + place.down;
    let column = tile.column + place.across;
    return Block(
        array<vec4u, 2>(four_from(row, ROW_FOURS), four_from(row + DOWN, ROW_FOURS)),
        four_from(column, COLUMN_FOURS),
    );
}

fn from_bias(block: Block) -> Sums {
    let four = bias_of(block.columns);
    let all = mat4x4f(four, four, four, four);
    return Sums(all, all);
}

fn add_step(sums: Sums, k: u32, place: Place) -> Sums {
    let upper = left_tile[k * LEFT_PITCH + place.down];
    let lower = left_tile[k * LEFT_PITCH + DOWN + place.down];
    let columns = right_tile[k * RIGHT_PITCH + place.across];
    return Sums(sums.upper + outer(upper, columns), sums.lower + outer(lower, columns));
}

fn masked(block: Block, sums: Sums) -> Sums {
    return Sums(
        masked_quarter(block.rows[0], block.columns, sums.upper),
        masked_quarter(block.rows[1], block.columns, sums.lower),
    );
}

fn store(block: Block, sums: Sums, a: Factor, b: Factor) {
    store_quarter(block.rows[0], block.columns, sums.upper, a, b);
    store_quarter(block.rows[1], block.columns, sums.lower, a, b);
}
