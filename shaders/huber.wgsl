// Huber loss over all outputs. The kernel is in loss_rows.wgsl.
//
//   d           = y[r,c] − t[r,c]
//   losses[r]   = Σ_c h(d) / outputs     with h(d) = d² / 2               where |d| ≤ delta
//                                                    delta · (|d| − delta / 2)  elsewhere
//   dy[r,c]     = scale · min(max(d, −delta), delta)      with scale = 1 / (rows · outputs)

struct Shape {
    rows: u32,
    outputs: u32,
    delta: f32,
    scale: f32,
}

fn term(y: f32, expected: f32) -> Term {
    return huber_term(y, expected, shape.delta);
}
