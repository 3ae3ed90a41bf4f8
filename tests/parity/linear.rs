use std::collections::BTreeSet;

use wgrad::Gpu;
use wgrad::kernel::Element;
use wgrad::ndarray::{Array2, ArrayView2};
use wgrad::ops::{Backward, Mode};
use wgrad::plan::Recorder;
use wgrad::plumbing::Variant;
use wgrad::reference::{self, Layer as _};
use wgrad::tensor::Tensor;

use crate::gpu::{
    Bench, Fill, Numbers, assert_close, dispatching, folding_after, folding_gpu, gpu, longest,
    sum_error,
};

/// Returns the block sizes of this layer's shaders, which it reads from their WGSL constants.
fn block_sizes() -> Vec<usize> {
    let contracts = wgrad::plumbing::contracts();
    let linear = contracts
        .iter()
        .filter(|contract| contract.shader.starts_with("linear"));
    let sizes: BTreeSet<usize> = linear
        .flat_map(|contract| contract.source.lines().filter_map(constant))
        .collect();
    assert!(sizes.len() >= 3, "the constants of the shaders: {sizes:?}");
    sizes.into_iter().filter(|&size| size <= 128).collect()
}

/// Parses the value of a WGSL constant from a line such as `const NAME = 32u;`.
fn constant(line: &str) -> Option<usize> {
    let (_, value) = line.strip_prefix("const ")?.split_once(" = ")?;
    value.split_once("u;")?.0.parse().ok()
}

/// Returns sizes around every block size, and prime sizes.
fn edges() -> Vec<usize> {
    let around = block_sizes().into_iter().flat_map(|size| {
        [size - 1, size, size + 1]
            .into_iter()
            .filter(|&edge| edge > 0)
    });
    let edges: BTreeSet<usize> = around.chain([1, 2, 3, 7, 13, 37, 53]).collect();
    edges.into_iter().collect()
}

/// Returns shapes: (rows, inputs, outputs).
fn shapes() -> Vec<[usize; 3]> {
    let mut shapes = vec![
        [1, 1, 1],
        [100, 784, 50],
        [100, 50, 10],
        [1, 784, 50],
        [2, 3, 65],
        [65, 2, 129],
        // The sums over 257 rows, inputs or outputs take several slabs.
        [257, 5, 3],
        [3, 257, 5],
        [5, 3, 257],
        // The number of blocks is just below, equal to and just above a multiple of the blocks that one workgroup
        // takes.
        [161, 5, 17],
        [160, 5, 17],
        [159, 5, 18],
        [61, 160, 52],
        [20, 161, 17],
    ];
    let edges = edges();
    for &edge in &edges {
        shapes.extend([[edge, 7, 13], [13, edge, 7], [7, 13, edge], [edge; 3]]);
    }
    let mut numbers = Numbers::new(1);
    // Browsers run on SwiftShader here, which takes seconds to compile a kernel for one more shape.
    let random = if cfg!(target_arch = "wasm32") { 4 } else { 24 };
    for _ in 0..random {
        shapes.push([(); 3].map(|()| edges[numbers.below(edges.len())]));
    }
    shapes
}

struct Case {
    name: String,
    rows: usize,
    inputs: usize,
    outputs: usize,
    fill: Fill,
    x: Vec<f32>,
    /// `x` as bytes, for the kernel variant that reads bytes. `None` if `x` has floats.
    bytes: Option<Vec<u8>>,
    w: Vec<f32>,
    b: Vec<f32>,
    dy: Vec<f32>,
}

impl Case {
    fn new(shape: [usize; 3], fill: Fill) -> Self {
        let [rows, inputs, outputs] = shape;
        let mut numbers = Numbers::new((rows * 1_000_003 + inputs * 1009 + outputs) as u64);
        Self {
            name: format!("{rows} rows, {inputs} -> {outputs}, {fill:?}"),
            rows,
            inputs,
            outputs,
            fill,
            x: numbers.fill(rows * inputs, fill),
            bytes: None,
            w: numbers.fill(inputs * outputs, fill),
            b: numbers.fill(outputs, fill),
            dy: numbers.fill(rows * outputs, fill),
        }
    }

    /// Creates a case with random bytes for `x`. Many of them are 0 or 255.
    fn of_bytes(shape: [usize; 3], fill: Fill) -> Self {
        let mut numbers = Numbers::new((shape[0] + 7 * shape[1]) as u64);
        let byte = |_| match numbers.below(4) {
            0 => 0,
            1 => 255,
            _ => numbers.bits().to_le_bytes()[0],
        };
        let bytes = (0..shape[0] * shape[1]).map(byte).collect();
        Self {
            bytes: Some(bytes),
            ..Self::new(shape, fill)
        }
    }

    fn x(&self) -> Array2<f64> {
        let shape = [self.rows, self.inputs];
        match &self.bytes {
            None => matrix(shape, &self.x),
            Some(bytes) => {
                let values = bytes.iter().map(|&byte| f64::from(byte) / 255.0).collect();
                Array2::from_shape_vec(shape, values).unwrap()
            }
        }
    }

    fn upload_x(&self, bench: &Bench<'_>) -> Tensor {
        let Some(bytes) = &self.bytes else {
            return bench.input("x", [self.rows, self.inputs], &self.x);
        };
        let words: Vec<u32> = bytes.chunks(self.inputs).flat_map(packed).collect();
        bench.input_u32("x", [self.rows, self.inputs.div_ceil(4)], &words)
    }

    fn dy(&self) -> Array2<f64> {
        matrix([self.rows, self.outputs], &self.dy)
    }

    fn parameters(&self) -> [Array2<f64>; 2] {
        let w = matrix([self.inputs, self.outputs], &self.w);
        [w, matrix([1, self.outputs], &self.b)]
    }

    /// Compares a result with the expected one. With integers, it must be exact. With other numbers, it must be within
    /// the error bound of a sum of `terms` products.
    fn compare(&self, what: &str, found: &[f32], all: &Expected, terms: usize) {
        let case = format!("{what}: {}", self.name);
        let tolerance = all.absolute.iter().map(|&absolute| {
            if self.fill == Fill::Integers && self.bytes.is_none() {
                0.0
            } else {
                sum_error(terms, absolute)
            }
        });
        assert_close(&case, found, all.value.iter().copied(), tolerance);
    }
}

/// Packs four bytes per word, the lowest first. The rest of the last word is 0.
fn packed(row: &[u8]) -> impl Iterator<Item = u32> {
    row.chunks(4).map(|four| {
        let mut bytes = [0; 4];
        bytes[..four.len()].copy_from_slice(four);
        u32::from_le_bytes(bytes)
    })
}

fn matrix(shape: [usize; 2], values: &[f32]) -> Array2<f64> {
    let values = values.iter().map(|&value| value.into()).collect();
    Array2::from_shape_vec(shape, values).unwrap()
}

/// An expected result, and the same result computed from absolute values (for the error bound).
struct Expected {
    value: Array2<f64>,
    absolute: Array2<f64>,
}

impl Expected {
    /// Sets the elements to 0 where `by` is not positive.
    fn masked(&self, by: &Array2<f64>) -> Self {
        let masked = |values: &Array2<f64>| {
            let mut values = values.clone();
            values.zip_mut_with(by, |value, &by| {
                *value = if by > 0.0 { *value } else { 0.0 }
            });
            values
        };
        Self {
            value: masked(&self.value),
            absolute: masked(&self.absolute),
        }
    }
}

fn forward(x: ArrayView2<'_, f64>, parameters: &[Array2<f64>]) -> Array2<f64> {
    let mut y = Array2::zeros((x.nrows(), parameters[0].ncols()));
    let input = (x, x.ncols().into());
    let mode = reference::Mode::Evaluation;
    let pass = reference::Forward::new(input, parameters, y.view_mut(), mode);
    reference::Linear.forward(pass);
    y
}

/// Computes `dx`, `dw` and `db`.
fn backward(x: &Array2<f64>, dy: &Array2<f64>, parameters: &[Array2<f64>]) -> [Array2<f64>; 3] {
    let unread = Array2::zeros(dy.raw_dim());
    let mut dx = Array2::zeros(x.raw_dim());
    let mut gradients = [0, 1].map(|index: usize| Array2::zeros(parameters[index].raw_dim()));
    let input = (x.view(), x.ncols().into());
    let mode = reference::Mode::Evaluation;
    let values = [unread.view(), dy.view()];
    let pass = reference::Backward::new(input, values, Some(dx.view_mut()), mode);
    reference::Linear.backward(pass.with_parameters(parameters, &mut gradients));
    let [dw, db] = gradients;
    [dx, dw, db]
}

fn check_forward(gpu: &Gpu, variant: Variant, case: &Case) {
    let &Case {
        rows,
        inputs,
        outputs,
        ..
    } = case;
    let bench = Bench::new(gpu);
    let x = case.upload_x(&bench);
    let w = bench.input("w", [inputs, outputs], &case.w);
    let b = bench.input("b", [1, outputs], &case.b);
    let y = bench.output("y", [rows, outputs]);
    let of_relu = bench.output("y of a ReLU", [rows, outputs]);
    let name = format!("{variant:?} forward: {}", case.name);
    bench.run(&name, 1, |recorder| {
        let parameters = [w, b];
        variant.forward(recorder, &x, &parameters, &y);
        variant.forward_relu(recorder, &x, &parameters, &of_relu);
    });
    let parameters = case.parameters();
    let absolute = parameters.each_ref().map(|p| p.mapv(f64::abs));
    let expected = Expected {
        value: forward(case.x().view(), &parameters),
        absolute: forward(case.x().mapv(f64::abs).view(), &absolute),
    };
    let found = bench.read(&y);
    case.compare(&format!("{variant:?} y"), &found, &expected, inputs + 2);
    let relu = found.into_iter().map(|y| if y <= 0.0 { 0.0 } else { y });
    let of_relu = bench.read(&of_relu).into_iter().map(f32::to_bits);
    assert!(relu.map(f32::to_bits).eq(of_relu), "{name}, with a ReLU");
}

fn check_backward(gpu: &Gpu, variant: Variant, case: &Case, with_dx: bool) {
    let &Case {
        rows,
        inputs,
        outputs,
        ..
    } = case;
    let bench = Bench::new(gpu);
    let x = case.upload_x(&bench);
    let w = bench.input("w", [inputs, outputs], &case.w);
    let b = bench.input("b", [1, outputs], &case.b);
    let y = bench.input("y", [rows, outputs], &vec![f32::NAN; rows * outputs]);
    let dy = bench.input("dy", [rows, outputs], &case.dy);
    let gradients = [
        bench.output("dw", [inputs, outputs]),
        bench.output("db", [1, outputs]),
    ];
    let dx =
        with_dx.then(|| ["dx", "dx of a ReLU"].map(|label| bench.output(label, [rows, inputs])));
    let without_bias = [bench.output("dw without a bias", [inputs, outputs])];
    let name = format!("{variant:?} backward: {}", case.name);
    bench.run(&name, 1, |recorder| {
        let parameters = [w, b];
        let pass = |dx| Backward::new([&x, &y, &dy], dx, Mode::Evaluation);
        let of_all = pass(dx.as_ref().map(|[dx, _]| dx)).with_parameters(&parameters, &gradients);
        variant.backward(recorder, of_all);
        let of_relu = pass(dx.as_ref().map(|[_, of_relu]| of_relu));
        variant.backward_relu(
            recorder,
            of_relu.with_parameters(&parameters[..1], &without_bias),
        );
    });
    let parameters = case.parameters();
    let absolute = parameters.each_ref().map(|p| p.mapv(f64::abs));
    let [dx_value, dw_value, db_value] = backward(&case.x(), &case.dy(), &parameters);
    let [dx_absolute, dw_absolute, db_absolute] = backward(
        &case.x().mapv(f64::abs),
        &case.dy().mapv(f64::abs),
        &absolute,
    );
    let expected = |value, absolute| Expected { value, absolute };
    let compare = |what: &str, tensor, expected: &Expected, terms| {
        let what = format!("{variant:?} {what}");
        case.compare(&what, &bench.read(tensor), expected, terms);
    };
    let dw = expected(dw_value, dw_absolute);
    compare("dw", &gradients[0], &dw, rows + 1);
    compare("dw without a bias", &without_bias[0], &dw, rows + 1);
    compare("db", &gradients[1], &expected(db_value, db_absolute), rows);
    if let Some([dx, of_relu]) = &dx {
        let expected = expected(dx_value, dx_absolute);
        compare("dx", dx, &expected, outputs);
        let masked = expected.masked(&case.x());
        compare("dx of a ReLU", of_relu, &masked, outputs);
    }
}

fn check_all_forward(variant: Variant) {
    for (index, shape) in shapes().into_iter().enumerate() {
        for &fill in Fill::of_shape(index) {
            check_forward(gpu(), variant, &Case::new(shape, fill));
        }
    }
}

fn check_all_backward(variant: Variant) {
    for (index, shape) in shapes().into_iter().enumerate() {
        for (fill_index, &fill) in Fill::of_shape(index).iter().enumerate() {
            let with_dx = (index + fill_index) % 4 != 0;
            check_backward(gpu(), variant, &Case::new(shape, fill), with_dx);
        }
    }
}

#[test]
fn forward_in_tiles_is_the_formula() {
    check_all_forward(Variant::Tiles);
}

#[test]
fn forward_in_registers_is_the_formula() {
    check_all_forward(Variant::Registers);
}

#[test]
fn forward_in_vectors_is_the_formula() {
    check_all_forward(Variant::Vectors);
}

#[test]
fn forward_in_parts_is_the_formula() {
    check_all_forward(Variant::Deep);
}

#[test]
fn forward_in_medium_tiles_is_the_formula() {
    check_all_forward(Variant::Medium);
}

#[test]
fn forward_in_large_tiles_is_the_formula() {
    check_all_forward(Variant::Large);
}

#[test]
fn backward_in_tiles_is_the_formula() {
    check_all_backward(Variant::Tiles);
}

#[test]
fn backward_in_parts_is_the_formula() {
    check_all_backward(Variant::Deep);
}

#[test]
fn backward_in_medium_tiles_is_the_formula() {
    check_all_backward(Variant::Medium);
}

#[test]
fn backward_in_large_tiles_is_the_formula() {
    check_all_backward(Variant::Large);
}

#[test]
fn backward_in_registers_is_the_formula() {
    check_all_backward(Variant::Registers);
}

#[test]
fn backward_in_vectors_is_the_formula() {
    check_all_backward(Variant::Vectors);
}

/// With bytes, there is one more rounding than with floats: either the sums or the bytes are divided by 255.
#[test]
fn products_of_bytes_are_the_formula() {
    for (index, shape) in shapes().into_iter().enumerate() {
        for &fill in Fill::of_shape(index) {
            let case = Case::of_bytes(shape, fill);
            for variant in Variant::OF_BYTES {
                check_forward(gpu(), variant, &case);
                check_backward(gpu(), variant, &case, false);
            }
        }
    }
}

/// Each dispatch has seven workgroups, so [`folding_gpu`] folds it, except in a browser.
#[test]
fn a_long_batch_is_folded_into_two_dimensions() {
    for (variant, rows) in [
        (Variant::Tiles, 32),
        (Variant::Deep, 8),
        (Variant::Medium, 64),
        (Variant::Large, 128),
        (Variant::Registers, 8 * 20),
        (Variant::Vectors, 8 * 8),
    ] {
        let rows = 6 * rows + 1;
        let mut numbers = Numbers::new(2);
        let values = numbers.fill(rows, Fill::Integers);
        let bench = Bench::new(folding_gpu());
        let x = bench.input("x", [rows, 1], &values);
        let parameters = [
            bench.input("w", [1, 1], &[3.0]),
            bench.input("b", [1, 1], &[-2.0]),
        ];
        let y = bench.output("y", [rows, 1]);
        let case = format!("{variant:?}, {rows} rows");
        bench.run(&case, 1, |recorder| {
            variant.forward(recorder, &x, &parameters, &y);
        });
        let expected = values.iter().map(|&x| f64::from(x) * 3.0 - 2.0);
        assert_close(&case, &bench.read(&y), expected, std::iter::repeat(0.0));
    }
}

/// The sums of `Registers` and `Vectors`, which software drivers run, are as long as loops on these drivers may be. The
/// test detects a loop that ends early. The other variants run on hardware, which has no such limit.
#[test]
fn the_longest_sums_are_whole() {
    for (variant, depth) in [
        (Variant::Tiles, 5_416),
        (Variant::Deep, 259_920),
        (Variant::Medium, 32_487),
        (Variant::Large, 64_991),
        (Variant::Registers, 65_000),
        (Variant::Vectors, 65_000),
    ] {
        let depth = longest(depth);
        check_forward(gpu(), variant, &Case::new([1, depth, 1], Fill::Integers));
    }
}

#[test]
fn a_wide_bias_is_folded_into_two_dimensions() {
    // A browser folds only dispatches with more than 65,535 workgroups.
    let outputs = if cfg!(target_arch = "wasm32") {
        65_535 * 64 + 1
    } else {
        6 * 64 + 1
    };
    let x_values = [3.0, -2.0];
    let ones = vec![1.0; outputs];
    let dy_values = Numbers::new(3).fill(2 * outputs, Fill::Integers);
    // The gradient with respect to the bias has a dispatch of its own, with 49 workgroups.
    let gpu = folding_after(20);
    let bench = Bench::new(&gpu);
    let x = bench.input("x", [2, 1], &x_values);
    let parameters = ["w", "b"].map(|label| bench.input(label, [1, outputs], &ones));
    let dy = bench.input("dy", [2, outputs], &dy_values);
    let gradients = ["dw", "db"].map(|label| bench.output(label, [1, outputs]));
    bench.run("a wide bias", 1, |recorder| {
        let pass = Backward::new([&x, &dy, &dy], None, Mode::Evaluation);
        Variant::Registers.backward(recorder, pass.with_parameters(&parameters, &gradients));
    });
    let rows = dy_values.split_at(outputs);
    for (gradient, [first, second]) in gradients.iter().zip([x_values, [1.0, 1.0]]) {
        let expected = rows.0.iter().zip(rows.1);
        let expected = expected.map(|(&a, &b)| f64::from(first * a + second * b));
        let exactly = std::iter::repeat(0.0);
        assert_close(gradient.label(), &bench.read(gradient), expected, exactly);
    }
}

/// A long product is split into several dispatches, each of which has a part of the workgroups.
#[test]
fn products_in_several_dispatches_are_the_formula() {
    // The limit is just large enough for a workgroup with the largest tile and the longest of these sums.
    let gpu = &dispatching(2 * 128 * 128 * 300);
    let shapes = [[300, 60, 130], [129, 270, 257]];
    // One shape is enough for a browser: see `shapes`.
    let count = if cfg!(target_arch = "wasm32") { 1 } else { 2 };
    for &shape in &shapes[..count] {
        // The numbers are integers, so the results must be exact. Other tests check the rounding of other numbers.
        let case = Case::new(shape, Fill::Integers);
        for variant in Variant::OF_FLOATS {
            check_forward(gpu, variant, &case);
            check_backward(gpu, variant, &case, true);
        }
        let case = Case::of_bytes(shape, Fill::Integers);
        for variant in Variant::OF_BYTES {
            check_forward(gpu, variant, &case);
            check_backward(gpu, variant, &case, false);
        }
    }
    let [x, w, b, y] = [[300, 290], [290, 280], [1, 280], [300, 280]]
        .map(|shape| Tensor::zeros(gpu, "a tensor", shape, Element::F32).unwrap());
    for variant in Variant::OF_FLOATS {
        let mut recorder = Recorder::new(gpu);
        variant.forward(&mut recorder, &x, &[w.clone(), b.clone()], &y);
        let dispatches = recorder.finish().unwrap().len();
        assert!((5..=9).contains(&dispatches), "{variant:?}: {dispatches}");
        // The gradient with respect to the bias takes a dispatch of its own.
        let mut recorder = Recorder::new(gpu);
        let gradients = [w.clone(), b.clone()];
        let pass = Backward::new([&x, &y, &y], None, Mode::Evaluation);
        variant.backward(&mut recorder, pass.with_parameters(&gradients, &gradients));
        let dispatches = recorder.finish().unwrap().len();
        assert!((6..=10).contains(&dispatches), "{variant:?}: {dispatches}");
    }
}
