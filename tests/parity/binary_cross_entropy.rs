use wgrad::ndarray::{Array2, ArrayView2, s};
use wgrad::ops::BinaryCrossEntropy;
use wgrad::reference::{self, Loss as _, LossPass, Targets};

use crate::extremes::{EXTREMES, assert_agrees};
use crate::gpu::{FLUSHED, Fill, Numbers, ROUNDING, ULP, assert_close, sum_error};
use crate::loss_of_values::{SHAPES, run};

/// Returns the errors of an element's loss, and of its gradient times the number of elements. `e = exp(−|z|)` has an
/// error of 3 + 2|z| ULP, `log` of a number between 1 and 2 an error of 2⁻²¹, and a division an error of 2.5 ULP. All
/// other operations are rounded.
fn bounds(z: f64, t: f64) -> [f64; 2] {
    let e = (-z.abs()).exp();
    let of_exp = (3.0 + 2.0 * z.abs()) * ULP;
    let log = e.ln_1p();
    let linear = z.max(0.0) - z * t;
    let of_log = e * of_exp + 2.0 * ROUNDING + 1.0 / f64::from(1 << 21);
    let of_loss = ROUNDING * (z * t).abs() + ROUNDING * linear + of_log + ROUNDING * (linear + log);
    let sigmoid = 1.0 / (1.0 + (-z).exp());
    let of_numerator = if z < 0.0 { of_exp } else { 0.0 };
    let of_sigmoid = of_numerator + e / (1.0 + e) * of_exp + ROUNDING + 2.5 * ULP;
    let of_gradient = sigmoid * of_sigmoid + 3.0 * ROUNDING * (sigmoid - t).abs();
    [of_loss + FLUSHED, of_gradient + FLUSHED]
}

/// Computes by the definition, in `f64`, the mean loss of these rows and its gradient.
fn formula(z: ArrayView2<'_, f64>, t: ArrayView2<'_, f64>) -> (f64, Array2<f64>) {
    let mut dz = Array2::zeros(z.raw_dim());
    let pass = LossPass::new(z, Targets::Values(t), dz.view_mut());
    let loss = reference::BinaryCrossEntropy.forward_backward(pass);
    (loss, dz)
}

fn check(shape: [usize; 2], [z, t]: [&[f32]; 2]) {
    const SECOND_ORDER: f64 = 1.001;
    let case = format!("binary cross-entropy {shape:?}");
    let [rows, columns] = shape;
    let [losses, dlogits] = run(&BinaryCrossEntropy, shape, [z, t]);
    let of =
        |values: &[f32]| Array2::from_shape_fn(shape, |(r, c)| f64::from(values[r * columns + c]));
    let z = of(z);
    let t = of(t);
    let mut row_losses = Vec::new();
    let mut errors = Vec::new();
    for row in 0..rows {
        let [z, t] = [&z, &t].map(|all| all.slice(s![row..=row, ..]));
        let (loss, _) = formula(z, t);
        row_losses.push(loss);
        let of_elements: f64 = z.iter().zip(t).map(|(&z, &t)| bounds(z, t)[0]).sum();
        let of_sum = of_elements + sum_error(columns, loss * columns as f64);
        errors.push(SECOND_ORDER * (of_sum / columns as f64 + 2.5 * ULP * loss) + FLUSHED);
    }
    assert_close(&case, &losses, row_losses, errors);
    let (_, gradient) = formula(z.view(), t.view());
    let all = gradient.len() as f64;
    let of_gradient = |(&z, &t)| SECOND_ORDER * bounds(z, t)[1] / all + 2.0 * FLUSHED;
    let tolerance: Vec<f64> = z.iter().zip(&t).map(of_gradient).collect();
    assert_close(&case, &dlogits, gradient, tolerance);
}

/// Returns targets between 0 and 1, including both ends.
fn targets(numbers: &mut Numbers, count: usize) -> Vec<f32> {
    let one = |numbers: &mut Numbers| match numbers.below(4) {
        0 => 0.0,
        1 => 1.0,
        2 => -0.0,
        _ => f32::midpoint(1.0, numbers.uniform()),
    };
    (0..count).map(|_| one(numbers)).collect()
}

#[test]
fn binary_cross_entropy_and_its_gradient_are_their_formulas() {
    for shape in SHAPES {
        for spread in [1.0, 30.0, 1e4] {
            let mut numbers = Numbers::new((shape[0] + 1000 * shape[1]) as u64);
            let mut logits = numbers.fill(shape[0] * shape[1], Fill::Moderate);
            logits.iter_mut().for_each(|logit| *logit *= spread);
            let targets = targets(&mut numbers, logits.len());
            assert!(targets.iter().all(|t| (0.0..=1.0).contains(t)));
            check(shape, [&logits, &targets]);
        }
    }
}

#[test]
fn binary_logits_of_any_finite_size_are_stable() {
    let extremes = [
        0.0, -0.0, 1e30, -1e30, 1e-30, 88.8, -104.0, 1e38, -1e38, 7.0, 16.0,
    ];
    let mut numbers = Numbers::new(4);
    let logits: Vec<f32> = (0..50 * 5).map(|_| extremes[numbers.below(11)]).collect();
    let targets = targets(&mut numbers, 250);
    check([50, 5], [&logits, &targets]);
}

/// The loss is NaN if the logit is not finite or the target is outside 0…1. Otherwise it is the CPU's result.
#[test]
fn binary_cross_entropy_of_extremes_is_that_of_the_cpu() {
    const TARGETS: [f32; 12] = [
        0.0,
        -0.0,
        f32::MIN_POSITIVE,
        0.5,
        1.0,
        1.000_000_1,
        2.0,
        -1e-20,
        -1.0,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
    ];
    let pairs = EXTREMES.iter().flat_map(|&z| TARGETS.map(|t| (z, t)));
    let (z, t): (Vec<f32>, Vec<f32>) = pairs.unzip();
    let [losses, dlogits] = run(&BinaryCrossEntropy, [z.len(), 1], [&z, &t]);
    for (row, (&z, &t)) in z.iter().zip(&t).enumerate() {
        let [logits, targets] = [z, t].map(|value| Array2::from_elem((1, 1), value));
        let mut gradient = Array2::zeros((1, 1));
        let pass = Targets::Values(targets.view());
        let pass = LossPass::new(logits.view(), pass, gradient.view_mut());
        let expected: f32 = reference::BinaryCrossEntropy.forward_backward(pass);
        let case = format!("logit {z:e}, target {t:e}");
        let is_sound = z.is_finite() && (0.0..=1.0).contains(&t);
        assert_eq!(expected.is_nan(), !is_sound, "{case}");
        assert_agrees(&case, losses[row], expected);
        if is_sound {
            let found = f64::from(dlogits[row]) * losses.len() as f64;
            let apart = (found - f64::from(gradient[[0, 0]])).abs();
            assert!(apart <= 4.0 * ROUNDING, "{case}: {found:e}");
        } else {
            assert!(dlogits[row].is_nan(), "{case}: {:e}", dlogits[row]);
        }
    }
}

/// A row with an infinite or NaN logit or target has a loss of NaN. Drivers may assume that there is no NaN, so the
/// kernel must test the bits.
#[test]
fn a_row_that_is_unsound_has_a_nan_binary_loss_and_no_other() {
    let shape = [66, 4];
    for spoil in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN] {
        for at in 0..8 {
            let mut numbers = Numbers::new(5);
            let logits = numbers.fill(66 * 4, Fill::Moderate);
            let mut values = [logits, targets(&mut numbers, 66 * 4)];
            let [sound, _] = run(&BinaryCrossEntropy, shape, [&values[0], &values[1]]);
            for row in [0, 33, 65] {
                values[at / 4][row * 4 + at % 4] = spoil;
            }
            let [spoilt, _] = run(&BinaryCrossEntropy, shape, [&values[0], &values[1]]);
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
