// Relative L2 loss over all outputs. The kernel is in loss_rows.wgsl.
//
//   losses[r]   = Σ_c (y[r,c] − t[r,c])² / (y[r,c]² + epsilon) / outputs
//   dy[r,c]     = scale · (y[r,c] − t[r,c]) / (y[r,c]² + epsilon)      with scale = 2 / (rows · outputs)
//
// The gradient treats the denominator as a constant. If the square of a finite number is too large for f32, the loss is
// infinite.

struct Shape {
    rows: u32,
    outputs: u32,
    epsilon: f32,
    scale: f32,
}

fn term(y: f32, expected: f32) -> Term {
    return relative_term(y, expected, shape.epsilon);
}
