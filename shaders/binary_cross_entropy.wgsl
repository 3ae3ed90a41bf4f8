// Binary cross-entropy of sigmoid(y). The kernel is in loss_rows.wgsl. A valid target is from 0 to 1.
//
//   losses[r]   = Σ_c (max(y, 0) − y·t[r,c] + log(1 + e^−|y|)) / outputs,  y = y[r,c]   (no power of e overflows)
//   dy[r,c]     = scale · (1 / (1 + e^−y) − t[r,c])                       with scale = 1 / (rows · outputs)

struct Shape {
    rows: u32,
    outputs: u32,
    scale: f32,
}

fn term(y: f32, expected: f32) -> Term {
    return binary_term(y, expected);
}
