// How linear_deep.wgsl and linear_blocks.wgsl, which follow this file, index matrices.

// A factor of the product. In line l (a row of `left`, a column of `right`), the element at depth k has the index
// l·line_step + k·depth_step.
struct Factor {
    lines: u32,
    line_step: u32,
    depth_step: u32,
}

struct Tile {
    row: u32,    // of the first output
    column: u32,
}
