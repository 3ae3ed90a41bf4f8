use wgrad::ops::{Backward, Layer, Relu, Sigmoid};

use crate::gpu::{Bench, FLUSHED, Fill, Numbers, ROUNDING, ULP, assert_close, gpu};

/// Around the workgroup of 64, primes, the book's hidden layer.
const SHAPES: [[usize; 2]; 12] = [
    [1, 1],
    [1, 2],
    [3, 7],
    [1, 63],
    [64, 1],
    [1, 65],
    [1, 127],
    [2, 64],
    [43, 3],
    [100, 50],
    [1, 997],
    [101, 53],
];

/// One element more than one dispatch dimension has invocations.
const FOLDED: [usize; 2] = [1, 65_535 * 64 + 1];

type Formula = fn(f64) -> f64;

/// `y` of a layer at `x`, with every element within its tolerance.
fn check_forward(
    layer: &dyn Layer,
    shape: [usize; 2],
    x: &[f32],
    formula: Formula,
    error: Formula,
) {
    let case = format!("{} forward {shape:?}", layer.name());
    let bench = Bench::new(gpu());
    let input = bench.input("x", shape, x);
    let y = bench.output("y", shape);
    bench.run(&case, 1, |recorder| {
        layer.forward(recorder, &input, &[], &y);
    });
    let expected = x.iter().map(|&x| formula(x.into()));
    let tolerance = x.iter().map(|&x| error(x.into()));
    assert_close(&case, &bench.read(&y), expected, tolerance);
}

/// `dx` of a layer for outputs `y` and their gradients `dy`.
fn check_backward(
    layer: &dyn Layer,
    shape: [usize; 2],
    [y, dy]: [&[f32]; 2],
    formula: fn(f64, f64) -> f64,
    error: fn(f64) -> f64,
) {
    let case = format!("{} backward {shape:?}", layer.name());
    let bench = Bench::new(gpu());
    // Both layers have their gradient from their output alone.
    let x = bench.input("x", shape, &vec![f32::NAN; y.len()]);
    let output = bench.input("y", shape, y);
    let gradient = bench.input("dy", shape, dy);
    let dx = bench.output("dx", shape);
    bench.run(&case, 1, |recorder| {
        let pass = Backward {
            x: &x,
            y: &output,
            dy: &gradient,
            parameters: &[],
            gradients: &[],
            dx: Some(&dx),
        };
        layer.backward(recorder, pass);
    });
    let expected = || {
        y.iter()
            .zip(dy)
            .map(|(&y, &dy)| formula(y.into(), dy.into()))
    };
    let tolerance = expected().map(error);
    assert_close(&case, &bench.read(&dx), expected(), tolerance);
}

fn exact(_: f64) -> f64 {
    0.0
}

fn relu(x: f64) -> f64 {
    if x > 0.0 { x } else { 0.0 }
}

fn relu_backward(y: f64, dy: f64) -> f64 {
    if y > 0.0 { dy } else { 0.0 }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn sigmoid_backward(y: f64, dy: f64) -> f64 {
    dy * (1.0 - y) * y
}

/// `e = exp(−|x|)` has 3 + 2|x| ULP; it is the numerator where x < 0, and a part of the denominator
/// `1 + e`, which is rounded. A division has 2.5 ULP.
fn sigmoid_error(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    let of_exp = (3.0 + 2.0 * x.abs()) * ULP;
    let numerator = if x < 0.0 { of_exp } else { 0.0 };
    let relative = numerator + of_exp * e / (1.0 + e) + ROUNDING + 2.5 * ULP;
    sigmoid(x) * relative + 2.0 * FLUSHED
}

/// Two products and a difference, each rounded.
fn sigmoid_backward_error(dx: f64) -> f64 {
    3.0 * ROUNDING * (1.0 + 1e-6) * dx.abs() + 2.0 * FLUSHED
}

fn len(shape: [usize; 2]) -> usize {
    shape[0] * shape[1]
}

#[test]
fn relu_is_exact() {
    for shape in SHAPES.into_iter().chain([FOLDED]) {
        let mut numbers = Numbers::new(len(shape) as u64);
        let x = numbers.fill(len(shape), Fill::Extreme);
        check_forward(&Relu, shape, &x, relu, exact);
        let y: Vec<f32> = x.iter().map(|x| x.max(0.0)).collect();
        let dy = numbers.fill(len(shape), Fill::Extreme);
        check_backward(&Relu, shape, [&y, &dy], relu_backward, exact);
    }
}

#[test]
fn relu_at_its_edge() {
    let x = [
        0.0,
        -0.0,
        f32::MIN_POSITIVE,
        -f32::MIN_POSITIVE,
        f32::MAX,
        f32::MIN,
    ];
    check_forward(&Relu, [2, 3], &x, relu, exact);
    let dy = [1.0, 2.0, 3.0, 4.0, f32::MIN, -6.0];
    check_backward(&Relu, [2, 3], [&x, &dy], relu_backward, exact);
}

#[test]
fn sigmoid_is_as_accurate_as_exp() {
    for shape in SHAPES.into_iter().chain([FOLDED]) {
        let mut numbers = Numbers::new(len(shape) as u64);
        let mut x = numbers.fill(len(shape), Fill::Moderate);
        x.iter_mut().step_by(3).for_each(|x| *x *= 20.0);
        check_forward(&Sigmoid, shape, &x, sigmoid, sigmoid_error);
        let y: Vec<f32> = numbers
            .fill(len(shape), Fill::Moderate)
            .iter()
            .map(|y| y.abs().min(1.0))
            .collect();
        let dy = numbers.fill(len(shape), Fill::Moderate);
        check_backward(
            &Sigmoid,
            shape,
            [&y, &dy],
            sigmoid_backward,
            sigmoid_backward_error,
        );
    }
}

#[test]
fn sigmoid_of_extremes_neither_overflows_nor_is_a_nan() {
    let x = [
        0.0,
        -0.0,
        88.0,
        -88.0,
        104.0,
        -104.0,
        1e5,
        -1e5,
        f32::MAX,
        f32::MIN,
        1e-30,
        -1e-30,
    ];
    check_forward(&Sigmoid, [3, 4], &x, sigmoid, |x| match x.abs() {
        // Of a number so large the bound of `exp` is itself too large to say anything.
        x if x > 200.0 => FLUSHED,
        _ => sigmoid_error(x),
    });
}
