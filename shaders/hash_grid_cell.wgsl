// The cells of a multiresolution hash grid (Müller, Evans, Schied and Keller, 2022), for the shaders that follow this
// file:
//
//   position = x · N      in each dimension, x clamped to 0…1, N cells along an axis of the level
//   cell     = ⌊position⌋, at most N − 1;   fraction = position − cell, 0…1
//   entry    = x + (N + 1) · (y + (N + 1) · z)                          of a dense level's corner
//            = (x ⊕ 2654435761 · y ⊕ 805459861 · z) mod entries         of a hashed level's corner
//
// Positions are integers in units of 2⁻³¹ of a cell, fractions in units of 2⁻²⁴. So all devices round them equally.
// Coordinates of 2⁻⁷ and above are represented exactly. Smaller coordinates are truncated to multiples of 2⁻³¹.

@group(0) @binding(1) var<storage, read> x: array<f32>; // (rows, dimensions)

fn point(row: u32) -> vec3f {
    let first = row * dimensions;
    var at = vec3f(x[first], x[first + 1u], 0.0);
    if (dimensions == 3u) {
        at.z = x[first + 2u];
    }
    return at;
}

// The number 1 in the units of a fraction.
const ONE = 16777216u;

struct Cell {
    at: vec3u,       // lowest corner of the cell; in two dimensions, at.z is 0
    fraction: vec3u, // in units of 2⁻²⁴
}

// Returns cell and fraction of a coordinate from 0 to 1. The product of 32 bits and 16 bits is computed in two halves,
// because WGSL's integers have only 32 bits. A position has 47 bits, and `high` has the upper 32 bits.
fn place(x: f32, n: u32) -> vec2u {
    let fixed = u32(x * 2147483648.0);
    let low = (fixed & 0xffffu) * n;
    let high = (fixed >> 16u) * n + (low >> 16u);
    let cell = min(high >> 15u, n - 1u);
    return vec2u(cell, ((high - (cell << 15u)) << 9u) | ((low & 0xffffu) >> 7u));
}

fn cell_of(x: vec3f, n: u32) -> Cell {
    // The callers handle rows with a NaN. Here, a NaN coordinate becomes 0, so that the cell is valid.
    let inside = clamp(select(x, vec3f(), are_nan(x)), vec3f(), vec3f(1.0));
    let places = array(place(inside.x, n), place(inside.y, n), place(inside.z, n));
    return Cell(
        vec3u(places[0].x, places[1].x, places[2].x),
        vec3u(places[0].y, places[1].y, places[2].y),
    );
}

fn are_nan(x: vec3f) -> vec3<bool> {
    return vec3<bool>(is_nan(x.x), is_nan(x.y), is_nan(x.z));
}

// Returns the table entry of a corner. Bit d of `corner` is 1 if it is the upper corner along axis d.
fn entry_of(level: vec4u, cell: Cell, corner: u32) -> u32 {
    let at = cell.at + ((vec3u(corner) >> vec3u(0u, 1u, 2u)) & vec3u(1u));
    let side = level.y + 1u;
    let dense = at.x + side * (at.y + side * at.z);
    let hashed = (at.x ^ (at.y * 2654435761u) ^ (at.z * 805459861u)) & (level.z - 1u);
    return level.x + select(dense, hashed, level.w != 0u);
}
