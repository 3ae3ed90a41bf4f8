//! A layer with state: the running mean and variance of its inputs.

use wgrad::bytemuck::{Pod, Zeroable};
use wgrad::kernel::{Binding, KernelRef};
use wgrad::layer_check::{Call, Check, CheckError, Pass};
use wgrad::ndarray::{Array2, ArrayView2};
use wgrad::ops::{Backward, Forward, KeptSpec, Layer, LayerSpec, Mode, ParameterSpec};
use wgrad::plan::{Cost, Recorder};
use wgrad::reference::{self, Float, Twin};
use wgrad::{Error, Init, LayerCheck, Shape, check_layer, fields};

use crate::gpu::gpu;
use crate::layer_norm::two;

const EPSILON: f64 = 1e-5;

const WGSL: &str = "
    // Batch normalization as PyTorch has it, of each channel over rows and positions, with x̂ = (x − mean)/σ and
    // σ² = variance + 1e-5:
    //   forward    y = weight·x̂ + bias, by mean and variance of the minibatch in training (the biased one, Σ d²/n),
    //              by the running ones in evaluation
    //              running ← (1 − momentum)·running + momentum·(mean, Σ d²/(n − 1)), in training
    //   backward   dx = weight/σ·(dy − mean(dy) − x̂·mean(dy·x̂)) in training, weight/σ·dy in evaluation
    //              dweight = Σ dy·x̂ and dbias = Σ dy
    struct Size {
        rows: u32,
        channels: u32,
        positions: u32,
        share: f32,    // of a value in a mean over the minibatch; 0 in evaluation
        momentum: f32,
    }
    @group(0) @binding(0) var<uniform> size: Size;
    @group(0) @binding(1) var<storage, read> x: array<f32>;
    @group(0) @binding(2) var<storage, read_write> mean: array<f32>;
    @group(0) @binding(3) var<storage, read_write> inverse: array<f32>;
    @group(0) @binding(4) var<storage, read_write> running_mean: array<f32>;
    @group(0) @binding(5) var<storage, read_write> running_variance: array<f32>;

    fn at(row: u32, channel: u32, position: u32) -> u32 {
        return (row * size.channels + channel) * size.positions + position;
    }

    @compute @workgroup_size(64)
    fn statistics(@builtin(global_invocation_id) id: vec3u) {
        let c = id.x;
        if (c >= size.channels) { return; }
        let n = f32(size.rows * size.positions);
        var sum = 0.0;
        for (var r = 0u; r < size.rows; r++) {
            for (var p = 0u; p < size.positions; p++) { sum += x[at(r, c, p)]; }
        }
        let m = sum / n;
        var squares = 0.0;
        for (var r = 0u; r < size.rows; r++) {
            for (var p = 0u; p < size.positions; p++) {
                let d = x[at(r, c, p)] - m;
                squares += d * d;
            }
        }
        mean[c] = m;
        inverse[c] = 1.0 / sqrt(squares / n + 1e-5);
        let unbiased = squares / (n - 1.0);
        running_mean[c] = (1.0 - size.momentum) * running_mean[c] + size.momentum * m;
        running_variance[c] = (1.0 - size.momentum) * running_variance[c] + size.momentum * unbiased;
    }

    @group(0) @binding(1) var<storage, read> known_mean: array<f32>;
    @group(0) @binding(2) var<storage, read> known_variance: array<f32>;
    @group(0) @binding(3) var<storage, read_write> taken_mean: array<f32>;
    @group(0) @binding(4) var<storage, read_write> taken_inverse: array<f32>;

    @compute @workgroup_size(64)
    fn take_running(@builtin(global_invocation_id) id: vec3u) {
        let c = id.x;
        if (c >= size.channels) { return; }
        taken_mean[c] = known_mean[c];
        taken_inverse[c] = 1.0 / sqrt(known_variance[c] + 1e-5);
    }

    @group(0) @binding(2) var<storage, read> channel_mean: array<f32>;
    @group(0) @binding(3) var<storage, read> channel_inverse: array<f32>;
    @group(0) @binding(4) var<storage, read> bias: array<f32>;
    @group(0) @binding(5) var<storage, read> weight: array<f32>;
    @group(0) @binding(6) var<storage, read_write> y: array<f32>;

    @compute @workgroup_size(64)
    fn normalize(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) count: vec3u) {
        let i = id.x + id.y * count.x * 64u;
        if (i >= size.rows * size.channels * size.positions) { return; }
        let c = i / size.positions % size.channels;
        y[i] = (x[i] - channel_mean[c]) * channel_inverse[c] * weight[c] + bias[c];
    }

    @group(0) @binding(4) var<storage, read> dy: array<f32>;
    @group(0) @binding(5) var<storage, read_write> dweight: array<f32>;
    @group(0) @binding(6) var<storage, read_write> dbias: array<f32>;

    @compute @workgroup_size(64)
    fn backward_parameters(@builtin(global_invocation_id) id: vec3u) {
        let c = id.x;
        if (c >= size.channels) { return; }
        var sums = vec2f();
        for (var r = 0u; r < size.rows; r++) {
            for (var p = 0u; p < size.positions; p++) {
                let i = at(r, c, p);
                sums += vec2f(dy[i] * (x[i] - channel_mean[c]) * channel_inverse[c], dy[i]);
            }
        }
        dweight[c] = sums.x;
        dbias[c] = sums.y;
    }

    @group(0) @binding(6) var<storage, read> sum_of_products: array<f32>;
    @group(0) @binding(7) var<storage, read> sum: array<f32>;
    @group(0) @binding(8) var<storage, read_write> dx: array<f32>;

    @compute @workgroup_size(64)
    fn backward_input(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) count: vec3u) {
        let i = id.x + id.y * count.x * 64u;
        if (i >= size.rows * size.channels * size.positions) { return; }
        let c = i / size.positions % size.channels;
        let normal = (x[i] - channel_mean[c]) * channel_inverse[c];
        let of_means = sum[c] * size.share + normal * sum_of_products[c] * size.share;
        dx[i] = weight[c] * channel_inverse[c] * (dy[i] - of_means);
    }

    @group(0) @binding(1) var<storage, read_write> forgotten: array<f32>;

    @compute @workgroup_size(64)
    fn forget(@builtin(global_invocation_id) id: vec3u) {
        if (id.x < size.channels) { forgotten[id.x] = 0.0; }
    }";

const STATISTICS: &[Binding] = &[
    Binding::read("x"),
    Binding::write("mean"),
    Binding::write("inverse"),
    Binding::write("running_mean"),
    Binding::write("running_variance"),
];
const TAKE_RUNNING: &[Binding] = &[
    Binding::read("known_mean"),
    Binding::read("known_variance"),
    Binding::write("taken_mean"),
    Binding::write("taken_inverse"),
];
const X: Binding = Binding::read("x");
const MEAN: Binding = Binding::read("channel_mean");
const INVERSE: Binding = Binding::read("channel_inverse");
const WEIGHT: Binding = Binding::read("weight");
const DY: Binding = Binding::read("dy");
const NORMALIZE: &[Binding] = &[
    X,
    MEAN,
    INVERSE,
    Binding::read("bias"),
    WEIGHT,
    Binding::write("y"),
];
const BACKWARD_PARAMETERS: &[Binding] = &[
    X,
    MEAN,
    INVERSE,
    DY,
    Binding::write("dweight"),
    Binding::write("dbias"),
];
const BACKWARD_INPUT: &[Binding] = &[
    X,
    MEAN,
    INVERSE,
    DY,
    WEIGHT,
    Binding::read("sum_of_products"),
    Binding::read("sum"),
    Binding::write("dx"),
];

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[bytemuck(crate = "wgrad::bytemuck")]
struct Size {
    rows: u32,
    channels: u32,
    positions: u32,
    share: f32,
    momentum: f32,
}

/// Batch normalization of features (rows of shape C) or of channels with several positions (C×H×W).
#[derive(Debug, Clone)]
pub(crate) struct BatchNorm {
    source: String,
    momentum: f32,
    mistake: Mistake,
    twin: Formula,
}

/// A mistake in the Rust code of the layer.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mistake {
    None,
    /// An evaluation is treated as training.
    AlwaysTrains,
    /// The backward pass sets the running mean to 0.
    Forgets,
}

#[derive(Debug, Clone, Copy)]
struct Formula {
    momentum: f64,
    /// Whether an evaluation changes the state.
    always_trains: bool,
}

impl BatchNorm {
    pub(crate) fn good() -> Self {
        Self {
            source: WGSL.to_owned(),
            momentum: 0.1,
            mistake: Mistake::None,
            twin: Formula {
                momentum: 0.1f32.into(),
                always_trains: false,
            },
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
        KernelRef::new("batch_norm", &self.source, entry, bindings)
            .fields(fields!(Size: rows, channels, positions, share, momentum))
    }

    /// Returns the uniform block for `rows` rows of this shape. In an evaluation, `share` is 0, so means over the
    /// minibatch have no effect.
    fn size(&self, rows: usize, shape: &Shape, mode: Mode<'_>) -> Size {
        let [channels, positions] = channels_and_positions(shape);
        Size {
            rows: rows as u32,
            channels: channels as u32,
            positions: positions as u32,
            share: match mode {
                Mode::Evaluation => 0.0,
                Mode::Training(_) => 1.0 / (rows * positions) as f32,
            },
            momentum: self.momentum,
        }
    }
}

fn channels_and_positions(shape: &Shape) -> [usize; 2] {
    let channels = shape.extents()[0];
    [channels, shape.len() / channels]
}

impl Layer for BatchNorm {
    fn name(&self) -> String {
        "BatchNorm".to_owned()
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        let [channels, _] = channels_and_positions(input);
        let value = |name, init| ParameterSpec::new(name, channels, init).without_decay();
        Ok(LayerSpec::new(*input)
            .parameter(value("weight", Init::Ones))
            .parameter(value("bias", Init::Zeros))
            .state(value("running_mean", Init::Zeros))
            .state(value("running_variance", Init::Ones))
            .kept(KeptSpec::per_batch("mean", channels))
            .kept(KeptSpec::per_batch("inverse", channels))
            .flops(8 * input.len() as u64))
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        let shape = pass.x.row_shape();
        let cost = Cost::default();
        let size = self.size(pass.x.rows(), &shape, pass.mode);
        let channels = size.channels as usize;
        let [mean, inverse] = two(pass.kept);
        let [weight, bias] = two(pass.parameters);
        let [running_mean, running_variance] = two(pass.state);
        let trains = matches!(pass.mode, Mode::Training(_));
        if trains || self.mistake == Mistake::AlwaysTrains {
            let kernel = self.kernel("statistics", STATISTICS);
            let tensors = [pass.x, mean, inverse, running_mean, running_variance];
            recorder.dispatch_each(&kernel, size, &tensors, channels, cost);
        } else {
            let kernel = self.kernel("take_running", TAKE_RUNNING);
            let tensors = [running_mean, running_variance, mean, inverse];
            recorder.dispatch_each(&kernel, size, &tensors, channels, cost);
        }
        let kernel = self.kernel("normalize", NORMALIZE);
        let tensors = [pass.x, mean, inverse, bias, weight, pass.y];
        recorder.dispatch_each(&kernel, size, &tensors, pass.x.len(), cost);
        Ok(())
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        let shape = pass.x.row_shape();
        let cost = Cost::default();
        let size = self.size(pass.x.rows(), &shape, pass.mode);
        let [mean, inverse] = two(pass.kept);
        let [weight, _] = two(pass.parameters);
        let [dweight, dbias] = two(pass.gradients);
        let kernel = self.kernel("backward_parameters", BACKWARD_PARAMETERS);
        let tensors = [pass.x, mean, inverse, pass.dy, dweight, dbias];
        recorder.dispatch_each(&kernel, size, &tensors, size.channels as usize, cost);
        if let Some(dx) = pass.dx {
            let kernel = self.kernel("backward_input", BACKWARD_INPUT);
            let tensors = [pass.x, mean, inverse, pass.dy, weight, dweight, dbias, dx];
            recorder.dispatch_each(&kernel, size, &tensors, pass.x.len(), cost);
        }
        if self.mistake == Mistake::Forgets && matches!(pass.mode, Mode::Training(_)) {
            let kernel = self.kernel("forget", const { &[Binding::write("forgotten")] });
            let tensors = [&pass.state[0]];
            recorder.dispatch_each(&kernel, size, &tensors, size.channels as usize, cost);
        }
        Ok(())
    }

    fn reference(&self) -> Twin {
        Twin::of(self.twin)
    }
}

/// Returns the elements of a channel, as a matrix (rows, positions).
fn of_channel<F: Float>(values: ArrayView2<'_, F>, channel: usize, positions: usize) -> Array2<F> {
    let columns = channel * positions..(channel + 1) * positions;
    values.slice(wgrad::ndarray::s![.., columns]).to_owned()
}

/// Returns the mean and the biased variance of a channel over the minibatch.
fn moments<F: Float>(values: &Array2<F>) -> [F; 2] {
    let n = F::from_f64(values.len() as f64);
    let mean = values.sum() / n;
    [mean, values.mapv(|x| (x - mean) * (x - mean)).sum() / n]
}

/// The reference keeps the mean and σ for the backward pass, and the kernels keep 1/σ: each engine may keep other
/// values.
impl<F: Float> reference::Layer<F> for Formula {
    fn forward(&self, mut pass: reference::Forward<'_, F>) {
        let [channels, positions] = channels_and_positions(&pass.input);
        let momentum = F::from_f64(self.momentum);
        for c in 0..channels {
            let x = of_channel(pass.x, c, positions);
            let n = x.len() as f64;
            let trains = self.always_trains || matches!(pass.mode, reference::Mode::Training(_));
            let [mean, variance] = if trains {
                moments(&x)
            } else {
                [0, 1].map(|i| pass.state[i][[0, c]])
            };
            if trains {
                let unbiased = variance * F::from_f64(n / (n - 1.0));
                for (state, new) in pass.state.iter_mut().zip([mean, unbiased]) {
                    let state = &mut state[[0, c]];
                    *state = (F::one() - momentum) * *state + momentum * new;
                }
            }
            let sigma = (variance + F::from_f64(EPSILON)).sqrt();
            pass.kept[0][[0, c]] = mean;
            pass.kept[1][[0, c]] = sigma;
            let [weight, bias] = [0, 1].map(|i| pass.parameters[i][[0, c]]);
            let y = x.mapv(|x| (x - mean) / sigma * weight + bias);
            let columns = c * positions..(c + 1) * positions;
            pass.y.slice_mut(wgrad::ndarray::s![.., columns]).assign(&y);
        }
    }

    fn backward(&self, mut pass: reference::Backward<'_, F>) {
        let [channels, positions] = channels_and_positions(&pass.input);
        for c in 0..channels {
            let [x, dy] = [pass.x, pass.dy].map(|values| of_channel(values, c, positions));
            let mean = pass.kept[0][[0, c]];
            let sigma = pass.kept[1][[0, c]];
            let normal = x.mapv(|x| (x - mean) / sigma);
            let dweight = (&dy * &normal).sum();
            let dbias = dy.sum();
            pass.gradients[0][[0, c]] = dweight;
            pass.gradients[1][[0, c]] = dbias;
            let Some(dx) = &mut pass.dx else { continue };
            let share = match pass.mode {
                reference::Mode::Training(_) => F::from_f64(1.0 / x.len() as f64),
                reference::Mode::Evaluation => F::zero(),
            };
            let scale = pass.parameters[0][[0, c]] / sigma;
            let of_means = normal.mapv(|normal| (dbias + normal * dweight) * share);
            let columns = c * positions..(c + 1) * positions;
            dx.slice_mut(wgrad::ndarray::s![.., columns])
                .assign(&((dy - of_means) * scale));
        }
    }
}

const IMAGES: [(usize, [usize; 3]); 5] = [
    (2, [2, 2, 2]),
    (4, [3, 5, 5]),
    (1, [5, 3, 1]),
    (7, [65, 2, 3]),
    (3, [1, 9, 9]),
];

fn check_error(layer: &BatchNorm) -> CheckError {
    match check_layer(gpu(), layer) {
        Err(Error::Check(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn batch_norm_is_its_formula() {
    let layer = BatchNorm::good();
    let report = check_layer(gpu(), &layer).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.kernels.len(), 5, "{report}");
    let check = LayerCheck::default().shapes(IMAGES);
    let report = check
        .run(gpu(), &layer)
        .unwrap_or_else(|error| panic!("{error}"));
    let tensors = |check, call| {
        let rows = report.rows.iter().filter(|row| {
            (row.check, row.minibatch, row.call) == (check, IMAGES[0].into(), Some(call))
        });
        rows.map(|row| row.tensor.as_str()).collect::<Vec<_>>()
    };
    let state = ["y", "running_mean", "running_variance"];
    let forward = Check::Parity(Pass::Forward);
    assert_eq!(tensors(forward, Call::Evaluation), state[..1]);
    assert_eq!(tensors(forward, Call::Training), state);
    for call in [Call::Evaluation, Call::Training] {
        let gradients = ["dx", "dweight", "dbias"];
        assert_eq!(tensors(Check::Gradient, call), gradients);
        assert_eq!(tensors(Check::Parity(Pass::Backward), call), gradients);
    }
}

#[test]
fn a_kept_value_that_an_evaluation_does_not_write() {
    let from = "taken_inverse[c] = 1.0 / sqrt(known_variance[c] + 1e-5);";
    let layer = BatchNorm::with(from, &format!("if (size.share > 0.0) {{ {from} }}"));
    let error = check_error(&layer);
    let CheckError::Unwritten { at } = error else {
        panic!("{error}");
    };
    let place = (at.pass, at.call, at.tensor.as_str());
    assert_eq!(place, (Pass::Forward, Some(Call::Evaluation), "inverse"));
}

fn state_changed(layer: &BatchNorm) -> (String, Pass, Call, &'static str) {
    match check_error(layer) {
        CheckError::StateChanged {
            state,
            pass,
            call,
            by,
            ..
        } => (state, pass, call, by),
        error => panic!("{error}"),
    }
}

#[test]
fn state_that_an_evaluation_changes() {
    let mut layer = BatchNorm::good();
    layer.mistake = Mistake::AlwaysTrains;
    let expected = |by| {
        (
            "running_mean".to_owned(),
            Pass::Forward,
            Call::Evaluation,
            by,
        )
    };
    assert_eq!(state_changed(&layer), expected("the WGSL"));
    let message = check_error(&layer).to_string();
    let text = "BatchNorm: the WGSL changed running_mean in the forward pass in evaluation. ";
    assert!(message.starts_with(text), "{message}");

    let mut layer = BatchNorm::good();
    layer.twin.always_trains = true;
    assert_eq!(state_changed(&layer), expected("the reference"));
}

#[test]
fn state_that_the_backward_pass_changes() {
    let mut layer = BatchNorm::good();
    layer.mistake = Mistake::Forgets;
    let expected = (
        "running_mean".to_owned(),
        Pass::Backward,
        Call::Training,
        "the WGSL",
    );
    assert_eq!(state_changed(&layer), expected);
}

/// Returns the pass, the call and the tensor for which the check finds a wrong value of the state.
fn wrong_state(layer: &BatchNorm) -> (Pass, Option<Call>, String) {
    match check_error(layer) {
        CheckError::Parity { at, .. } => (at.pass, at.call, at.tensor),
        error => panic!("{error}"),
    }
}

#[test]
fn state_that_is_wrong_after_training() {
    let place = |tensor: &str| (Pass::Forward, Some(Call::Training), tensor.to_owned());
    let biased = BatchNorm::with("squares / (n - 1.0)", "squares / n");
    assert_eq!(wrong_state(&biased), place("running_variance"));
    let mut layer = BatchNorm::good();
    layer.momentum = 0.11;
    let (pass, call, tensor) = wrong_state(&layer);
    assert_eq!((pass, call), (Pass::Forward, Some(Call::Training)));
    assert!(tensor.starts_with("running_"), "{tensor}");
    let swapped = BatchNorm::with(
        "running_mean[c] = (1.0 - size.momentum) * running_mean[c] + size.momentum * m",
        "running_mean[c] = size.momentum * running_mean[c] + (1.0 - size.momentum) * m",
    );
    assert_eq!(wrong_state(&swapped), place("running_mean"));
}

/// The gradient ignores that mean and variance depend on the minibatch. This is right only in an evaluation.
#[test]
fn a_gradient_that_is_wrong_in_training() {
    let from = "let of_means = sum[c] * size.share + normal * sum_of_products[c] * size.share;";
    let to = "let of_means = 0.0 * (sum[c] + sum_of_products[c] + normal);";
    let error = check_error(&BatchNorm::with(from, to));
    let message = error.to_string();
    let CheckError::Parity { at, .. } = error else {
        panic!("{message}");
    };
    let place = (at.pass, at.call, at.tensor.as_str());
    assert_eq!(place, (Pass::Backward, Some(Call::Training), "dx"));
    assert!(
        message.contains("backward in training: element ("),
        "{message}"
    );
}

/// The kernel computes the channel of an element as if each row had only features, without positions.
#[test]
fn channels_that_are_taken_for_features() {
    let layer = BatchNorm::with("i / size.positions % size.channels", "i % size.channels");
    check_layer(gpu(), &layer).unwrap_or_else(|error| panic!("{error}"));
    let check = LayerCheck::default().shapes(IMAGES);
    match check.run(gpu(), &layer) {
        Err(Error::Check(CheckError::Parity { at, .. })) => assert_eq!(at.tensor, "y"),
        other => panic!("{other:?}"),
    }
}
