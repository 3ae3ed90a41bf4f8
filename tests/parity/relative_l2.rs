use wgrad::ndarray::{Array2, ArrayView2, s};
use wgrad::ops::RelativeL2;
use wgrad::reference::{self, Loss as _, LossPass, Targets};

use crate::extremes::{EXTREMES, assert_agrees};
use crate::gpu::{FLUSHED, Fill, Numbers, ROUNDING, ULP, assert_close, sum_error};
use crate::loss_of_values::{SHAPES, run};

const EPSILONS: [f32; 3] = [1e-3, 0.01, 2.0];

/// Computes by the definition, in `f64`, the mean loss of these rows and its gradient.
fn formula(epsilon: f32, y: ArrayView2<'_, f64>, t: ArrayView2<'_, f64>) -> (f64, Array2<f64>) {
    let mut dy = Array2::zeros(y.raw_dim());
    let relative = reference::RelativeL2 {
        epsilon: epsilon.into(),
    };
    let pass = LossPass::new(y, Targets::Values(t), dy.view_mut());
    let loss = relative.forward_backward(pass);
    (loss, dy)
}

/// The relative error of the quotient of an element. The rounding of the difference counts twice in its square, which
/// is also rounded. The denominator has a product and a sum of positive numbers. A division has an error of 2.5 ULP.
const QUOTIENT: f64 = (2.0 + 1.0 + 2.0) * ROUNDING + 2.5 * ULP;

fn check(epsilon: f32, shape: [usize; 2], [y, t]: [&[f32]; 2]) {
    let case = format!("relative l2, {epsilon} {shape:?}");
    let [rows, columns] = shape;
    let [losses, dy] = run(&RelativeL2::new(epsilon), shape, [y, t]);
    let of =
        |values: &[f32]| Array2::from_shape_fn(shape, |(r, c)| f64::from(values[r * columns + c]));
    let y = of(y);
    let t = of(t);
    // The square may be flushed to 0, in the numerator and in the denominator.
    let flushed = 4.0 * FLUSHED / f64::from(epsilon.min(1.0));
    let mut row_losses = Vec::new();
    let mut errors = Vec::new();
    for row in 0..rows {
        let [y, t] = [&y, &t].map(|all| all.slice(s![row..=row, ..]));
        let (loss, _) = formula(epsilon, y, t);
        row_losses.push(loss);
        let sum = loss * columns as f64;
        let of_sum = sum_error(columns, sum) + QUOTIENT * (1.0 + 1e-5) * sum;
        errors.push(of_sum / columns as f64 + (2.5 * ULP + flushed) * loss + flushed);
    }
    assert_close(&case, &losses, row_losses, errors);
    // The scale, the difference and their product are rounded; then follows the division by the denominator.
    let (_, gradient) = formula(epsilon, y.view(), t.view());
    let allowed =
        |dy: &f64| (5.0 * ROUNDING + 2.5 * ULP + flushed) * (1.0 + 1e-5) * dy.abs() + flushed;
    let tolerance: Vec<f64> = gradient.iter().map(allowed).collect();
    assert_close(&case, &dy, gradient, tolerance);
}

#[test]
fn relative_l2_and_its_gradient_are_their_formulas() {
    for shape in SHAPES {
        for fill in [Fill::Integers, Fill::Moderate, Fill::Extreme] {
            let mut numbers = Numbers::new((shape[0] * 1_000 + shape[1]) as u64);
            let mut values = || numbers.fill(shape[0] * shape[1], fill);
            let y = values();
            let t = values();
            for epsilon in EPSILONS {
                check(epsilon, shape, [&y, &t]);
            }
        }
    }
}

/// A relative error of 1 % gives the same loss for every output that is much larger than the square root of `epsilon`.
#[test]
fn relative_l2_counts_by_the_share_of_the_output() {
    let y = [1.0, 10.0, 1e3, 1e6, -1e9];
    let t = y.map(|y| 1.01 * y);
    check(1e-3, [5, 1], [&y, &t]);
    let [losses, _] = run(&RelativeL2::new(1e-3), [5, 1], [&y, &t]);
    for loss in losses {
        assert!((1e4 * loss - 1.0).abs() < 2e-3, "{loss}");
    }
}

/// As on the CPU, the loss is NaN if an output or a target is not finite, infinite if a square overflows, and otherwise
/// a number.
#[test]
fn relative_l2_of_extremes_is_that_of_the_cpu() {
    let pairs = EXTREMES.iter().flat_map(|&y| EXTREMES.map(|t| (y, t)));
    let (y, t): (Vec<f32>, Vec<f32>) = pairs.unzip();
    let [losses, dy] = run(&RelativeL2::default(), [y.len(), 1], [&y, &t]);
    for (row, (&y, &t)) in y.iter().zip(&t).enumerate() {
        let [outputs, targets] = [y, t].map(|value| Array2::from_elem((1, 1), value));
        let mut gradient = Array2::zeros((1, 1));
        let pass = Targets::Values(targets.view());
        let pass = LossPass::new(outputs.view(), pass, gradient.view_mut());
        let relative = reference::RelativeL2 {
            epsilon: f64::from(0.01f32),
        };
        let expected: f32 = relative.forward_backward(pass);
        let case = format!("y {y:e}, target {t:e}");
        let is_sound = y.is_finite() && t.is_finite();
        assert_eq!(expected.is_nan(), !is_sound, "{case}");
        assert_agrees(&case, losses[row], expected);
        if expected.is_finite() {
            // The gradient of the mean is divided by the number of rows; a GPU may flush it to 0.
            assert_agrees(&case, dy[row], gradient[[0, 0]] / losses.len() as f32);
        }
    }
}

/// A row that is not finite has a loss of NaN. Drivers may assume that there is no NaN, so the kernel must test the
/// bits.
#[test]
fn a_row_that_is_not_finite_has_a_nan_relative_l2_and_no_other() {
    let shape = [66, 4];
    let loss = RelativeL2::default();
    for spoil in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN] {
        for at in 0..8 {
            let mut numbers = Numbers::new(5);
            let mut values = [(); 2].map(|()| numbers.fill(66 * 4, Fill::Moderate));
            let [sound, _] = run(&loss, shape, [&values[0], &values[1]]);
            for row in [0, 33, 65] {
                values[at / 4][row * 4 + at % 4] = spoil;
            }
            let [spoilt, _] = run(&loss, shape, [&values[0], &values[1]]);
            for (row, (spoilt, sound)) in spoilt.iter().zip(&sound).enumerate() {
                if [0, 33, 65].contains(&row) {
                    assert!(spoilt.is_nan(), "row {row}, {spoil}: {spoilt}");
                } else {
                    assert_eq!(spoilt.to_bits(), sound.to_bits(), "row {row}, {spoil}");
                }
            }
        }
    }
}
