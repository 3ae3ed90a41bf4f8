//! Smooths curves by the book's method.

/// Number of points in the Kaiser window, and the window's shape parameter β.
const WINDOW: usize = 11;
const BETA: f64 = 2.0;

/// Replaces each value by a weighted mean of 11 values: the value, five before and five after it. The weights are a
/// Kaiser window with β = 2. The curve is mirrored at its ends. This is the book's `smooth_curve`.
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

/// Returns weight `index` of the Kaiser window: `I₀(β·√(1 − t²)) / I₀(β)`, with t from −1 to 1 across the window.
fn kaiser(index: usize) -> f64 {
    let t = 2.0 * index as f64 / (WINDOW - 1) as f64 - 1.0;
    bessel(BETA * (1.0 - t * t).sqrt()) / bessel(BETA)
}

/// Computes the modified Bessel function of order 0, `I₀(x) = Σ_k ((x/2)ᵏ / k!)²`, for small x.
fn bessel(x: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for k in 1..30 {
        term *= (x / 2.0) / f64::from(k);
        sum += term * term;
    }
    sum
}

/// Returns the index `at` − 5, half a window before `at`, mirrored at the ends into 0 to `length − 1`.
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
