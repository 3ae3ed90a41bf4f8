// Common code of the kernels for the software driver SwiftShader. SwiftShader does not unroll loops, and it keeps an
// array in memory if a loop indexes the array. A load costs as much as twenty multiplications. There are 16 registers
// for vectors of four elements. A kernel takes twice the time if its sums exceed these registers by far. So the kernels
// keep up to 112 sums in vectors and matrices. Each vector or matrix is a variable with its own name.

// Offsets of four adjacent elements.
const FOUR = vec4u(0u, 1u, 2u, 3u);

// Returns the matrix whose element in column c and row r is x[c]·y[r].
fn outer(x: vec4f, y: vec4f) -> mat4x4f {
    return mat4x4f(x.x * y, x.y * y, x.z * y, x.w * y);
}
