// The settings of all kernels of a multiresolution hash grid.

struct Shape {
    rows: u32,
    levels: u32,
    small: u32,    // number of levels, from the first one on, whose sums fit in workgroup memory
    slots: u32,    // number of workgroups that search for the largest |dy|
    columns: u32,  // outputs per row: levels · features
    numbers: u32,  // numbers in the table: entries · features
    first: u32,    // index of this dispatch's first workgroup
    unused: u32,
    // For each level: first entry, N (cells along an axis), number of entries, and 1 if the level is hashed.
    of_level: array<vec4u, 32>,
}

@group(0) @binding(0) var<uniform> shape: Shape;

override dimensions: u32; // 2 or 3
override features: u32;   // features per level: 1 to 8
