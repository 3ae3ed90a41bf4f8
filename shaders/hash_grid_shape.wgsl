// The settings of all kernels of a multiresolution hash grid.

struct Shape {
    rows: u32,
    levels: u32,
    small: u32,    // the first levels, whose sums fit a workgroup's memory
    slots: u32,    // workgroups that look for the largest gradient
    columns: u32,  // levels · features
    numbers: u32,  // of the table: entries · features
    first: u32,    // first workgroup of this dispatch
    unused: u32,
    // Of each level: first entry, N, entries, and whether it is hashed.
    of_level: array<vec4u, 32>,
}

@group(0) @binding(0) var<uniform> shape: Shape;

override dimensions: u32; // 2 or 3
override features: u32;   // of a level: 1 to 8
