//! Golden trainings: every step's loss, the first gradient and the final weights of whole runs on
//! MNIST, by the reference in both precisions and by the GPU.

use ndarray::Array2;
use wgrad::data::{Labels, Sampling, Split};
use wgrad::ops::{Linear, Relu, Sigmoid, SoftmaxCrossEntropy, Tanh};
use wgrad::reference::{Float, Moment};
use wgrad::{Error, Gpu, Sequential, StepPlan, Trainer, cpu};

use crate::bounds::{Parameters, gradient_bounds};
use crate::file::{File, Refusal};
use crate::ops::{into_f64, matrix};
use crate::optimizer::Asked;
use crate::report::Table;
use crate::tolerance::{DOUBLE, Precision, SINGLE};

/// The oracle in `f32` may be so far from the file, in every loss and every final weight after hundreds of
/// steps: a thousand roundings that all add up, which those of a run do not.
const SINGLE_RUN: f64 = 1e-4;
/// Every other engine in `f32` may be so many times as far as the oracle is. That says how far this run carries
/// roundings; of all that a step does, WGSL lets `exp` be off the most: by 3 + 2|x| ULP, at |x| = 2.5 by 16
/// times the ½ ULP of a CPU.
const TIMES_ORACLE: f64 = 16.0;
/// The same in `f64` with the file's own learning rate: hundreds of steps whose roundings, 1e-16
/// each, the run amplifies by less than a thousand.
const DOUBLE_RUN: f64 = 1e-12;
/// An example whose two largest logits are closer than the weights' tolerance makes them may be
/// classified either way; among 10,000 there are few such.
const UNDECIDED: f64 = 2.0;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Activation {
    Relu,
    Sigmoid,
    Tanh,
}

/// What a file says.
struct Training {
    optimizer: Asked,
    activation: Option<Activation>,
    learning_rate: f64,
    batch: usize,
    indices: Vec<u32>,
    init: Parameters,
    first_gradient: Vec<Vec<f64>>,
    losses: Vec<f64>,
    last: Vec<Vec<f64>>,
    accuracy: f64,
}

/// How far an engine may be from a file.
#[derive(Clone, Copy)]
struct Allowed {
    losses: f64,
    last: f64,
}

impl Allowed {
    fn all(allowed: f64) -> Self {
        Self {
            losses: allowed,
            last: allowed,
        }
    }

    /// Of engines in `f32`, from the oracle in both precisions; at least the rounding of the result itself.
    fn from_oracle(single: &Run, double: &Run) -> Self {
        let largest = |single: &[f64], double: &[f64]| {
            let distance = |(single, double): (&f64, &f64)| {
                let rounding = SINGLE.unit * double.abs();
                (single - double).abs().max(rounding)
            };
            let distances = single.iter().zip(double).map(distance);
            SINGLE_RUN.min(TIMES_ORACLE * distances.fold(0.0, f64::max))
        };
        Self {
            losses: largest(&single.losses, &double.losses),
            last: largest(&single.last.concat(), &double.last.concat()),
        }
    }
}

/// What an engine made of it; parameters in the order w1, b1, w2, …
struct Run {
    first_gradient: Vec<Vec<f64>>,
    losses: Vec<f64>,
    last: Vec<Vec<f64>>,
    accuracy: f64,
}

/// `None` as the data set reads and refuses all the same, but runs nothing.
pub(crate) fn check(
    file: &File,
    gpu: &Gpu,
    mnist: Option<&Split>,
    table: &mut Table,
) -> Result<(), Refusal> {
    let examples = mnist.map_or(usize::MAX, |mnist| mnist.train.len());
    let training = Training::read(file, examples)?;
    file.all_read()?;
    let Some(mnist) = mnist else {
        return Ok(());
    };
    let failed = |engine: &'static str| move |error| file.failed(format!("{engine}: {error}"));
    #[expect(clippy::cast_possible_truncation, reason = "the crate's own type")]
    let rounding = f64::from(training.learning_rate as f32) / training.learning_rate - 1.0;
    // With a learning rate larger by a part δ, n steps get as far as n + nδ would: the nδ-th part
    // of a step, which changes a loss or a weight by less than 1. Other hyperparameters are rounded
    // to `f32` too, and no more than a run in `f32` is asked for.
    let of_rate = training.losses.len() as f64 * rounding.abs();
    let engine = "oracle f64";
    let exact = training.by_oracle::<f64>(mnist).map_err(failed(engine))?;
    let double = Allowed::all(DOUBLE_RUN);
    training.compare(file, table, mnist, (engine, DOUBLE, double), &exact);
    let engine = "oracle f32";
    let run = training.by_oracle::<f32>(mnist).map_err(failed(engine))?;
    let most = Allowed::all(SINGLE_RUN);
    training.compare(file, table, mnist, (engine, SINGLE, most), &run);
    let single = Allowed::from_oracle(&run, &exact);
    let engine = "cpu::Trainer<f64>";
    let run = training
        .by_reference::<f64>(mnist)
        .map_err(failed(engine))?;
    let double = match training.optimizer.is_plain() {
        true => Allowed::all(DOUBLE_RUN + of_rate),
        false => single,
    };
    training.compare(file, table, mnist, (engine, DOUBLE, double), &run);
    let engine = "cpu::Trainer<f32>";
    let run = training
        .by_reference::<f32>(mnist)
        .map_err(failed(engine))?;
    training.compare(file, table, mnist, (engine, SINGLE, single), &run);
    for (engine, plan) in [
        ("GPU Trainer, layers", StepPlan::Layers),
        ("GPU Trainer, fused", StepPlan::Fused),
    ] {
        let run = match training.by_gpu(gpu, mnist, plan) {
            // The other plan has checked the file.
            Err(Error::Plan(_)) => continue,
            run => run.map_err(failed(engine))?,
        };
        training.compare(file, table, mnist, (engine, SINGLE, single), &run);
    }
    Ok(())
}

impl Training {
    fn read(file: &File, examples: usize) -> Result<Self, Refusal> {
        let loss = file.key("loss")?;
        if loss != "softmax_cross_entropy" {
            return Err(file.unknown("loss", loss));
        }
        let learning_rate = file.number("learning_rate")?;
        let learning_rate: f64 = match learning_rate {
            Some(learning_rate) => learning_rate,
            None => return Err(file.failed("metadata key \"learning_rate\" is missing")),
        };
        let widths = widths(file)?;
        let [steps, batch] = file.shape("indices")?;
        for (key, found) in [("steps", steps), ("batch", batch)] {
            if file
                .number(key)?
                .is_some_and(|stated: usize| stated != found)
            {
                let why = format!("metadata key \"{key}\" is not {found}, as of tensor indices");
                return Err(file.failed(why));
            }
        }
        // Without a hidden layer there is nothing to activate.
        let activation = match file.find("activation") {
            _ if widths.len() == 2 => None,
            Some("relu") => Some(Activation::Relu),
            Some("sigmoid") => Some(Activation::Sigmoid),
            Some("tanh") => Some(Activation::Tanh),
            Some(other) => return Err(file.unknown("activation", other)),
            None => return Err(file.failed("metadata key \"activation\" is missing")),
        };
        let layers = || (1..).zip(widths.windows(2).map(|pair| [pair[0], pair[1]]));
        let init = layers().map(|(i, shape)| {
            let bias = [1, shape[1]];
            let weight = file.f32(&format!("init.w{i}"), shape)?;
            let of_bias = file.f32(&format!("init.b{i}"), bias)?;
            Ok([matrix(shape, &weight), matrix(bias, &of_bias)])
        });
        let all = |role: &str| {
            let pairs = layers().flat_map(|(i, shape)| {
                [
                    (format!("{role}.w{i}"), shape),
                    (format!("{role}.b{i}"), [1, shape[1]]),
                ]
            });
            pairs
                .map(|(name, shape)| file.f64(&name, shape))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            optimizer: Asked::read(file)?,
            activation,
            learning_rate,
            batch,
            indices: file.u32("indices", [steps, batch], examples)?,
            init: init.collect::<Result<_, Refusal>>()?,
            first_gradient: all("first_gradient")?,
            losses: file.f64("losses", [1, steps])?,
            last: all("final")?,
            accuracy: file.f64("test_accuracy", [1, 1])?[0],
        })
    }

    fn spec(&self) -> Sequential {
        let mut spec = Sequential::input(self.init[0][0].nrows());
        for (i, [_, bias]) in self.init.iter().enumerate() {
            if i > 0 {
                spec = match self.activation {
                    Some(Activation::Relu) => spec.layer(Relu),
                    Some(Activation::Sigmoid) => spec.layer(Sigmoid),
                    Some(Activation::Tanh) => spec.layer(Tanh),
                    None => spec,
                };
            }
            spec = spec.layer(Linear::new(bias.ncols()));
        }
        spec
    }

    /// Initial parameters as layers keep them: none for an activation.
    fn parameters<F: Float>(&self) -> Vec<Vec<Array2<F>>> {
        let mut layers = Vec::new();
        for (i, pair) in self.init.iter().enumerate() {
            if i > 0 && self.activation.is_some() {
                layers.push(Vec::new());
            }
            let of_f32 = |value: &Array2<f32>| value.mapv(|value| F::from_f64(value.into()));
            layers.push(pair.iter().map(of_f32).collect());
        }
        layers
    }

    fn minibatch(&self, mnist: &Split, step: usize) -> (Array2<u8>, Vec<u32>) {
        let indices = &self.indices[step * self.batch..][..self.batch];
        let rows: Vec<&[u8]> = indices
            .iter()
            .map(|&index| mnist.train.row(index as usize))
            .collect();
        let pixels = Array2::from_shape_fn((self.batch, mnist.train.width()), |(r, c)| rows[r][c]);
        let labels = mnist.train.labels().indices();
        (
            pixels,
            indices
                .iter()
                .map(|&index| labels[index as usize])
                .collect(),
        )
    }

    fn sampling(&self) -> Sampling {
        Sampling::Listed(self.indices.clone())
    }

    /// The learning rate in the crate's own type.
    fn rate(&self) -> f32 {
        #[expect(clippy::cast_possible_truncation, reason = "the crate's own type")]
        let rate = self.learning_rate as f32;
        rate
    }

    /// The reference's network and update, with the learning rate as the file has it: `f32`, the
    /// type of the trainers', rounds 0.1 by 1.5e-8.
    fn by_oracle<F: Float>(&self, mnist: &Split) -> Result<Run, Error> {
        let unit = |pixel: u8| F::from_f64(pixel.into()) / F::from_f64(255.0);
        let mut network = cpu::Network::<F>::new(&self.spec())?;
        network
            .parameters_mut()
            .clone_from_slice(&self.parameters());
        let (rule, kept) = self.optimizer.rule();
        let zeros = |parameter: &Array2<F>| vec![Array2::zeros(parameter.raw_dim()); kept];
        let parameters = network.parameters().iter().flatten();
        let mut state: Vec<_> = parameters.map(zeros).collect();
        let (mut losses, mut first_gradient) = (Vec::new(), Vec::new());
        for step in 0..self.losses.len() {
            let (pixels, labels) = self.minibatch(mnist, step);
            let x = pixels.mapv(unit);
            losses.push(network.loss(x.view(), &labels).unwrap().into_f64());
            let mut gradient = network.gradient(x.view(), &labels).unwrap();
            if step == 0 {
                first_gradient = flat(&gradient);
            }
            let rule = F::rule(&rule);
            rule.prepare(&mut gradient);
            let parameters = network.parameters_mut().iter_mut().flatten();
            let at = Moment {
                step: step as u64,
                learning_rate: F::from_f64(self.learning_rate),
            };
            let gradients = gradient.iter().flatten().zip(&mut state);
            for (parameter, (gradient, state)) in parameters.zip(gradients) {
                rule.update(at, parameter, gradient, state);
            }
        }
        let test = &mnist.test;
        let x = matrix([test.len(), test.width()], test.features()).mapv(unit);
        Ok(Run {
            first_gradient,
            losses,
            last: flat(network.parameters()),
            accuracy: network.accuracy(x.view(), test.labels().indices()).unwrap(),
        })
    }

    fn by_reference<F: Float>(&self, mnist: &Split) -> Result<Run, Error> {
        let (spec, sampling) = (self.spec(), self.sampling());
        let optimizer = self.optimizer.build(self.rate());
        let mut trainer =
            cpu::Trainer::<F>::new(&spec, optimizer, &mnist.train, self.batch, sampling)?;
        trainer.set_parameters(&self.parameters())?;
        let (pixels, labels) = self.minibatch(mnist, 0);
        let x = pixels.mapv(|pixel| F::from_f64(pixel.into()) / F::from_f64(255.0));
        let first_gradient = flat(&trainer.network().gradient(x.view(), &labels).unwrap());
        let losses = trainer.steps(self.losses.len())?;
        Ok(Run {
            first_gradient,
            losses: losses.into_iter().map(Float::into_f64).collect(),
            last: flat(trainer.network().parameters()),
            accuracy: trainer.evaluate(&mnist.test)?.accuracy.unwrap(),
        })
    }

    fn by_gpu(&self, gpu: &Gpu, mnist: &Split, plan: StepPlan) -> Result<Run, Error> {
        let mut model = self.spec().build(gpu)?;
        model.set_parameters(&self.parameters())?;
        let (pixels, labels) = self.minibatch(mnist, 0);
        let x = pixels.mapv(|pixel| f32::from(pixel) / 255.0);
        let labels = Labels::from_classes(labels, mnist.train.labels().classes())?;
        let first_gradient = flat(&model.gradient(x.view(), &labels)?);
        let (loss, optimizer) = (SoftmaxCrossEntropy, self.optimizer.build(self.rate()));
        let (train, sampling) = (&mnist.train, self.sampling());
        let mut trainer =
            Trainer::with_plan(model, loss, optimizer, train, self.batch, sampling, plan)?;
        let losses = trainer.steps(self.losses.len())?;
        Ok(Run {
            first_gradient,
            losses: losses.into_iter().map(f64::from).collect(),
            last: flat(&trainer.model().parameters()?),
            accuracy: trainer.evaluate(&mnist.test)?.accuracy.unwrap(),
        })
    }

    fn compare(
        &self,
        file: &File,
        table: &mut Table,
        mnist: &Split,
        (engine, precision, allowed): (&str, Precision, Allowed),
        run: &Run,
    ) {
        let place = |what| [file.name.as_str(), what, "", engine];
        let (pixels, labels) = self.minibatch(mnist, 0);
        let bounds = gradient_bounds(precision, self.activation, &self.init, &pixels, &labels);
        let [found, expected] = [&run.first_gradient, &self.first_gradient].map(|all| all.concat());
        table.compare(place("first_gradient"), &found, &expected, |at| bounds[at]);
        table.compare(place("losses"), &run.losses, &self.losses, |_| {
            allowed.losses
        });
        let [found, expected] = [&run.last, &self.last].map(|all| all.concat());
        table.compare(place("final"), &found, &expected, |_| allowed.last);
        let examples = mnist.test.len() as f64;
        let [found, expected] =
            [run.accuracy, self.accuracy].map(|share| (share * examples).round());
        table.compare(
            place("test_accuracy_examples"),
            &[found],
            &[expected],
            |_| UNDECIDED,
        );
    }
}

/// Inputs and then outputs of every layer, from the tensors; the metadata must say the same.
fn widths(file: &File) -> Result<Vec<usize>, Refusal> {
    let stated = file.key("widths")?;
    let [inputs, _] = file.shape("init.w1")?;
    let mut widths = vec![inputs];
    let is_stated = |layer| layer < stated.split(',').count();
    let is_there = |layer| file.tensors.contains_key(&format!("init.w{layer}"));
    while is_stated(widths.len()) || is_there(widths.len()) {
        widths.push(file.shape(&format!("init.w{}", widths.len()))?[1]);
    }
    let found: Vec<String> = widths.iter().map(ToString::to_string).collect();
    if stated
        .split(',')
        .map(str::trim)
        .ne(found.iter().map(String::as_str))
    {
        let found = found.join(",");
        return Err(file.failed(format!(
            "metadata key \"widths\" is \"{stated}\", but the tensors are of {found}"
        )));
    }
    Ok(widths)
}

fn flat<F: Float>(layers: &[Vec<Array2<F>>]) -> Vec<Vec<f64>> {
    layers.iter().flatten().map(into_f64).collect()
}
