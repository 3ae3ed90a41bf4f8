// Common code of the kernels for SwiftShader. This driver does not unroll loops, and it keeps an array in memory if a
// loop indexes it. A load costs as much as twenty products. Sums that exceed its 16 registers by too much cost double.
// So the kernels hold up to 112 sums in vectors and matrices, which are named variables.

// Offsets of four neighbors.
const FOUR = vec4u(0u, 1u, 2u, 3u);

// Element (column c, row r) is x[c]·y[r].
fn outer(x: vec4f, y: vec4f) -> mat4x4f {
    return mat4x4f(x.x * y, x.y * y, x.z * y, x.w * y);
}
