// Blocks of 8×8 outputs per invocation. linear_blocks.wgsl precedes this file.

const COLUMN_GROUPS = 2u;

// Row and column indices of an invocation's outputs: two groups of four rows by two groups of four columns.
struct Block {
    rows: array<vec4u, 2>,
    columns: array<vec4u, 2>,
}

// Sums of a block. They are indexed only by constants, so that the driver keeps them in registers.
struct Sums {
    upper_left: mat4x4f,
    upper_right: mat4x4f,
    lower_left: mat4x4f,
    lower_right: mat4x4f,
}

fn block_of(tile: Tile, place: Place) -> Block {
    let row = tile.row + place.down;
    let column = tile.column + place.across;
    return Block(
        array<vec4u, 2>(four_from(row, ROW_FOURS), four_from(row + DOWN, ROW_FOURS)),
        array<vec4u, 2>(four_from(column, COLUMN_FOURS), four_from(column + ACROSS, COLUMN_FOURS)),
    );
}

fn from_bias(block: Block) -> Sums {
    let near = bias_of(block.columns[0]);
    let far = bias_of(block.columns[1]);
    let left = mat4x4f(near, near, near, near);
    let right = mat4x4f(far, far, far, far);
    return Sums(left, right, left, right);
}

fn add_step(sums: Sums, k: u32, place: Place) -> Sums {
    let upper = left_tile[k * LEFT_PITCH + place.down];
    let lower = left_tile[k * LEFT_PITCH + DOWN + place.down];
    let near = right_tile[k * RIGHT_PITCH + place.across];
    let far = right_tile[k * RIGHT_PITCH + ACROSS + place.across];
    return Sums(
        sums.upper_left + outer(upper, near),
        sums.upper_right + outer(upper, far),
        sums.lower_left + outer(lower, near),
        sums.lower_right + outer(lower, far),
    );
}

fn masked(block: Block, sums: Sums) -> Sums {
    return Sums(
        masked_quarter(block.rows[0], block.columns[0], sums.upper_left),
        masked_quarter(block.rows[0], block.columns[1], sums.upper_right),
        masked_quarter(block.rows[1], block.columns[0], sums.lower_left),
        masked_quarter(block.rows[1], block.columns[1], sums.lower_right),
    );
}

fn store(block: Block, sums: Sums, a: Factor, b: Factor) {
    store_quarter(block.rows[0], block.columns[0], sums.upper_left, a, b);
    store_quarter(block.rows[0], block.columns[1], sums.upper_right, a, b);
    store_quarter(block.rows[1], block.columns[0], sums.lower_left, a, b);
    store_quarter(block.rows[1], block.columns[1], sums.lower_right, a, b);
}
