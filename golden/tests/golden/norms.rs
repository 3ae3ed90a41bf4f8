//! Golden vectors of layers with parameters: normalization and embedding.

use serde_json::{Map, Value};
use wgrad::kernel::Element;
use wgrad::ndarray::Array2;
use wgrad::ops::{self, Backward, Draw, Forward, Layer, LayerSpec, Mode};
use wgrad::plan::Recorder;
use wgrad::reference::{self, Float};
use wgrad::tensor::Tensor;
use wgrad::{Error, Gpu, Shape, TensorShape};

use crate::file::{File, Refusal};
use crate::norm_bounds::{self, Operands, Rounding};
use crate::ops::{Case, Outputs, into_f64, matrix, of_f32, poisoned, run, upload};
use crate::report::Table;
use crate::tolerance::{DOUBLE, Precision, SINGLE};

/// A layer and its references in `f32` and `f64`. The references have the file's settings in `f64`.
struct Layers<'a> {
    layer: &'a dyn Layer,
    single: &'a dyn reference::Layer<f32>,
    double: &'a dyn reference::Layer<f64>,
}

/// The operands of both passes of a training step.
struct NormInputs {
    input: Shape,
    spec: LayerSpec,
    x: Array2<f32>,
    dy: Array2<f32>,
    parameters: Vec<Array2<f32>>,
    state: Vec<Array2<f32>>,
    /// Whether the gradient with respect to `x` is computed.
    has_dx: bool,
}

/// The options of a case. Every option must be read, so that none is ignored.
struct Options {
    of: Map<String, Value>,
    case: String,
}

impl Options {
    fn of(file: &File, prefix: &str) -> Result<Self, Refusal> {
        let case = prefix.trim_end_matches('.').to_owned();
        let all: Map<String, Value> = serde_json::from_str(file.key("cases")?)
            .map_err(|error| file.failed(format!("metadata key \"cases\": {error}")))?;
        match all.get(&case) {
            Some(Value::Object(of)) => Ok(Self {
                of: of.clone(),
                case,
            }),
            _ => Err(file.failed(format!("metadata key \"cases\" has no case \"{case}\""))),
        }
    }

    fn number(&mut self, file: &File, name: &str) -> Result<f64, Refusal> {
        let case = &self.case;
        let missing = || file.failed(format!("case \"{case}\": option \"{name}\" is no number"));
        let value = self.of.remove(name);
        value.and_then(|value| value.as_f64()).ok_or_else(missing)
    }

    fn all_read(&self, file: &File) -> Result<(), Refusal> {
        match self.of.keys().next() {
            None => Ok(()),
            Some(name) => {
                let case = &self.case;
                Err(file.failed(format!(
                    "case \"{case}\": option \"{name}\" is unknown here"
                )))
            }
        }
    }
}

fn rounding(precision: Precision) -> Rounding {
    Rounding {
        unit: precision.unit,
        tiny: precision.tiny,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "as a layer has its settings"
)]
fn single(value: f64) -> f32 {
    value as f32
}

fn shape(file: &File, extents: &[usize]) -> Result<Shape, Refusal> {
    Ok(match *extents {
        [a] => a.into(),
        [a, b] => [a, b].into(),
        [a, b, c] => [a, b, c].into(),
        [a, b, c, d] => [a, b, c, d].into(),
        _ => return Err(file.failed(format!("no shape of a row: {extents:?}"))),
    })
}

impl NormInputs {
    fn read(
        file: &File,
        prefix: &str,
        layer: &dyn Layer,
        (x, input): (Array2<f32>, Shape),
    ) -> Result<Self, Refusal> {
        let spec = layer.spec(&input).map_err(|error| file.failed(error))?;
        let outputs = [x.nrows(), spec.output.len()];
        let name = |tensor: &str| format!("{prefix}{tensor}");
        let extents: Vec<usize> = [x.nrows()]
            .into_iter()
            .chain(spec.output.extents().iter().copied())
            .collect();
        let dy = matrix(outputs, &file.f32(&name("dy"), extents)?);
        let read = |spec: &ops::ParameterSpec| {
            let values = file.f32(&name(spec.name), spec.shape.extents())?;
            Ok(matrix(spec.tensor_shape().dims(), &values))
        };
        let parameters = spec.parameters.iter().map(read);
        let parameters = parameters.collect::<Result<_, Refusal>>()?;
        let state = spec.state.iter().map(read);
        Ok(Self {
            input,
            x,
            dy,
            parameters,
            state: state.collect::<Result<_, Refusal>>()?,
            has_dx: spec.indices_below.is_none(),
            spec,
        })
    }

    fn operands(&self) -> Operands<'_> {
        Operands {
            x: &self.x,
            dy: &self.dy,
            parameters: &self.parameters,
            state: &self.state,
        }
    }

    fn kept(&self) -> impl Iterator<Item = TensorShape> {
        let rows = self.x.nrows();
        self.spec
            .kept
            .iter()
            .map(move |kept| kept.tensor_shape(rows))
    }

    /// Computes by the reference: `y`, `dx` if needed, the gradients with respect to the parameters, the state after
    /// the step and, for a layer with state, `y` in an evaluation.
    fn by_reference<F: Float>(&self, layer: &dyn reference::Layer<F>) -> Outputs {
        let [x, dy] = [&self.x, &self.dy].map(of_f32::<F>);
        let parameters: Vec<Array2<F>> = self.parameters.iter().map(of_f32).collect();
        let mut state: Vec<Array2<F>> = self.state.iter().map(of_f32).collect();
        let kept = self
            .kept()
            .map(|kept| Array2::from_elem(kept.dims(), F::nan()));
        let mut kept: Vec<Array2<F>> = kept.collect();
        let mut y = poisoned(&dy);
        let mut evaluated = poisoned(&dy);
        let mut dx = poisoned(&x);
        let mut gradients: Vec<Array2<F>> = parameters.iter().map(poisoned).collect();
        let input = (x.view(), self.input);
        let training = reference::Mode::Training(reference::Draw::new([1, 2], 3));
        let pass = reference::Forward::new(input, &parameters, y.view_mut(), training);
        layer.forward(pass.with_state(&mut state).with_kept(&mut kept));
        let dx_view = self.has_dx.then(|| dx.view_mut());
        let of_output = [y.view(), dy.view()];
        let pass = reference::Backward::new(input, of_output, dx_view, training);
        let pass = pass.with_parameters(&parameters, &mut gradients);
        layer.backward(pass.with_state(&state).with_kept(&kept));
        let mode = reference::Mode::Evaluation;
        let pass = reference::Forward::new(input, &parameters, evaluated.view_mut(), mode);
        layer.forward(pass.with_state(&mut state).with_kept(&mut kept));
        let results = [Some(&y), self.has_dx.then_some(&dx)].into_iter().flatten();
        let results = results.chain(&gradients).chain(&state);
        let evaluated = Some(&evaluated).filter(|_| !state.is_empty());
        results.chain(evaluated).map(into_f64).collect()
    }

    fn on_gpu(&self, gpu: &Gpu, layer: &dyn Layer) -> Result<Outputs, Error> {
        let rows = self.x.nrows();
        let placed = |shape: Shape, values: &Array2<f32>| {
            let tensor = Tensor::zeros(gpu, "golden", (rows, shape), Element::F32)?;
            gpu.write(&tensor, &values.iter().copied().collect::<Vec<_>>())?;
            Ok::<_, Error>(tensor)
        };
        let all = |values: &[Array2<f32>]| {
            let values = values.iter().map(|value| upload(gpu, value));
            values.collect::<Result<Vec<_>, _>>()
        };
        let output = self.spec.output;
        let x = placed(self.input, &self.x)?;
        let dy = placed(output, &self.dy)?;
        let dx = placed(self.input, &poisoned(&self.x))?;
        let y = placed(output, &poisoned(&self.dy))?;
        let evaluated = placed(output, &poisoned(&self.dy))?;
        let parameters = all(&self.parameters)?;
        let state = all(&self.state)?;
        let unwritten: Vec<Array2<f32>> = self.parameters.iter().map(poisoned).collect();
        let gradients = all(&unwritten)?;
        let kept = self
            .kept()
            .map(|kept| Array2::from_elem(kept.dims(), f32::NAN));
        let kept = all(&kept.collect::<Vec<_>>())?;
        let step = Tensor::zeros(gpu, "step", [1, 1], Element::U32)?;
        let mode = Mode::Training(Draw::new([1, 2], &step));
        let mut recorder = Recorder::new(gpu);
        let pass = Forward::new(&x, &parameters, &y, mode);
        layer.forward(&mut recorder, pass.with_state(&state).with_kept(&kept))?;
        let pass = Backward::new([&x, &y, &dy], self.has_dx.then_some(&dx), mode);
        let pass = pass.with_parameters(&parameters, &gradients);
        layer.backward(&mut recorder, pass.with_state(&state).with_kept(&kept))?;
        let pass = Forward::new(&x, &parameters, &evaluated, Mode::Evaluation);
        layer.forward(&mut recorder, pass.with_state(&state).with_kept(&kept))?;
        let results = [Some(&y), self.has_dx.then_some(&dx)].into_iter().flatten();
        let results = results.chain(&gradients).chain(&state);
        let evaluated = Some(&evaluated).filter(|_| !state.is_empty());
        let results: Vec<&Tensor> = results.chain(evaluated).collect();
        run(gpu, recorder, &results)
    }

    /// Compares all engines with the expected results. `allowed` returns the tolerances, in the order of `expected`.
    fn compare(
        &self,
        (file, prefix): (&File, &str),
        (gpu, table): (&Gpu, &mut Table),
        layers: &Layers<'_>,
        expected: Vec<(&'static str, Vec<f64>)>,
        allowed: impl Fn(Precision) -> Outputs,
    ) -> Result<(), Refusal> {
        let on_gpu = self.on_gpu(gpu, layers.layer);
        let case = Case {
            prefix: prefix.to_owned(),
            expected,
            engines: vec![
                ("reference f64", DOUBLE, self.by_reference(layers.double)),
                ("reference f32", SINGLE, self.by_reference(layers.single)),
                ("GPU", SINGLE, on_gpu.map_err(|error| file.failed(error))?),
            ],
        };
        case.compare(file, table, allowed);
        Ok(())
    }
}

/// Reads the expected tensors with these names and shapes.
fn expected(
    file: &File,
    prefix: &str,
    names: &[(&'static str, &[usize])],
) -> Result<Vec<(&'static str, Vec<f64>)>, Refusal> {
    let read = |&(name, extents): &(&'static str, &[usize])| {
        Ok((name, file.f64(&format!("{prefix}{name}"), extents)?))
    };
    names.iter().map(read).collect()
}

/// Reads the rows of features, and the extents of their tensor.
fn rows(file: &File, prefix: &str) -> Result<(Array2<f32>, Vec<usize>), Refusal> {
    let name = format!("{prefix}x");
    let extents = file.extents(&name)?;
    let values = file.f32(&name, &extents)?;
    let dims = [extents[0], values.len() / extents[0]];
    Ok((matrix(dims, &values), extents))
}

pub(crate) fn batch_norm(
    file: &File,
    prefix: &str,
    gpu: &Gpu,
    table: &mut Table,
) -> Result<(), Refusal> {
    let mut options = Options::of(file, prefix)?;
    let eps = options.number(file, "eps")?;
    let momentum = options.number(file, "momentum")?;
    options.all_read(file)?;
    let (x, extents) = rows(file, prefix)?;
    let input = shape(file, &extents[1..])?;
    let layer = ops::BatchNorm::new()
        .eps(single(eps))
        .momentum(single(momentum));
    let formula = reference::BatchNorm { eps, momentum };
    let given = NormInputs::read(file, prefix, &layer, (x, input))?;
    let channels = &extents[1..2];
    let names = [
        ("y", &extents[..]),
        ("dx", &extents),
        ("dweight", channels),
        ("dbias", channels),
        ("running_mean_after", channels),
        ("running_var_after", channels),
        ("evaluated", &extents),
    ];
    let expected = expected(file, prefix, &names)?;
    let layers = Layers {
        layer: &layer,
        single: &formula,
        double: &formula,
    };
    given.compare(
        (file, prefix),
        (gpu, table),
        &layers,
        expected,
        |precision| norm_bounds::batch_norm(rounding(precision), given.operands(), eps, momentum),
    )
}

pub(crate) fn layer_norm(
    file: &File,
    prefix: &str,
    gpu: &Gpu,
    table: &mut Table,
) -> Result<(), Refusal> {
    let mut options = Options::of(file, prefix)?;
    let eps = options.number(file, "eps")?;
    options.all_read(file)?;
    let (x, extents) = rows(file, prefix)?;
    let input = shape(file, &extents[1..])?;
    let layer = ops::LayerNorm::new().eps(single(eps));
    let formula = reference::LayerNorm { eps };
    let given = NormInputs::read(file, prefix, &layer, (x, input))?;
    let features = &extents[1..];
    let names = [
        ("y", &extents[..]),
        ("dx", &extents),
        ("dweight", features),
        ("dbias", features),
    ];
    let expected = expected(file, prefix, &names)?;
    let layers = Layers {
        layer: &layer,
        single: &formula,
        double: &formula,
    };
    given.compare(
        (file, prefix),
        (gpu, table),
        &layers,
        expected,
        |precision| norm_bounds::layer_norm(rounding(precision), given.operands(), eps),
    )
}

pub(crate) fn embedding(
    file: &File,
    prefix: &str,
    gpu: &Gpu,
    table: &mut Table,
) -> Result<(), Refusal> {
    Options::of(file, prefix)?.all_read(file)?;
    let name = |tensor: &str| format!("{prefix}{tensor}");
    let extents = file.extents(&name("indices"))?;
    let of_weight = file.shape(&name("weight"))?;
    let [count, width] = of_weight;
    let indices = file.u32(&name("indices"), &extents, count)?;
    let dims = [extents[0], indices.len() / extents[0]];
    let x = matrix(dims, &indices).mapv(|index| single(index.into()));
    let layer = ops::Embedding::new(count, width);
    let given = NormInputs::read(file, prefix, &layer, (x, dims[1].into()))?;
    let output = [dims[0], dims[1], width];
    let names = [("y", &output[..]), ("dweight", &of_weight)];
    let expected = expected(file, prefix, &names)?;
    let layers = Layers {
        layer: &layer,
        single: &reference::Embedding,
        double: &reference::Embedding,
    };
    given.compare(
        (file, prefix),
        (gpu, table),
        &layers,
        expected,
        |precision| {
            let mut sums = vec![(0, 0.0); count * width];
            let dy = given.dy.iter().collect::<Vec<_>>();
            for (at, &index) in indices.iter().enumerate() {
                for column in 0..width {
                    let (terms, magnitudes) = &mut sums[index as usize * width + column];
                    *terms += 1;
                    *magnitudes += f64::from(dy[at * width + column].abs());
                }
            }
            let of_weight = sums
                .into_iter()
                .map(|(terms, sum)| precision.sum(terms, sum));
            // A lookup in the table does not round, so its tolerance is 0.
            vec![vec![0.0; dy.len()], of_weight.collect()]
        },
    )
}
