//! Infinities, NaN, and the largest and smallest numbers. The GPU must give the same results as the CPU in `f32`.

use wgrad::ndarray::{Array2, ArrayView2};
use wgrad::ops::{Backward, Forward, Layer, Loss as _, LossPass, MeanSquaredError, Mode};
use wgrad::plumbing::Variant;
use wgrad::reference::{self, Float as _, Loss as _};

use crate::activations;
use crate::gpu::{Bench, FLUSHED, gpu};

pub(crate) const EXTREMES: [f32; 15] = [
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    3e38,
    -3e38,
    1e20,
    -1e20,
    1.0,
    -1.0,
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    1e-40,
    -1e-40,
    0.0,
    -0.0,
];

/// Returns whether arithmetic on this device keeps infinities and NaN. WGSL lets a compiler assume that there are none.
/// Metal's compiler does so, and browsers may.
fn keeps_what_is_not_finite() -> bool {
    gpu().info().backend == wgrad::wgpu::Backend::Vulkan
}

/// Returns whether two results are both NaN, the same infinity, or equal within WGSL's accuracies. A subnormal number
/// may become 0.
fn agree(found: f32, expected: f32) -> bool {
    match expected.is_finite() {
        true => {
            let apart = (f64::from(found) - f64::from(expected)).abs();
            apart <= 1e-5 * f64::from(expected).abs() + 2.0 * FLUSHED
        }
        false if expected.is_nan() => found.is_nan(),
        false => found.to_bits() == expected.to_bits(),
    }
}

pub(crate) fn assert_agrees(case: &str, found: f32, expected: f32) {
    assert!(
        agree(found, expected),
        "{case}: {found:e} on the GPU, {expected:e} on the CPU"
    );
}

fn all_agree(case: &str, found: &[f32], expected: &Array2<f32>, of: impl Fn(usize) -> String) {
    assert_eq!(found.len(), expected.len(), "{case}");
    for (at, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        if !expected.is_finite() && !keeps_what_is_not_finite() {
            continue;
        }
        assert_agrees(&format!("{case} of {}", of(at)), found, expected);
    }
}

/// Returns the values as a device that flushes subnormal numbers to 0 reads them.
fn flushed(values: &[f32]) -> Vec<f32> {
    let flush = |&value: &f32| {
        if value.is_subnormal() {
            0.0 * value
        } else {
            value
        }
    };
    values.iter().map(flush).collect()
}

/// Computes on the CPU the outputs of an activation, and the gradients with respect to its inputs.
fn on_the_cpu(layer: &dyn Layer, xs: &[f32], dys: &[f32]) -> [Array2<f32>; 2] {
    let twin = layer.reference();
    let [mut y, mut dx] = [(); 2].map(|()| Array2::zeros((1, xs.len())));
    let input = (row(xs), xs.len().into());
    let mode = reference::Mode::Evaluation;
    f32::of(&twin).forward(reference::Forward::new(input, &[], y.view_mut(), mode));
    let values = [y.view(), row(dys)];
    let dx_view = Some(dx.view_mut());
    f32::of(&twin).backward(reference::Backward::new(input, values, dx_view, mode));
    [y, dx]
}

fn row(values: &[f32]) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((1, values.len()), values).unwrap()
}

#[test]
fn activations_of_extremes_are_those_of_the_cpu() {
    for layer in activations::all() {
        let layer = &*layer;
        let name = layer.name();
        let pairs = EXTREMES.iter().flat_map(|&x| EXTREMES.map(|dy| (x, dy)));
        let (xs, dys): (Vec<f32>, Vec<f32>) = pairs.unzip();
        let shape = [1, xs.len()];
        let [y, mut dx] = on_the_cpu(layer, &xs, &dys);
        let bench = Bench::new(gpu());
        let x = bench.input("x", shape, &xs);
        let y_found = bench.output("y", shape);
        bench.run(&name, 1, |recorder| {
            let pass = Forward::new(&x, &[], &y_found, Mode::Evaluation);
            layer.forward(recorder, pass).unwrap();
        });
        let of = |at: usize| format!("{:e}", xs[at]);
        all_agree(&name, &bench.read(&y_found), &y, of);

        let bench = Bench::new(gpu());
        let x = bench.input("x", shape, &xs);
        let output = bench.input("output", shape, y.as_slice().unwrap());
        let dy = bench.input("dy", shape, &dys);
        let dx_found = bench.output("dx", shape);
        bench.run(&name, 1, |recorder| {
            let pass = Backward::new([&x, &output, &dy], Some(&dx_found), Mode::Evaluation);
            layer.backward(recorder, pass).unwrap();
        });
        let found = bench.read(&dx_found);
        // If a device flushes a subnormal input to 0, the derivative of a rectifier changes: the derivative at 0
        // differs from the derivative at a tiny positive number.
        let [_, dx_flushed] = on_the_cpu(layer, &flushed(&xs), &dys);
        for ((dx, flushed), &found) in dx.iter_mut().zip(dx_flushed).zip(&found) {
            if agree(found, flushed) {
                *dx = flushed;
            }
        }
        let of = |at: usize| format!("x {:e} and dy {:e}", xs[at], dys[at]);
        all_agree(&format!("{name} backward"), &found, &dx, of);
    }
}

/// A product that overflows is infinite, and NaN stays NaN, with and without a `Relu` after the layer.
#[test]
fn products_of_extremes_are_those_of_the_cpu() {
    let rows = EXTREMES.len();
    let ws = [2.0, 0.0, -0.5];
    let shape = [rows, ws.len()];
    for variant in Variant::OF_FLOATS {
        for relu in [false, true] {
            let case = format!("{variant:?}, relu {relu}");
            let bench = Bench::new(gpu());
            let x = bench.input("x", [rows, 1], &EXTREMES);
            let w = bench.input("w", [1, ws.len()], &ws);
            let b = bench.input("b", [1, ws.len()], &[0.0; 3]);
            let y = bench.output("y", shape);
            bench.run(&case, 1, |recorder| {
                if relu {
                    variant.forward_relu(recorder, &x, &[w, b], &y);
                } else {
                    variant.forward(recorder, &x, &[w, b], &y);
                }
            });
            let expected = Array2::from_shape_fn(shape, |(r, c)| {
                let y = 0.0 + EXTREMES[r] * ws[c];
                if relu && y <= 0.0 { 0.0 } else { y }
            });
            let of = |at: usize| format!("{:e} · {}", EXTREMES[at / 3], ws[at % 3]);
            all_agree(&case, &bench.read(&y), &expected, of);
        }
    }
}

/// The square of a number beyond 1.8e19 is infinite. A mean of large squares is finite if no sum overflows.
#[test]
fn squared_errors_of_extremes_are_those_of_the_cpu() {
    let outputs: Vec<f32> = EXTREMES.iter().flat_map(|&y| [y, 1e19]).collect();
    let shape = [EXTREMES.len(), 2];
    let targets = vec![0.5; outputs.len()];
    let bench = Bench::new(gpu());
    let y = bench.input("y", shape, &outputs);
    let t = bench.input("targets", shape, &targets);
    let losses = bench.output("losses", [1, shape[0]]);
    let dy = bench.output("dy", shape);
    bench.run("mean squared error", 1, |recorder| {
        let pass = LossPass::new([&y, &t], [&losses, &dy]);
        MeanSquaredError.forward_backward(recorder, pass).unwrap();
    });
    let losses = bench.read(&losses);
    let found = bench.read(&dy);
    for (at, pair) in outputs.chunks(2).enumerate() {
        let mut gradient = Array2::zeros((1, 2));
        let targets = reference::Targets::Values(row(&targets[..2]));
        let pass = reference::LossPass::new(row(pair), targets, gradient.view_mut());
        let expected = reference::MeanSquaredError.forward_backward(pass);
        if expected.is_finite() || keeps_what_is_not_finite() {
            assert_agrees(&format!("loss of {:e}", pair[0]), losses[at], expected);
        }
        let rows = shape[0] as f32;
        for (column, &gradient) in gradient.iter().enumerate() {
            if gradient.is_finite() || keeps_what_is_not_finite() {
                let case = format!("gradient by {:e}", pair[column]);
                assert_agrees(&case, found[2 * at + column], gradient / rows);
            }
        }
    }
}
