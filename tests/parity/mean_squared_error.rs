use wgrad::ndarray::{Array2, ArrayView2, ArrayViewMut2};
use wgrad::ops::MeanSquaredError;
use wgrad::reference::{self, Loss as _, LossPass, Targets};

use crate::gpu::{FLUSHED, Fill, Numbers, ROUNDING, ULP, assert_close, sum_error};
use crate::loss_of_values::{SHAPES, run};

fn formula(y: ArrayView2<'_, f64>, t: ArrayView2<'_, f64>, dy: ArrayViewMut2<'_, f64>) -> f64 {
    reference::MeanSquaredError.forward_backward(LossPass::new(y, Targets::Values(t), dy))
}

fn check(shape: [usize; 2], fill: Fill) {
    let case = format!("mean squared error {shape:?}, {fill:?}");
    let [rows, columns] = shape;
    let mut numbers = Numbers::new((rows * 1_000 + columns) as u64);
    let mut values = || numbers.fill(rows * columns, fill);
    let y = values();
    let t = values();
    let [losses, dy] = run(&MeanSquaredError, shape, [&y, &t]);

    let of =
        |values: &[f32]| Array2::from_shape_fn(shape, |(r, c)| f64::from(values[r * columns + c]));
    let y = of(&y);
    let t = of(&t);
    let mut gradient = Array2::zeros(shape);
    let mut row_losses = Vec::new();
    let mut errors = Vec::new();
    formula(y.view(), t.view(), gradient.view_mut());
    for row in 0..rows {
        let [y, t] = [&y, &t].map(|all| all.slice(wgrad::ndarray::s![row..=row, ..]));
        let mut unread = Array2::zeros((1, columns));
        let loss = formula(y, t, unread.view_mut());
        row_losses.push(loss);
        // The rounding of each difference counts twice in its square, which is also rounded. A division has an error of
        // 2.5 ULP.
        let absolute = loss * columns as f64;
        let of_sum = sum_error(columns, absolute) + 2.0 * ROUNDING * (1.0 + 1e-6) * absolute;
        errors.push(of_sum / columns as f64 + 2.5 * ULP * loss + FLUSHED);
    }
    assert_close(&case, &losses, row_losses, errors);
    // The scale, the difference and their product are rounded.
    let allowed = |dy: &f64| 3.0 * ROUNDING * (1.0 + 1e-6) * dy.abs() + 2.0 * FLUSHED;
    let tolerance: Vec<f64> = gradient.iter().map(allowed).collect();
    assert_close(&case, &dy, gradient, tolerance);
}

#[test]
fn mean_squared_error_and_its_gradient_are_their_formulas() {
    for shape in SHAPES {
        for fill in [Fill::Integers, Fill::Moderate, Fill::Extreme] {
            check(shape, fill);
        }
    }
}

/// The formula's gradient is its derivative: for a parabola, the central difference is exact.
#[test]
fn gradient_of_mean_squared_error_is_its_derivative() {
    let shape = [3, 4];
    let mut numbers = Numbers::new(2);
    let mut random = || Array2::from_shape_simple_fn(shape, || f64::from(numbers.uniform()));
    let mut y = random();
    let t = random();
    let mut dy = Array2::zeros(shape);
    let mut loss = |y: &Array2<f64>| {
        let value = formula(y.view(), t.view(), dy.view_mut());
        (value, dy.clone())
    };
    let (_, gradient) = loss(&y);
    for (at, &found) in gradient.indexed_iter() {
        let value = y[at];
        y[at] = value + 0.5;
        let above = loss(&y).0;
        y[at] = value - 0.5;
        let below = loss(&y).0;
        y[at] = value;
        assert!((found - (above - below)).abs() < 1e-14, "{at:?}");
    }
}
