use wgrad::ops::{Backward, Forward, Gelu, Layer, LeakyRelu, Mode, Relu, Sigmoid, Tanh};

use crate::gpu::{
    self, Bench, FLUSHED, Fill, Numbers, ROUNDING, ULP, assert_close, folding_gpu, gpu,
};

/// Returns every activation, for tests that need no formula.
pub(crate) fn all() -> Vec<Box<dyn Layer>> {
    vec![
        Box::new(Relu),
        Box::new(LeakyRelu::new(0.2)),
        Box::new(LeakyRelu::new(0.0)),
        Box::new(Sigmoid),
        Box::new(Tanh),
        Box::new(Gelu),
    ]
}

/// Shapes with about 256 elements (the invocations of a workgroup) and about 1,024 elements (those that a workgroup
/// takes), with prime sizes, and the shape of the book's hidden layer.
const SHAPES: [[usize; 2]; 13] = [
    [1, 1],
    [1, 2],
    [3, 7],
    [1, 255],
    [256, 1],
    [1, 257],
    [3, 341],
    [32, 32],
    [1, 1025],
    [43, 3],
    [100, 50],
    [1, 997],
    [101, 53],
];

/// A shape for the device that folds dispatches into two dimensions.
const FOLDED: [usize; 2] = [1, gpu::FOLDED];

fn bench(shape: [usize; 2]) -> Bench<'static> {
    Bench::new(if shape == FOLDED {
        folding_gpu()
    } else {
        gpu()
    })
}

/// Checks that every element of a layer's `y` at `x` is within its tolerance.
fn check_forward(
    layer: &dyn Layer,
    shape: [usize; 2],
    x: &[f32],
    formula: impl Fn(f64) -> f64,
    error: impl Fn(f64) -> f64,
) {
    let case = format!("{} forward {shape:?}", layer.name());
    let bench = bench(shape);
    let input = bench.input("x", shape, x);
    let y = bench.output("y", shape);
    bench.run(&case, 1, |recorder| {
        let pass = Forward::new(&input, &[], &y, Mode::Evaluation);
        layer.forward(recorder, pass).unwrap();
    });
    let expected = x.iter().map(|&x| formula(x.into()));
    let tolerance = x.iter().map(|&x| error(x.into()));
    assert_close(&case, &bench.read(&y), expected, tolerance);
}

/// Which value a layer's backward pass reads: its input or its output. In these tests, the other one is NaN.
#[derive(Clone, Copy, PartialEq)]
enum From {
    Input,
    Output,
}

/// Checks `dx` of a layer whose derivative is computed from its output.
fn check_backward(
    layer: &dyn Layer,
    shape: [usize; 2],
    y_and_dy: [&[f32]; 2],
    formula: fn(f64, f64) -> f64,
    error: fn(f64) -> f64,
) {
    check_backward_from(From::Output, layer, shape, y_and_dy, formula, |_, _, dx| {
        error(dx)
    });
}

/// Checks `dx` of a layer. `values` is the layer's input or output. `error` returns the tolerance from the value, `dy`
/// and `dx`.
fn check_backward_from(
    from: From,
    layer: &dyn Layer,
    shape: [usize; 2],
    [values, dy]: [&[f32]; 2],
    formula: impl Fn(f64, f64) -> f64,
    error: impl Fn(f64, f64, f64) -> f64,
) {
    let case = format!("{} backward {shape:?}", layer.name());
    let bench = bench(shape);
    let unread = vec![f32::NAN; values.len()];
    let [x, y] = match from {
        From::Input => [values, &unread],
        From::Output => [&unread, values],
    };
    let x = bench.input("x", shape, x);
    let output = bench.input("y", shape, y);
    let gradient = bench.input("dy", shape, dy);
    let dx = bench.output("dx", shape);
    bench.run(&case, 1, |recorder| {
        let pass = Backward::new([&x, &output, &gradient], Some(&dx), Mode::Evaluation);
        layer.backward(recorder, pass).unwrap();
    });
    let pairs = || {
        values
            .iter()
            .zip(dy)
            .map(|(&value, &dy)| (value.into(), dy.into()))
    };
    let expected = pairs().map(|(value, dy)| formula(value, dy));
    let tolerance = pairs().map(|(value, dy)| error(value, dy, formula(value, dy)));
    assert_close(&case, &bench.read(&dx), expected, tolerance);
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

/// Returns the error of the sigmoid. `e = exp(−|x|)` has an error of 3 + 2|x| ULP. It is the numerator if x < 0, and
/// part of the denominator `1 + e`, which is rounded. A division has an error of 2.5 ULP.
fn sigmoid_error(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    let of_exp = (3.0 + 2.0 * x.abs()) * ULP;
    let numerator = if x < 0.0 { of_exp } else { 0.0 };
    let relative = numerator + of_exp * e / (1.0 + e) + ROUNDING + 2.5 * ULP;
    sigmoid(x) * relative + 2.0 * FLUSHED
}

/// Returns the error of `dx`: of two products and a difference, each of which is rounded.
fn sigmoid_backward_error(dx: f64) -> f64 {
    3.0 * ROUNDING * (1.0 + 1e-6) * dx.abs() + 2.0 * FLUSHED
}

fn leaky_relu(slope: f32, x: f64) -> f64 {
    if x > 0.0 { x } else { f64::from(slope) * x }
}

fn leaky_relu_backward(slope: f32, x: f64, dy: f64) -> f64 {
    if x > 0.0 { dy } else { f64::from(slope) * dy }
}

/// Returns the error of one rounded product. (For x > 0, the result is exact.)
fn leaky_relu_error(y: f64) -> f64 {
    ROUNDING * y.abs() + FLUSHED
}

/// Returns the error of `tanh x`.
///
/// For |x| < ½, it is a quotient (2.5 ULP) of two sums (one rounding each, and less than 0.25 ULP inside the sums),
/// times x (one rounding). This formula is a truncated continued fraction; the truncation adds less than 0.01 ULP.
///
/// For larger |x|, it is `(1 − e) / (1 + e)` with `e = exp(−2|x|)`: two rounded sums, a division, and the error of `e`,
/// which is 3 + 4|x| ULP, times `2e/(1 − e²)`.
pub(crate) fn tanh_error(x: f64) -> f64 {
    let ulps = if x.abs() < 0.5 {
        1.0 + 0.25 + 2.5 + 0.5 + 0.01
    } else {
        let e = (-2.0 * x.abs()).exp();
        1.0 + 2.5 + (3.0 + 4.0 * x.abs()) * 2.0 * e / (1.0 - e * e)
    };
    x.tanh().abs() * ulps * ULP * (1.0 + 1e-6) + 2.0 * FLUSHED
}

fn tanh_backward(y: f64, dy: f64) -> f64 {
    dy * (1.0 - y) * (1.0 + y)
}

/// Returns the error of `dx`: of two products, a sum and a difference, each of which is rounded.
fn tanh_backward_error(dx: f64) -> f64 {
    4.0 * ROUNDING * (1.0 + 1e-6) * dx.abs() + 2.0 * FLUSHED
}

/// Returns the distribution function of the standard normal distribution.
pub(crate) fn distribution(x: f64) -> f64 {
    0.5 * libm::erfc(-x / 2f64.sqrt())
}

pub(crate) fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt()
}

pub(crate) fn gelu(x: f64) -> f64 {
    x * distribution(x)
}

fn gelu_backward(x: f64, dy: f64) -> f64 {
    dy * (distribution(x) + x * density(x))
}

/// Returns the relative error of `exp(−x²/2)`: the 3 + x² ULP of the exponential, and the rounding of x².
pub(crate) fn gaussian_power_error(x: f64) -> f64 {
    (3.0 + x * x) * ULP + 0.5 * x * x * ROUNDING
}

/// Returns the error of Φ(x), which is computed from Φ(−|x|) = exp(−x²/2)·P(t) with a polynomial P.
///
/// `t = 1/(1 + 0.27|x|)` has an error of 4 ULP: a division with 2.5 ULP, and the roundings of 0.27, a product and a
/// sum. P multiplies this error by at most 3 (at t = 1). Coefficient k of P is rounded, and the sums and products round
/// it 2k more times; with the coefficients of P, these roundings are at most 9.6 ULP of P, again at t = 1. The fitted P
/// differs from the exact function by at most 0.25 ULP. The product with the exponential is rounded. For x > 0, a
/// rounded difference follows. If the exponential is flushed to 0, so is Φ(−|x|).
pub(crate) fn distribution_error(x: f64) -> f64 {
    if x < -15.0 {
        return 0.0;
    }
    let relative = gaussian_power_error(x) + (3.0 * 4.0 + 9.6 + 0.25 + 0.5) * ULP;
    let below = distribution(-x.abs()) * relative * (1.0 + 1e-4) + 2.0 * FLUSHED;
    below + if x > 0.0 { ROUNDING } else { 0.0 }
}

pub(crate) fn gelu_error(x: f64) -> f64 {
    x.abs() * distribution_error(x) + ROUNDING * gelu(x).abs() + FLUSHED
}

/// Returns the error of GELU's `dx`. The density has the errors of the exponential, of its rounded constant and of two
/// products. Then follow a sum and a product.
fn gelu_backward_error(x: f64, dy: f64, dx: f64) -> f64 {
    let product = x * density(x);
    let of_product = match x.abs() {
        x if x > 15.0 => 0.0,
        _ => {
            product.abs() * (gaussian_power_error(x) + 1.5 * ULP) * (1.0 + 1e-4)
                + 2.0 * (1.0 + x.abs()) * FLUSHED
        }
    };
    dy.abs() * (distribution_error(x) + of_product) + 2.1 * ROUNDING * dx.abs() + 2.0 * FLUSHED
}

/// Numbers around all special cases of the kernels.
const EXTREMES: [f32; 20] = [
    0.0,
    -0.0,
    0.5,
    -0.5,
    0.499_999_97,
    -0.499_999_97,
    1e-4,
    -1e-4,
    1e-30,
    -1e-30,
    10.0,
    -10.0,
    16.5,
    -16.5,
    104.0,
    -104.0,
    1e5,
    -1e20,
    f32::MAX,
    f32::MIN,
];

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
        // For such large numbers, the error bound of `exp` is too large to be useful.
        x if x > 200.0 => FLUSHED,
        _ => sigmoid_error(x),
    });
}

/// Tests slopes of both signs, the default slope, and zero.
#[test]
fn leaky_relu_is_exact_but_for_one_rounding() {
    for slope in [LeakyRelu::default().negative_slope(), 0.0, 1.5, -0.3] {
        let layer = LeakyRelu::new(slope);
        let forward = |x: f64| leaky_relu(slope, x);
        let backward = |x: f64, dy: f64| leaky_relu_backward(slope, x, dy);
        let error = |_: f64, _: f64, dx: f64| leaky_relu_error(dx);
        let check = |shape: [usize; 2], x: &[f32], dy: &[f32]| {
            check_forward(&layer, shape, x, forward, |x| leaky_relu_error(forward(x)));
            check_backward_from(From::Input, &layer, shape, [x, dy], backward, error);
        };
        for shape in SHAPES {
            let mut numbers = Numbers::new(len(shape) as u64);
            let [x, dy] = [0, 1].map(|_| numbers.fill(len(shape), Fill::Extreme));
            check(shape, &x, &dy);
        }
        // At 0, the gradient is multiplied by the slope.
        let small = [0.0, -0.0, 1e-30, -1e-30];
        check([2, 2], &small, &[1.0, 2.0, 3.0, -4.0]);
    }
    let mut numbers = Numbers::new(3);
    let x = numbers.fill(len(FOLDED), Fill::Moderate);
    let layer = LeakyRelu::new(0.2);
    check_forward(
        &layer,
        FOLDED,
        &x,
        |x| leaky_relu(0.2, x),
        |x| leaky_relu_error(leaky_relu(0.2, x)),
    );
    check_backward_from(
        From::Input,
        &layer,
        FOLDED,
        [&x, &x],
        |x, dy| leaky_relu_backward(0.2, x, dy),
        |_, _, dx| leaky_relu_error(dx),
    );
}

#[test]
fn leaky_relu_of_pytorch_has_a_slope_of_a_hundredth() {
    assert_eq!(LeakyRelu::default(), LeakyRelu::new(0.01));
}

#[test]
fn tanh_is_as_accurate_as_exp() {
    for shape in SHAPES.into_iter().chain([FOLDED]) {
        let mut numbers = Numbers::new(len(shape) as u64);
        let mut x = numbers.fill(len(shape), Fill::Moderate);
        x.iter_mut().step_by(3).for_each(|x| *x *= 12.0);
        x.iter_mut().skip(1).step_by(5).for_each(|x| *x *= 1e-3);
        check_forward(&Tanh, shape, &x, f64::tanh, tanh_error);
        let y: Vec<f32> = numbers
            .fill(len(shape), Fill::Moderate)
            .iter()
            .map(|y| y.clamp(-1.0, 1.0))
            .collect();
        let dy = numbers.fill(len(shape), Fill::Moderate);
        check_backward(&Tanh, shape, [&y, &dy], tanh_backward, tanh_backward_error);
    }
}

#[test]
fn tanh_of_extremes_neither_overflows_nor_is_a_nan() {
    check_forward(&Tanh, [4, 5], &EXTREMES, f64::tanh, tanh_error);
}

/// If `e = exp(−2|x|)` is below 2⁻²⁵, `1 − e` and `1 + e` round to 1, or to a neighbor of 1 on a device that does not
/// round to nearest. WGSL allows their quotient an error of 2.5 ULP. The sigmoid of a large number, 1/(1 + e), shows
/// how near to 1 such a quotient is on this device. From x = 9 on, tanh must be as near to 1, except for the rounding
/// of `1 − e`. (tanh 8 is less than 1 by four such roundings.)
#[test]
fn tanh_of_nine_and_more_is_one_but_for_a_rounding() {
    let y_of = |layer: &dyn Layer, x: &[f32]| {
        let bench = Bench::new(gpu());
        let input = bench.input("x", [1, x.len()], x);
        let y = bench.output("y", [1, x.len()]);
        bench.run("activation of large numbers", 1, |recorder| {
            let pass = Forward::new(&input, &[], &y, Mode::Evaluation);
            layer.forward(recorder, pass).unwrap();
        });
        bench.read(&y)
    };
    let quotient = (f64::from(y_of(&Sigmoid, &[30.0])[0]) - 1.0).abs();
    let x = [9.0, 10.0, 12.5, 16.0, 17.0, 100.0, 1e5, f32::MAX];
    let x: Vec<f32> = x.into_iter().flat_map(|x| [x, -x]).collect();
    let ones = x.iter().map(|x| f64::from(x.signum()));
    let tolerance = [ROUNDING + quotient].into_iter().cycle();
    assert_close("tanh of large numbers", &y_of(&Tanh, &x), ones, tolerance);
}

#[test]
fn gelu_is_as_accurate_as_exp() {
    for shape in SHAPES.into_iter().chain([FOLDED]) {
        let mut numbers = Numbers::new(len(shape) as u64);
        let mut x = numbers.fill(len(shape), Fill::Moderate);
        x.iter_mut().step_by(3).for_each(|x| *x *= 6.0);
        x.iter_mut().skip(1).step_by(5).for_each(|x| *x *= 20.0);
        check_forward(&Gelu, shape, &x, gelu, gelu_error);
        let dy = numbers.fill(len(shape), Fill::Moderate);
        check_backward_from(
            From::Input,
            &Gelu,
            shape,
            [&x, &dy],
            gelu_backward,
            gelu_backward_error,
        );
    }
}

#[test]
fn gelu_of_extremes_neither_overflows_nor_is_a_nan() {
    check_forward(&Gelu, [4, 5], &EXTREMES, gelu, gelu_error);
    let dy = [1.0; EXTREMES.len()];
    check_backward_from(
        From::Input,
        &Gelu,
        [4, 5],
        [&EXTREMES, &dy],
        gelu_backward,
        gelu_backward_error,
    );
}
