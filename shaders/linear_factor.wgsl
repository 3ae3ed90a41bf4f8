// How linear_deep.wgsl and linear_blocks.wgsl, behind this, have matrices.

// A factor of the product. Its line l (a row of `left`, a column of `right`) has the element at depth k
// at l·line_step + k·depth_step.
struct Factor {
    lines: u32,
    line_step: u32,
    depth_step: u32,
}

struct Tile {
    row: u32,    // of the first output
    column: u32,
}
