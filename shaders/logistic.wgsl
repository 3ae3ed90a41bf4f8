// The logistic function 1 / (1 + e⁻ˣ). It is computed from e^−|x|, which never overflows.

fn logistic(x: f32) -> f32 {
    let e = exp(-abs(x));
    return select(e, 1.0, x >= 0.0) / (1.0 + e);
}
