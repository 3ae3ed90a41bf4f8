// What kernels for SwiftShader have in common. That driver unrolls no loop and keeps no array in registers that a loop
// indexes; a load costs it as much as twenty products; and sums that leave its 16 registers too far behind cost double. So
// kernels have sums in vectors and matrices with names, some 64 to 112 of them.

// Four neighbours, from the first on.
const FOUR = vec4u(0u, 1u, 2u, 3u);

// Element (column c, row r) is x[c]·y[r].
fn outer(x: vec4f, y: vec4f) -> mat4x4f {
    return mat4x4f(x.x * y, x.y * y, x.z * y, x.w * y);
}
