use wgrad::ndarray::{Array2, ArrayView2, s};
use wgrad::ops::Huber;
use wgrad::reference::{self, Loss as _, LossPass, Targets};

use crate::extremes::{EXTREMES, assert_agrees};
use crate::gpu::{FLUSHED, Fill, Numbers, ROUNDING, ULP, assert_close, sum_error};
use crate::loss_of_values::{SHAPES, run};

const DELTAS: [f32; 4] = [1e-3, 0.5, 1.0, 30.0];

/// Computes by the definition, in `f64`, the mean loss of these rows and its gradient.
fn formula(delta: f32, y: ArrayView2<'_, f64>, t: ArrayView2<'_, f64>) -> (f64, Array2<f64>) {
    let mut dy = Array2::zeros(y.raw_dim());
    let huber = reference::Huber {
        delta: delta.into(),
    };
    let pass = LossPass::new(y, Targets::Values(t), dy.view_mut());
    let loss = huber.forward_backward(pass);
    (loss, dy)
}

fn check(delta: f32, shape: [usize; 2], [y, t]: [&[f32]; 2]) {
    let case = format!("huber {delta} {shape:?}");
    let [rows, columns] = shape;
    let [losses, dy] = run(&Huber::new(delta), shape, [y, t]);
    let of =
        |values: &[f32]| Array2::from_shape_fn(shape, |(r, c)| f64::from(values[r * columns + c]));
    let y = of(y);
    let t = of(t);
    let mut row_losses = Vec::new();
    let mut errors = Vec::new();
    for row in 0..rows {
        let [y, t] = [&y, &t].map(|all| all.slice(s![row..=row, ..]));
        let (loss, _) = formula(delta, y, t);
        row_losses.push(loss);
        // Quadratic part: the rounding of the difference counts twice, and two products are rounded. Linear part: δ·|d|
        // is at most twice the loss; |d|, the subtraction and the product are rounded. Near |d| = δ, both formulas
        // agree. A division has an error of 2.5 ULP.
        let absolute = loss * columns as f64;
        let of_sum = sum_error(columns, absolute) + 6.0 * ROUNDING * (1.0 + 1e-6) * absolute;
        errors.push(of_sum / columns as f64 + 2.5 * ULP * loss + 2.0 * FLUSHED);
    }
    assert_close(&case, &losses, row_losses, errors);
    // The scale, the difference and their product are rounded.
    let (_, gradient) = formula(delta, y.view(), t.view());
    let allowed = |dy: &f64| 3.0 * ROUNDING * (1.0 + 1e-6) * dy.abs() + 2.0 * FLUSHED;
    let tolerance: Vec<f64> = gradient.iter().map(allowed).collect();
    assert_close(&case, &dy, gradient, tolerance);
}

#[test]
fn huber_and_its_gradient_are_their_formulas() {
    for shape in SHAPES {
        for fill in [Fill::Integers, Fill::Moderate, Fill::Extreme] {
            let mut numbers = Numbers::new((shape[0] * 1_000 + shape[1]) as u64);
            let mut values = || numbers.fill(shape[0] * shape[1], fill);
            let y = values();
            let t = values();
            for delta in DELTAS {
                check(delta, shape, [&y, &t]);
            }
        }
    }
}

/// Tests the point |d| = δ, where the parabola ends, and points on both sides of it.
#[test]
fn huber_is_smooth_where_it_becomes_linear() {
    for delta in DELTAS {
        let around = [delta.next_down(), delta, delta.next_up(), 2.0 * delta];
        let y = [around, around.map(|y| -y)].concat();
        check(delta, [8, 1], [&y, &[0.0; 8]]);
        let [losses, dy] = run(&Huber::new(delta), [8, 1], [&y, &[0.0; 8]]);
        let squared = delta * delta / 2.0;
        for row in [0, 1, 2, 4, 5, 6] {
            assert!(
                (losses[row] - squared).abs() <= 1e-6 * squared,
                "{losses:?}"
            );
        }
        assert_eq!(dy[3], dy[1], "from there on the gradient is the same");
    }
}

/// As on the CPU, the loss is NaN if an output or a target is not finite, infinite if it overflows, and otherwise a
/// number.
#[test]
fn huber_of_extremes_is_that_of_the_cpu() {
    let pairs = EXTREMES.iter().flat_map(|&y| EXTREMES.map(|t| (y, t)));
    let (y, t): (Vec<f32>, Vec<f32>) = pairs.unzip();
    for delta in [1.0, 1e20] {
        let [losses, dy] = run(&Huber::new(delta), [y.len(), 1], [&y, &t]);
        for (row, (&y, &t)) in y.iter().zip(&t).enumerate() {
            let [outputs, targets] = [y, t].map(|value| Array2::from_elem((1, 1), value));
            let mut gradient = Array2::zeros((1, 1));
            let pass = Targets::Values(targets.view());
            let pass = LossPass::new(outputs.view(), pass, gradient.view_mut());
            let huber = reference::Huber {
                delta: delta.into(),
            };
            let expected: f32 = huber.forward_backward(pass);
            let case = format!("y {y:e}, target {t:e}, delta {delta:e}");
            assert_eq!(
                expected.is_nan(),
                !(y.is_finite() && t.is_finite()),
                "{case}"
            );
            assert_agrees(&case, losses[row], expected);
            if !expected.is_nan() {
                assert_agrees(&case, dy[row] * losses.len() as f32, gradient[[0, 0]]);
            }
        }
    }
}

/// A row that is not finite has a loss of NaN. Drivers may assume that there is no NaN, so the kernel must test the
/// bits.
#[test]
fn a_row_that_is_not_finite_has_a_nan_huber_loss_and_no_other() {
    let shape = [66, 4];
    for spoil in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN] {
        for at in 0..8 {
            let mut numbers = Numbers::new(5);
            let mut values = [(); 2].map(|()| numbers.fill(66 * 4, Fill::Moderate));
            let [sound, _] = run(&Huber::new(1.0), shape, [&values[0], &values[1]]);
            for row in [0, 33, 65] {
                values[at / 4][row * 4 + at % 4] = spoil;
            }
            let [spoilt, _] = run(&Huber::new(1.0), shape, [&values[0], &values[1]]);
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
