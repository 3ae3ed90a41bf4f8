//! The book's smoothing of curves.

/// Number of points in the window, and its shape parameter.
const WINDOW: usize = 11;
const BETA: f64 = 2.0;

/// Replaces each value by the mean of the 11 values around it, weighted by a Kaiser window with β = 2 (the book's
/// `smooth_curve`). The curve is mirrored at its ends.
pub(crate) fn smooth_curve(values: &[f32]) -> Vec<f64> {
    let window: Vec<f64> = (0..WINDOW).map(kaiser).collect();
    let sum: f64 = window.iter().sum();
    let around = |at: usize| {
        let weighted = window.iter().enumerate().map(|(index, weight)| {
            let value = values[mirrored(at + index, values.len())];
            weight * f64::from(value)
        });
        weighted.sum::<f64>() / sum
    };
    (0..values.len()).map(around).collect()
}

/// The window's weight, `I₀(β·√(1 − t²)) / I₀(β)`, with t from −1 to 1 across the window.
fn kaiser(index: usize) -> f64 {
    let t = 2.0 * index as f64 / (WINDOW - 1) as f64 - 1.0;
    bessel(BETA * (1.0 - t * t).sqrt()) / bessel(BETA)
}

/// The modified Bessel function of order 0, `I₀(x) = Σ_k ((x/2)ᵏ / k!)²`, for small x.
fn bessel(x: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for k in 1..30 {
        term *= (x / 2.0) / f64::from(k);
        sum += term * term;
    }
    sum
}

/// The index half a window before `at`, mirrored into 0 to `length − 1`.
fn mirrored(at: usize, length: usize) -> usize {
    let half = WINDOW / 2;
    let before = at.checked_sub(half).unwrap_or(half - at);
    let after = if before < length {
        before
    } else {
        2 * (length - 1) - before.min(2 * (length - 1))
    };
    after.min(length - 1)
}
