// The settings of all kernels of a multiresolution hash grid.

struct Shape {
    rows: u32,
    levels: u32,
    small: u32,    // the first levels, whose sums fit a workgroup's memory
    slots: u32,    // workgroups that look for the largest gradient
    low_bits: u32, // bits of a contribution that go to the low limb
    bits: u32,     // bits of the largest contribution
    entries: u32,  // of all levels
    first: u32,    // first workgroup of this dispatch
    // Of each level: first entry, N, entries, and whether it is hashed.
    of_level: array<vec4u, 32>,
}

@group(0) @binding(0) var<uniform> shape: Shape;

override dimensions: u32; // 2 or 3
override features: u32;   // of a level: 1 to 8
