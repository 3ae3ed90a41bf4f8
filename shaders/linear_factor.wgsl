// Describes matrices for linear_deep.wgsl and linear_blocks.wgsl, which follow this file.

// A factor of the product: `left` or `right`. A line is a row of `left` or a column of `right`. The element of line l
// at index k of the summed dimension (its depth) has the index l·line_step + k·depth_step.
struct Factor {
    lines: u32,
    line_step: u32,
    depth_step: u32,
}

struct Tile {
    row: u32,    // row of the tile's first output
    column: u32,
}
