//! Golden vectors of single ops. They are compared with the reference in both precisions, and with every variant of the
//! kernels on the GPU.

use ndarray::Array2;
use wgrad::kernel::Element;
use wgrad::ops::{self, Backward, Forward, Layer, Loss, LossPass, Mode};
use wgrad::plan::Recorder;
use wgrad::plumbing::Variant;
use wgrad::reference::{self, Float};
use wgrad::tensor::Tensor;
use wgrad::{Error, Gpu, Shape};

use crate::file::{File, Refusal};
use crate::images;
use crate::losses;
use crate::norms;
use crate::pools::{self, Taken};
use crate::report::Table;
use crate::tolerance::{DOUBLE, Precision, SINGLE, sigmoid};

/// The outputs of one engine for a case, in the order of `Case::expected`.
pub(crate) type Outputs = Vec<Vec<f64>>;

/// A case, whose expected outputs are compared with the outputs of every engine.
pub(crate) struct Case {
    pub(crate) prefix: String,
    /// The names of the outputs, and the values that PyTorch computed.
    pub(crate) expected: Vec<(&'static str, Vec<f64>)>,
    pub(crate) engines: Vec<(&'static str, Precision, Outputs)>,
}

pub(crate) fn check(file: &File, gpu: &Gpu, table: &mut Table) -> Result<(), Refusal> {
    let op = file.key("op")?;
    let cases = file.cases();
    if cases.is_empty() {
        return Err(file.failed("no tensors"));
    }
    for prefix in cases {
        match op {
            "affine" => affine(file, prefix, gpu, table)?,
            "relu" => elementwise(file, prefix, gpu, table, &RELU)?,
            "sigmoid" => elementwise(file, prefix, gpu, table, &SIGMOID)?,
            "tanh" => elementwise(file, prefix, gpu, table, &TANH)?,
            "gelu" => elementwise(file, prefix, gpu, table, &GELU)?,
            "softmax_cross_entropy" => softmax_cross_entropy(file, prefix, gpu, table)?,
            "mean_squared_error" => mean_squared_error(file, prefix, gpu, table)?,
            "huber" | "binary_cross_entropy_with_logits" | "softmax_cross_entropy_options" => {
                losses::check(file, prefix, gpu, table)?;
            }
            "batch_norm" => norms::batch_norm(file, &prefix, gpu, table)?,
            "layer_norm" => norms::layer_norm(file, &prefix, gpu, table)?,
            "embedding" => norms::embedding(file, &prefix, gpu, table)?,
            "max_pool2d" => pools::check(file, prefix, gpu, table, Taken::Max)?,
            "avg_pool2d" => pools::check(file, prefix, gpu, table, Taken::Mean)?,
            "conv2d" => images::conv2d(file, prefix, gpu, table)?,
            _ => return Err(file.unknown("op", op)),
        }
    }
    file.all_read()
}

impl Case {
    /// Compares an engine's outputs with the expected ones. `allowed` returns the tolerance of each element of each
    /// output, for a precision.
    pub(crate) fn compare(
        &self,
        file: &File,
        table: &mut Table,
        allowed: impl Fn(Precision) -> Outputs,
    ) {
        for (engine, precision, found) in &self.engines {
            let allowed = allowed(*precision);
            for (i, (what, expected)) in self.expected.iter().enumerate() {
                let place = [file.name.as_str(), what, &self.prefix, engine];
                table.compare(place, &found[i], expected, |at| allowed[i][at]);
            }
        }
    }
}

fn affine(file: &File, prefix: String, gpu: &Gpu, table: &mut Table) -> Result<(), Refusal> {
    let name = |tensor: &str| format!("{prefix}{tensor}");
    let [rows, inputs] = file.shape(&name("x"))?;
    let [_, outputs] = file.shape(&name("w"))?;
    let shapes = [
        [rows, inputs],
        [inputs, outputs],
        [1, outputs],
        [rows, outputs],
    ];
    let read = |(tensor, shape)| Ok(matrix(shape, &file.f32(&name(tensor), shape)?));
    let given = ["x", "w", "b", "dy"].into_iter().zip(shapes).map(read);
    let given = given.collect::<Result<Vec<Array2<f32>>, Refusal>>()?;
    let [x, w, b, dy] = [0, 1, 2, 3].map(|i| &given[i]);
    let mut case = Case {
        expected: vec![
            ("y", file.f64(&name("y"), shapes[3])?),
            ("dx", file.f64(&name("dx"), shapes[0])?),
            ("dw", file.f64(&name("dw"), shapes[1])?),
            ("db", file.f64(&name("db"), shapes[2])?),
        ],
        engines: vec![
            ("reference f64", DOUBLE, affine_reference::<f64>(&given)),
            ("reference f32", SINGLE, affine_reference::<f32>(&given)),
        ],
        prefix,
    };
    for (variant, engine) in [
        (Variant::Tiles, "GPU Tiles"),
        (Variant::Deep, "GPU Deep"),
        (Variant::Medium, "GPU Medium"),
        (Variant::Large, "GPU Large"),
        (Variant::Registers, "GPU Registers"),
    ] {
        let found = affine_gpu(gpu, variant, &given).map_err(|error| file.failed(error))?;
        case.engines.push((engine, SINGLE, found));
    }
    let magnitudes = |matrix: &Array2<f32>| matrix.mapv(|value| f64::from(value).abs());
    let [x, w, b, dy] = [x, w, b, dy].map(magnitudes);
    case.compare(file, table, |precision| {
        let bound =
            |count, sums: Array2<f64>| sums.iter().map(|&sum| precision.sum(count, sum)).collect();
        vec![
            bound(inputs + 1, x.dot(&w) + &b),
            bound(outputs, dy.dot(&w.t())),
            bound(rows, x.t().dot(&dy)),
            bound(rows, Array2::ones((1, rows)).dot(&dy)),
        ]
    });
    Ok(())
}

fn affine_reference<F: Float>(given: &[Array2<f32>]) -> Outputs {
    let given: Vec<Array2<F>> = given.iter().map(of_f32).collect();
    let x = &given[0];
    let parameters = &given[1..3];
    let dy = &given[3];
    let mut y = poisoned(dy);
    let mut dx = poisoned(x);
    let mut gradients: Vec<Array2<F>> = parameters.iter().map(poisoned).collect();
    let input = Shape::from(x.ncols());
    let mode = reference::Mode::Evaluation;
    let pass = reference::Forward::new((x.view(), input), parameters, y.view_mut(), mode);
    reference::Layer::forward(&reference::Linear, pass);
    let x = (x.view(), input);
    let of_output = [y.view(), dy.view()];
    let pass = reference::Backward::new(x, of_output, Some(dx.view_mut()), mode);
    let pass = pass.with_parameters(parameters, &mut gradients);
    reference::Layer::backward(&reference::Linear, pass);
    vec![
        into_f64(&y),
        into_f64(&dx),
        into_f64(&gradients[0]),
        into_f64(&gradients[1]),
    ]
}

fn affine_gpu(gpu: &Gpu, variant: Variant, given: &[Array2<f32>]) -> Result<Outputs, Error> {
    let tensors = given.iter().map(|value| upload(gpu, value));
    let tensors = tensors.collect::<Result<Vec<_>, _>>()?;
    let x = &tensors[0];
    let parameters = &tensors[1..3];
    let dy = &tensors[3];
    let [y, dx] = [
        upload(gpu, &poisoned(&given[3]))?,
        upload(gpu, &poisoned(&given[0]))?,
    ];
    let gradients = [
        upload(gpu, &poisoned(&given[1]))?,
        upload(gpu, &poisoned(&given[2]))?,
    ];
    let mut recorder = Recorder::new(gpu);
    variant.forward(&mut recorder, x, parameters, &y);
    let pass = Backward::new([x, &y, dy], Some(&dx), Mode::Evaluation);
    variant.backward(&mut recorder, pass.with_parameters(parameters, &gradients));
    run(gpu, recorder, &[&y, &dx, &gradients[0], &gradients[1]])
}

/// An activation, with its formulas, kernels and tolerances.
struct Activation {
    layer: &'static (dyn Layer + Sync),
    single: &'static (dyn reference::Layer<f32> + Sync),
    double: &'static (dyn reference::Layer<f64> + Sync),
    /// Returns the tolerances of `y` and `dx`, from `x` and `dy`.
    allowed: fn(Precision, f64, f64) -> [f64; 2],
}

const RELU: Activation = Activation {
    layer: &ops::Relu,
    single: &reference::Relu,
    double: &reference::Relu,
    // ReLU does not round, so its tolerances are 0.
    allowed: |_, _, _| [0.0, 0.0],
};
const SIGMOID: Activation = Activation {
    layer: &ops::Sigmoid,
    single: &reference::Sigmoid,
    double: &reference::Sigmoid,
    allowed: |precision, x, dy| {
        let error = precision.sigmoid(x);
        [error, precision.sigmoid_backward(sigmoid(x), error, dy)]
    },
};
const TANH: Activation = Activation {
    layer: &ops::Tanh,
    single: &reference::Tanh,
    double: &reference::Tanh,
    allowed: |precision, x, dy| {
        let error = precision.tanh(x);
        [error, precision.tanh_backward(x.tanh(), error, dy)]
    },
};

const GELU: Activation = Activation {
    layer: &ops::Gelu,
    single: &reference::Gelu,
    double: &reference::Gelu,
    allowed: |precision, x, dy| [precision.gelu(x), precision.gelu_backward(x, 0.0, dy)],
};

fn elementwise(
    file: &File,
    prefix: String,
    gpu: &Gpu,
    table: &mut Table,
    activation: &Activation,
) -> Result<(), Refusal> {
    let name = |tensor: &str| format!("{prefix}{tensor}");
    let shape = file.shape(&name("x"))?;
    let x = matrix(shape, &file.f32(&name("x"), shape)?);
    let dy = matrix(shape, &file.f32(&name("dy"), shape)?);
    let on_gpu = elementwise_gpu(gpu, activation.layer, &x, &dy);
    let case = Case {
        expected: vec![
            ("y", file.f64(&name("y"), shape)?),
            ("dx", file.f64(&name("dx"), shape)?),
        ],
        engines: vec![
            (
                "reference f64",
                DOUBLE,
                elementwise_reference(activation.double, &x, &dy),
            ),
            (
                "reference f32",
                SINGLE,
                elementwise_reference(activation.single, &x, &dy),
            ),
            ("GPU", SINGLE, on_gpu.map_err(|error| file.failed(error))?),
        ],
        prefix,
    };
    case.compare(file, table, |precision| {
        let pairs = x.iter().zip(&dy);
        let bounds = pairs.map(|(&x, &dy)| (activation.allowed)(precision, x.into(), dy.into()));
        let (y, dx) = bounds.map(|[y, dx]| (y, dx)).unzip();
        vec![y, dx]
    });
    Ok(())
}

fn elementwise_reference<F: Float>(
    layer: &dyn reference::Layer<F>,
    x: &Array2<f32>,
    dy: &Array2<f32>,
) -> Outputs {
    let [x, dy] = [x, dy].map(of_f32::<F>);
    let mut y = poisoned(&x);
    let mut dx = poisoned(&x);
    let input = (x.view(), Shape::from(x.ncols()));
    let mode = reference::Mode::Evaluation;
    layer.forward(reference::Forward::new(input, &[], y.view_mut(), mode));
    let of_output = [y.view(), dy.view()];
    let dx_view = Some(dx.view_mut());
    layer.backward(reference::Backward::new(input, of_output, dx_view, mode));
    vec![into_f64(&y), into_f64(&dx)]
}

fn elementwise_gpu(
    gpu: &Gpu,
    layer: &dyn Layer,
    x: &Array2<f32>,
    dy: &Array2<f32>,
) -> Result<Outputs, Error> {
    let [y, dx] = [upload(gpu, &poisoned(x))?, upload(gpu, &poisoned(x))?];
    let [x, dy] = [upload(gpu, x)?, upload(gpu, dy)?];
    let mut recorder = Recorder::new(gpu);
    let mode = Mode::Evaluation;
    layer.forward(&mut recorder, Forward::new(&x, &[], &y, mode))?;
    layer.backward(&mut recorder, Backward::new([&x, &y, &dy], Some(&dx), mode))?;
    run(gpu, recorder, &[&y, &dx])
}

fn softmax_cross_entropy(
    file: &File,
    prefix: String,
    gpu: &Gpu,
    table: &mut Table,
) -> Result<(), Refusal> {
    let name = |tensor: &str| format!("{prefix}{tensor}");
    let shape @ [rows, classes] = file.shape(&name("logits"))?;
    let logits = matrix(shape, &file.f32(&name("logits"), shape)?);
    let labels = file.u32(&name("labels"), [1, rows], classes)?;
    let on_gpu = softmax_gpu(gpu, &logits, &labels);
    let case = Case {
        expected: vec![
            ("loss", file.f64(&name("loss"), [1, 1])?),
            ("probabilities", file.f64(&name("probabilities"), shape)?),
            ("dlogits", file.f64(&name("dlogits"), shape)?),
        ],
        engines: vec![
            (
                "reference f64",
                DOUBLE,
                softmax_reference::<f64>(&logits, &labels),
            ),
            (
                "reference f32",
                SINGLE,
                softmax_reference::<f32>(&logits, &labels),
            ),
            ("GPU", SINGLE, on_gpu.map_err(|error| file.failed(error))?),
        ],
        prefix,
    };
    let logits = logits.mapv(f64::from);
    case.compare(file, table, |precision| {
        let mut losses = 0.0;
        let mut probabilities = Vec::new();
        let mut dlogits = Vec::new();
        let exact = vec![0.0; classes];
        for (row, &label) in logits.outer_iter().zip(&labels) {
            let bounds = precision.softmax(&row.to_vec(), &exact, label as usize, rows);
            let loss = crate::tolerance::Softmax::of(&row.to_vec(), label as usize).loss;
            losses += bounds.loss + precision.sum(rows, loss.abs());
            // The probabilities are computed from the gradient, as rows·dlogits + onehot. So their tolerance follows
            // from the tolerance of `dlogits`.
            let scaled = bounds.dlogits.iter().map(|bound| rows as f64 * bound);
            probabilities.extend(scaled);
            dlogits.extend(bounds.dlogits);
        }
        vec![vec![losses / rows as f64], probabilities, dlogits]
    });
    Ok(())
}

/// Computes the probabilities from the gradient with respect to the logits.
fn probabilities(dlogits: &[f64], labels: &[u32]) -> Vec<f64> {
    let rows = labels.len();
    let classes = dlogits.len() / labels.len();
    let is_label = |at: usize| f64::from(u8::from(labels[at / classes] as usize == at % classes));
    let probability = |(at, &gradient): (usize, &f64)| rows as f64 * gradient + is_label(at);
    dlogits.iter().enumerate().map(probability).collect()
}

fn softmax_reference<F: Float>(logits: &Array2<f32>, labels: &[u32]) -> Outputs {
    let logits = of_f32::<F>(logits);
    let mut dlogits = poisoned(&logits);
    let loss = reference::softmax_cross_entropy(logits.view(), labels, dlogits.view_mut());
    let dlogits = into_f64(&dlogits);
    vec![
        vec![loss.into_f64()],
        probabilities(&dlogits, labels),
        dlogits,
    ]
}

fn softmax_gpu(gpu: &Gpu, logits: &Array2<f32>, labels: &[u32]) -> Result<Outputs, Error> {
    let shape = [1, labels.len()];
    let indices = Tensor::zeros(gpu, "labels", shape, Element::U32)?;
    gpu.write(&indices, labels)?;
    let losses = upload(gpu, &Array2::from_elem(shape, f32::NAN))?;
    let dlogits = upload(gpu, &poisoned(logits))?;
    let logits = upload(gpu, logits)?;
    let mut recorder = Recorder::new(gpu);
    let loss = ops::SoftmaxCrossEntropy;
    let pass = LossPass::new([&logits, &indices], [&losses, &dlogits]);
    loss.forward_backward(&mut recorder, pass)?;
    let mut found = run(gpu, recorder, &[&losses, &dlogits])?;
    let loss = found[0].iter().sum::<f64>() / labels.len() as f64;
    let dlogits = found.remove(1);
    Ok(vec![vec![loss], probabilities(&dlogits, labels), dlogits])
}

fn mean_squared_error(
    file: &File,
    prefix: String,
    gpu: &Gpu,
    table: &mut Table,
) -> Result<(), Refusal> {
    let name = |tensor: &str| format!("{prefix}{tensor}");
    let shape @ [rows, outputs] = file.shape(&name("y"))?;
    let y = matrix(shape, &file.f32(&name("y"), shape)?);
    let targets = matrix(shape, &file.f32(&name("targets"), shape)?);
    let on_gpu = mean_squared_error_gpu(gpu, &y, &targets);
    let case = Case {
        expected: vec![
            ("loss", file.f64(&name("loss"), [1, 1])?),
            ("dy", file.f64(&name("dy"), shape)?),
        ],
        engines: vec![
            (
                "reference f64",
                DOUBLE,
                mean_squared_error_reference::<f64>(&y, &targets),
            ),
            (
                "reference f32",
                SINGLE,
                mean_squared_error_reference::<f32>(&y, &targets),
            ),
            ("GPU", SINGLE, on_gpu.map_err(|error| file.failed(error))?),
        ],
        prefix,
    };
    let differences = y.mapv(f64::from) - targets.mapv(f64::from);
    let count = rows * outputs;
    case.compare(file, table, |precision| {
        let squares = differences.iter().map(|d| d * d).sum::<f64>();
        vec![
            vec![precision.mean_of_squares(count, squares)],
            differences
                .iter()
                .map(|d| precision.scaled_difference(2.0 * d / count as f64))
                .collect(),
        ]
    });
    Ok(())
}

fn mean_squared_error_reference<F: Float>(y: &Array2<f32>, targets: &Array2<f32>) -> Outputs {
    let [y, targets] = [y, targets].map(of_f32::<F>);
    let mut dy = poisoned(&y);
    let targets = reference::Targets::Values(targets.view());
    let pass = reference::LossPass::new(y.view(), targets, dy.view_mut());
    let loss = reference::Loss::forward_backward(&reference::MeanSquaredError, pass);
    vec![vec![loss.into_f64()], into_f64(&dy)]
}

fn mean_squared_error_gpu(
    gpu: &Gpu,
    y: &Array2<f32>,
    targets: &Array2<f32>,
) -> Result<Outputs, Error> {
    let losses = upload(gpu, &Array2::from_elem((1, y.nrows()), f32::NAN))?;
    let dy = upload(gpu, &poisoned(y))?;
    let [y, targets] = [upload(gpu, y)?, upload(gpu, targets)?];
    let mut recorder = Recorder::new(gpu);
    let pass = LossPass::new([&y, &targets], [&losses, &dy]);
    ops::MeanSquaredError.forward_backward(&mut recorder, pass)?;
    let mut found = run(gpu, recorder, &[&losses, &dy])?;
    let loss = found[0].iter().sum::<f64>() / y.rows() as f64;
    Ok(vec![vec![loss], found.remove(1)])
}

/// Runs the recorded dispatches and reads the outputs.
pub(crate) fn run(
    gpu: &Gpu,
    recorder: Recorder<'_>,
    outputs: &[&Tensor],
) -> Result<Outputs, Error> {
    gpu.submit(&recorder.finish()?, 1)?;
    let read = |output: &&Tensor| {
        let values: Vec<f32> = gpu.read(output)?;
        Ok(values.into_iter().map(f64::from).collect())
    };
    outputs.iter().map(read).collect()
}

pub(crate) fn upload(gpu: &Gpu, values: &Array2<f32>) -> Result<Tensor, Error> {
    let shape: [usize; 2] = values.dim().into();
    let tensor = Tensor::zeros(gpu, "golden", shape, Element::F32)?;
    gpu.write(&tensor, &values.iter().copied().collect::<Vec<_>>())?;
    Ok(tensor)
}

pub(crate) fn matrix<T: Copy>(shape: [usize; 2], values: &[T]) -> Array2<T> {
    Array2::from_shape_fn(shape, |(row, column)| values[row * shape[1] + column])
}

pub(crate) fn of_f32<F: Float>(values: &Array2<f32>) -> Array2<F> {
    values.mapv(|value| F::from_f64(value.into()))
}

/// Returns an array of the same shape, filled with NaN. An element that is not written stays NaN.
pub(crate) fn poisoned<F: Float>(like: &Array2<F>) -> Array2<F> {
    like.mapv(|_| F::nan())
}

pub(crate) fn into_f64<F: Float>(values: &Array2<F>) -> Vec<f64> {
    values.iter().map(|value| value.into_f64()).collect()
}
