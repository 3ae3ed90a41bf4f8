//! A layer that keeps two values per row for its backward pass: the mean and 1/σ.

use wgrad::bytemuck::{Pod, Zeroable};
use wgrad::kernel::{Binding, KernelRef};
use wgrad::layer_check::{CheckError, Pass};
use wgrad::ops::{Backward, Forward, KeptSpec, Layer, LayerSpec, ParameterSpec};
use wgrad::plan::{Cost, Recorder};
use wgrad::reference::{self, Float, Twin};
use wgrad::{Error, Init, LayerCheck, Sanitizer, Shape, check_layer, fields};

use crate::gpu::gpu;

const EPSILON: f64 = 1e-5;

const WGSL: &str = "
    // Layer normalization of each row by itself, with x̂ = (x − mean)/σ and σ² = the row's variance + 1e-5:
    //   forward    y = weight·x̂ + bias
    //   backward   dx = (g − mean(g) − x̂·mean(g·x̂))/σ, where g = dy·weight
    //              dweight = Σ dy·x̂ and dbias = Σ dy, over the rows
    struct Size { rows: u32, columns: u32 }
    @group(0) @binding(0) var<uniform> size: Size;
    @group(0) @binding(1) var<storage, read> x: array<f32>;
    @group(0) @binding(2) var<storage, read_write> mean: array<f32>;
    @group(0) @binding(3) var<storage, read_write> inverse: array<f32>;

    @compute @workgroup_size(64)
    fn statistics(@builtin(global_invocation_id) id: vec3u) {
        let row = id.x;
        if (row >= size.rows) { return; }
        let n = f32(size.columns);
        var sum = 0.0;
        for (var c = 0u; c < size.columns; c++) { sum += x[row * size.columns + c]; }
        let m = sum / n;
        var squares = 0.0;
        for (var c = 0u; c < size.columns; c++) {
            let d = x[row * size.columns + c] - m;
            squares += d * d;
        }
        mean[row] = m;
        inverse[row] = 1.0 / sqrt(squares / n + 1e-5);
    }

    @group(0) @binding(2) var<storage, read> row_mean: array<f32>;
    @group(0) @binding(3) var<storage, read> row_inverse: array<f32>;
    @group(0) @binding(4) var<storage, read> bias: array<f32>;
    @group(0) @binding(5) var<storage, read> weight: array<f32>;
    @group(0) @binding(6) var<storage, read_write> y: array<f32>;

    @compute @workgroup_size(64)
    fn normalize(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) count: vec3u) {
        let i = id.x + id.y * count.x * 64u;
        if (i >= size.rows * size.columns) { return; }
        let row = i / size.columns;
        let c = i % size.columns;
        y[i] = (x[i] - row_mean[row]) * row_inverse[row] * weight[c] + bias[c];
    }

    @group(0) @binding(4) var<storage, read> dy: array<f32>;
    @group(0) @binding(6) var<storage, read_write> dx: array<f32>;

    @compute @workgroup_size(64)
    fn backward_input(@builtin(global_invocation_id) id: vec3u) {
        let row = id.x;
        if (row >= size.rows) { return; }
        var sums = vec2f();
        for (var c = 0u; c < size.columns; c++) {
            let i = row * size.columns + c;
            let g = dy[i] * weight[c];
            // A GPU may fuse a product that is computed again with the difference, which then has its rounding in it.
            dx[i] = g;
            sums += vec2f(g, g * (x[i] - row_mean[row]) * row_inverse[row]);
        }
        let means = sums / f32(size.columns);
        for (var c = 0u; c < size.columns; c++) {
            let i = row * size.columns + c;
            let normal = (x[i] - row_mean[row]) * row_inverse[row];
            dx[i] = (dx[i] - means.x - normal * means.y) * row_inverse[row];
        }
    }

    @group(0) @binding(5) var<storage, read_write> dweight: array<f32>;
    @group(0) @binding(6) var<storage, read_write> dbias: array<f32>;

    @compute @workgroup_size(64)
    fn backward_parameters(@builtin(global_invocation_id) id: vec3u) {
        let c = id.x;
        if (c >= size.columns) { return; }
        var sums = vec2f();
        for (var row = 0u; row < size.rows; row++) {
            let i = row * size.columns + c;
            sums += vec2f(dy[i] * (x[i] - row_mean[row]) * row_inverse[row], dy[i]);
        }
        dweight[c] = sums.x;
        dbias[c] = sums.y;
    }";

const STATISTICS: &[Binding] = &[
    Binding::read("x"),
    Binding::write("mean"),
    Binding::write("inverse"),
];
const NORMALIZE: &[Binding] = &[
    Binding::read("x"),
    Binding::read("row_mean"),
    Binding::read("row_inverse"),
    Binding::read("bias"),
    Binding::read("weight"),
    Binding::write("y"),
];
const BACKWARD_INPUT: &[Binding] = &[
    Binding::read("x"),
    Binding::read("row_mean"),
    Binding::read("row_inverse"),
    Binding::read("dy"),
    Binding::read("weight"),
    Binding::write("dx"),
];
const BACKWARD_PARAMETERS: &[Binding] = &[
    Binding::read("x"),
    Binding::read("row_mean"),
    Binding::read("row_inverse"),
    Binding::read("dy"),
    Binding::write("dweight"),
    Binding::write("dbias"),
];

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[bytemuck(crate = "wgrad::bytemuck")]
struct Size {
    rows: u32,
    columns: u32,
}

/// Normalizes all features of a row together. The row may have any shape.
#[derive(Debug, Clone)]
pub(crate) struct LayerNorm {
    source: String,
    twin: Formula,
}

#[derive(Debug, Clone, Copy)]
struct Formula {
    /// The factor of the last term of `dx` in the reference. 1 is correct.
    last_term: f64,
}

impl LayerNorm {
    pub(crate) fn good() -> Self {
        Self {
            source: WGSL.to_owned(),
            twin: Formula { last_term: 1.0 },
        }
    }

    fn with(from: &str, to: &str) -> Self {
        assert!(WGSL.contains(from), "{from}");
        Self {
            source: WGSL.replace(from, to),
            ..Self::good()
        }
    }

    fn kernel<'k>(&'k self, entry: &'k str, bindings: &'k [Binding]) -> KernelRef<'k, Size> {
        KernelRef::new("layer_norm", &self.source, entry, bindings)
            .fields(fields!(Size: rows, columns))
    }
}

impl Layer for LayerNorm {
    fn name(&self) -> String {
        "LayerNorm".to_owned()
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        let parameter = |name, init| ParameterSpec::new(name, *input, init).without_decay();
        Ok(LayerSpec::new(*input)
            .parameter(parameter("weight", Init::Ones))
            .parameter(parameter("bias", Init::Zeros))
            .kept(KeptSpec::per_row("mean", 1))
            .kept(KeptSpec::per_row("inverse", 1))
            .flops(8 * input.len() as u64))
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        let size = size(pass.x.dims());
        let cost = Cost::default();
        let [mean, inverse] = two(pass.kept);
        let [weight, bias] = two(pass.parameters);
        let statistics = self.kernel("statistics", STATISTICS);
        let tensors = [pass.x, mean, inverse];
        recorder.dispatch_each(&statistics, size, &tensors, pass.x.rows(), cost);
        let normalize = self.kernel("normalize", NORMALIZE);
        let tensors = [pass.x, mean, inverse, bias, weight, pass.y];
        recorder.dispatch_each(&normalize, size, &tensors, pass.x.len(), cost);
        Ok(())
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        let size = size(pass.x.dims());
        let cost = Cost::default();
        let [mean, inverse] = two(pass.kept);
        let [weight, _] = two(pass.parameters);
        if let Some(dx) = pass.dx {
            let kernel = self.kernel("backward_input", BACKWARD_INPUT);
            let tensors = [pass.x, mean, inverse, pass.dy, weight, dx];
            recorder.dispatch_each(&kernel, size, &tensors, pass.x.rows(), cost);
        }
        let [dweight, dbias] = two(pass.gradients);
        let kernel = self.kernel("backward_parameters", BACKWARD_PARAMETERS);
        let tensors = [pass.x, mean, inverse, pass.dy, dweight, dbias];
        recorder.dispatch_each(&kernel, size, &tensors, pass.x.columns(), cost);
        Ok(())
    }

    fn reference(&self) -> Twin {
        Twin::of(self.twin)
    }
}

/// Returns the first two elements.
pub(crate) fn two<T>(values: &[T]) -> [&T; 2] {
    [&values[0], &values[1]]
}

fn size([rows, columns]: [usize; 2]) -> Size {
    Size {
        rows: rows as u32,
        columns: columns as u32,
    }
}

impl<F: Float> reference::Layer<F> for Formula {
    fn forward(&self, mut pass: reference::Forward<'_, F>) {
        let [weight, bias] = two(pass.parameters).map(|values| values.flatten());
        let n = F::from_f64(pass.x.ncols() as f64);
        for (row, (x, mut y)) in pass.x.rows().into_iter().zip(pass.y.rows_mut()).enumerate() {
            let mean = x.sum() / n;
            let centered = x.mapv(|x| x - mean);
            let variance = centered.mapv(|d| d * d).sum() / n;
            let inverse = F::one() / (variance + F::from_f64(EPSILON)).sqrt();
            y.assign(&(&centered * inverse * &weight + &bias));
            pass.kept[0][[row, 0]] = mean;
            pass.kept[1][[row, 0]] = inverse;
        }
    }

    fn backward(&self, pass: reference::Backward<'_, F>) {
        let weight = pass.parameters[0].flatten();
        let n = F::from_f64(pass.x.ncols() as f64);
        let mut dx = pass.dx;
        let [dweight, dbias] = pass.gradients else {
            panic!("two parameters");
        };
        dweight.fill(F::zero());
        dbias.fill(F::zero());
        for (row, (x, dy)) in pass.x.rows().into_iter().zip(pass.dy.rows()).enumerate() {
            let mean = pass.kept[0][[row, 0]];
            let inverse = pass.kept[1][[row, 0]];
            let normal = x.mapv(|x| (x - mean) * inverse);
            for (total, part) in dweight.iter_mut().zip(&dy * &normal) {
                *total += part;
            }
            for (total, &part) in dbias.iter_mut().zip(&dy) {
                *total += part;
            }
            if let Some(dx) = &mut dx {
                let g = &dy * &weight;
                let first = g.sum() / n;
                let second = (&g * &normal).sum() / n;
                let second = second * F::from_f64(self.last_term);
                dx.row_mut(row)
                    .assign(&((g - first - normal * second) * inverse));
            }
        }
    }
}

fn check_error(layer: &LayerNorm) -> CheckError {
    match check_layer(gpu(), layer) {
        Err(Error::Check(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// Normalizes rows of features, and rows with up to four extents. The parameters have the shape of a row.
#[test]
fn layer_norm_is_its_formula() {
    let report = check_layer(gpu(), &LayerNorm::good()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.kernels.len(), 4, "{report}");
    let ranks = [
        (3, Shape::from(7)),
        (5, Shape::from([6, 11])),
        (2, Shape::from([2, 3, 5])),
        (4, Shape::from([2, 3, 2, 3])),
        (1, Shape::from([1, 1, 1, 1])),
    ];
    let check = LayerCheck::default().shapes(ranks);
    let report = check.run(gpu(), &LayerNorm::good());
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    for (rows, shape) in ranks {
        let of = |row: &&wgrad::layer_check::Comparison| {
            row.minibatch == (rows, shape).into() && row.tensor == "dweight"
        };
        // Each minibatch is compared in an evaluation, in training and as the first layer. The small ones are also
        // compared with two central differences.
        let found = report.rows.iter().filter(of).count();
        let expected = if rows * shape.len() <= 64 { 5 } else { 3 };
        assert_eq!(found, expected, "{report}");
    }
}

#[test]
fn a_kept_value_that_is_not_written() {
    let from = "inverse[row] = 1.0 / sqrt(squares / n + 1e-5);";
    let to = "if (row + 1u < size.rows) { inverse[row] = 1.0 / sqrt(squares / n + 1e-5); }";
    let error = check_error(&LayerNorm::with(from, to));
    let CheckError::Unwritten { at } = error else {
        panic!("{error}");
    };
    let place = (at.pass, at.tensor.as_str(), at.element);
    assert_eq!(place, (Pass::Forward, "inverse", [0, 0]));
}

#[test]
fn a_term_of_the_gradient_that_is_left_out() {
    let from = " - normal * means.y";
    let to = "";
    let error = check_error(&LayerNorm::with(from, to));
    let CheckError::Parity { at, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((at.pass, at.tensor.as_str()), (Pass::Backward, "dx"));

    let mut layer = LayerNorm::with(from, to);
    layer.twin.last_term = 0.0;
    let error = check_error(&layer);
    let CheckError::Derivative { at, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(at.tensor, "dx");
}

/// The gradients of both parameters are in one buffer, as in a network.
#[test]
fn a_gradient_that_runs_into_the_next() {
    let layer = LayerNorm::with("if (c >= size.columns)", "if (c > size.columns)");
    let found = check_error(&layer).to_string();
    let expected = "out of bounds: `dy` is read at index 1, but 1 element is bound there";
    assert!(found.contains(expected), "{found}");
    let without = LayerCheck::default().sanitized(0, Sanitizer::default());
    match without.run(gpu(), &layer) {
        Err(Error::Check(CheckError::Stray { tensor, found, .. })) => assert_eq!(
            (tensor.as_str(), found.as_str()),
            ("dweight", "1 elements after the end")
        ),
        other => panic!("{other:?}"),
    }
}
