//! Golden trainings. The loss of every step, the first gradient, the final weights and the outputs of the trained
//! network are compared with a file, for whole runs of the reference in both precisions, of the CPU engine, and of the
//! GPU.

use ndarray::{Array2, Axis};
use wgrad::data::{Dataset, Examples, Labels, Sampling, Split, Table as Rows};
use wgrad::distributed::{Distribution, Threads};
use wgrad::ops::Loss as _;
use wgrad::reference::{self, Draw, Float, Mode, UpdateStep};
use wgrad::{Device, Error, Evaluation, Fusion, Gpu, Parameters, Trainer, cpu};

use crate::bounds::{Uncertain, gradient_bounds};
use crate::file::{File, Refusal};
use crate::losses::LossSpec;
use crate::network::{Activation, Network};
use crate::ops::{into_f64, matrix};
use crate::optimizer::OptimizerSpec;
use crate::report::Table;
use crate::tolerance::{DOUBLE, DOUBLE_ENGINE, Precision, SINGLE};

/// The tolerance of the `f32` oracle (the reference) after hundreds of steps: for every loss, every final weight and,
/// relative to the largest output, every output. It would suffice for a thousand roundings that all add up. In a run,
/// roundings partly cancel.
const SINGLE_RUN: f64 = 1e-4;
/// The tolerance of every other `f32` engine, as a multiple of the oracle's error, which shows how much this run
/// amplifies roundings. Of all operations in a step, `exp` may have the largest error in WGSL: 3 + 2|x| ULP, which at
/// |x| = 2.5 is 16 times the ½ ULP of a CPU.
const TIMES_ORACLE: f64 = 16.0;
/// The tolerance of the `f64` oracle with the file's own learning rate. Hundreds of steps have roundings of 1e-16 each,
/// and the run amplifies them by less than a thousand.
const DOUBLE_RUN: f64 = 1e-12;
/// The tolerance of the number of correct test examples. If the two largest logits of an example are very close, either
/// class may be predicted. Among 10,000 examples, there are few such examples.
const UNDECIDED: f64 = 2.0;

/// The targets of the examples, row by row.
#[derive(Debug)]
pub(crate) enum Compared {
    Classes(Vec<u32>),
    Values(Array2<f32>),
}

impl Compared {
    fn rows(&self, indices: &[u32]) -> Self {
        match self {
            Self::Classes(labels) => {
                let labels = indices.iter().map(|&index| labels[index as usize]);
                Self::Classes(labels.collect())
            }
            Self::Values(values) => Self::Values(selected(values, indices)),
        }
    }

    /// Returns the target values in the precision `F`, or an empty array for classes.
    fn values<F: Float>(&self) -> Array2<F> {
        match self {
            Self::Classes(_) => Array2::zeros((0, 0)),
            Self::Values(values) => values.mapv(|value| F::from_f64(value.into())),
        }
    }

    /// Returns the mean loss of these outputs, and its gradient with respect to the outputs.
    pub(crate) fn loss<F: Float>(
        &self,
        criterion: &reference::Criterion,
        outputs: &Array2<F>,
    ) -> (F, Array2<F>) {
        let mut doutputs = outputs.mapv(|_| F::nan());
        let expected = self.values();
        let targets = self.targets(&expected);
        let pass = reference::LossPass::new(outputs.view(), targets, doutputs.view_mut());
        let loss = F::criterion(criterion).forward_backward(pass);
        (loss, doutputs)
    }

    fn targets<'a, F>(&'a self, values: &'a Array2<F>) -> reference::Targets<'a, F> {
        match self {
            Self::Classes(labels) => reference::Targets::Classes(labels),
            Self::Values(_) => reference::Targets::Values(values.view()),
        }
    }
}

/// The examples of a training.
#[derive(Debug)]
enum Data {
    Mnist,
    Rows { x: Array2<f32>, targets: Compared },
}

/// The features of a minibatch.
#[derive(Debug)]
enum Features {
    Pixels(Array2<u8>),
    Floats(Array2<f32>),
}

impl Features {
    fn get<F: Float>(&self) -> Array2<F> {
        match self {
            Self::Pixels(pixels) => pixels.mapv(unit),
            Self::Floats(floats) => floats.mapv(|value| F::from_f64(value.into())),
        }
    }

    fn uncertain(&self, precision: Precision) -> Uncertain {
        match self {
            Self::Pixels(pixels) => Uncertain::pixels(precision, pixels),
            Self::Floats(floats) => Uncertain::exact(floats.mapv(f64::from)),
        }
    }
}

/// What the file says about the trained network.
#[derive(Debug)]
enum Question {
    /// The number of MNIST's test images that the network classifies correctly.
    Hits(f64),
    /// The network's outputs for the first rows of MNIST's test images, or of the examples.
    Outputs(Array2<f64>),
}

impl Question {
    fn expected(&self) -> Vec<f64> {
        match self {
            Self::Hits(hits) => vec![*hits],
            Self::Outputs(outputs) => into_f64(outputs),
        }
    }
}

/// The contents of a golden file of a training.
struct Training {
    optimizer: OptimizerSpec,
    loss: LossSpec,
    network: Network,
    data: Data,
    learning_rate: f64,
    batch: usize,
    indices: Vec<u32>,
    /// The initial weights and biases, in the order of the layers.
    init: Vec<Array2<f32>>,
    first_gradient: Vec<f64>,
    losses: Vec<f64>,
    last: Vec<f64>,
    /// The layers' final state.
    last_state: Vec<f64>,
    /// The layers' initial state, if it differs from the usual initial state (see [`Training::other_start`]).
    start: Option<Vec<Array2<f64>>>,
    question: Question,
}

/// The tolerances of an engine's results.
#[derive(Clone, Copy)]
struct Allowed {
    losses: f64,
    last: f64,
    state: f64,
    evaluated: f64,
}

impl Allowed {
    /// Returns the same tolerance for all results. For outputs and state, it is relative to the largest value.
    fn all(allowed: f64, of_start: f64, [outputs, state]: [f64; 2]) -> Self {
        Self {
            losses: allowed,
            last: allowed,
            state: (allowed + of_start) * state,
            evaluated: (allowed + of_start) * outputs,
        }
    }

    /// Returns the tolerances of `f32` engines, from the difference between the oracle's results in both precisions.
    /// The difference counts as at least one rounding of the result.
    fn from_oracle(single: &Run, double: &Run, [outputs, state]: [f64; 2]) -> Self {
        let largest = |single: &[f64], double: &[f64]| {
            let distance = |(single, double): (&f64, &f64)| {
                let rounding = SINGLE.unit * double.abs();
                (single - double).abs().max(rounding)
            };
            let distances = single.iter().zip(double).map(distance);
            TIMES_ORACLE * distances.fold(0.0, f64::max)
        };
        Self {
            losses: largest(&single.losses, &double.losses).min(SINGLE_RUN),
            last: largest(&single.last, &double.last).min(SINGLE_RUN),
            state: largest(&single.state, &double.state).min(SINGLE_RUN * state),
            evaluated: largest(&single.evaluated, &double.evaluated).min(SINGLE_RUN * outputs),
        }
    }
}

/// The results of a training on one engine.
struct Run {
    /// `None` for an engine whose gradients are not accessible: training by several processes.
    first_gradient: Option<Vec<f64>>,
    losses: Vec<f64>,
    last: Vec<f64>,
    state: Vec<f64>,
    evaluated: Vec<f64>,
}

/// Checks a training of a chain of `Linear` layers on MNIST. Without MNIST, the file is read and may be refused, but no
/// training is run.
pub(crate) fn check(
    file: &File,
    gpu: &Gpu,
    mnist: Option<&Split>,
    table: &mut Table,
) -> Result<(), Refusal> {
    run(file, Training::of_chain(file, mnist)?, gpu, mnist, table)
}

/// Checks a training of a network that the file describes. Without the MNIST that the file needs, no training is run.
pub(crate) fn check_network(
    file: &File,
    gpu: &Gpu,
    mnist: Option<&Split>,
    table: &mut Table,
) -> Result<(), Refusal> {
    run(file, Training::of_network(file, mnist)?, gpu, mnist, table)
}

fn run(
    file: &File,
    mut training: Training,
    gpu: &Gpu,
    mnist: Option<&Split>,
    table: &mut Table,
) -> Result<(), Refusal> {
    file.all_read()?;
    if mnist.is_none() && matches!(training.data, Data::Mnist) {
        return Ok(());
    }
    let failed = |engine: &'static str| move |error| file.failed(format!("{engine}: {error}"));
    #[expect(clippy::cast_possible_truncation, reason = "the crate's own type")]
    let of_rate = f64::from(training.learning_rate as f32) / training.learning_rate - 1.0;
    let steps = training.losses.len() as f64;
    // If the learning rate has a relative error δ, n steps get as far as n + nδ steps would. The difference is nδ times
    // the effect of a step, which changes a loss or a weight by less than 1. The same holds for settings of layers and
    // losses with a relative error δ. Other hyperparameters are also rounded to `f32`. With these, only the accuracy of
    // an `f32` run is required.
    let of_rate = steps * of_rate.abs();
    let [of_slopes, of_settings] = training.network.rounding.map(|part| steps * part);
    let of_settings = of_settings + steps * training.loss.rounding();
    let largest = |values: &[f64]| {
        values
            .iter()
            .fold(1.0, |all: f64, value| all.max(value.abs()))
    };
    let outputs = [
        largest(&training.question.expected()),
        largest(&training.last_state),
    ];
    let engine = "oracle f64";
    let mut exact = training.by_oracle::<f64>(mnist).map_err(failed(engine))?;
    training.start = training.other_start(&exact.state);
    if training.start.is_some() {
        exact = training.by_oracle::<f64>(mnist).map_err(failed(engine))?;
    }
    let of_start = training.of_start();
    let all = |allowed| Allowed::all(allowed, of_start, outputs);
    let double = all(DOUBLE_RUN + of_slopes);
    training.compare(file, table, mnist, (engine, DOUBLE, double), &exact);
    let engine = "oracle f32";
    let run = training.by_oracle::<f32>(mnist).map_err(failed(engine))?;
    let most = all(SINGLE_RUN);
    training.compare(file, table, mnist, (engine, SINGLE, most), &run);
    let single = Allowed::from_oracle(&run, &exact, outputs);
    let engine = "cpu::Trainer<f64>";
    let run = training.by_cpu::<f64>(mnist).map_err(failed(engine))?;
    let double = if training.optimizer.is_plain() {
        all(DOUBLE_RUN + of_settings + of_rate)
    } else {
        single
    };
    training.compare(file, table, mnist, (engine, DOUBLE_ENGINE, double), &run);
    let engine = "cpu::Trainer<f32>";
    let run = training.by_cpu::<f32>(mnist).map_err(failed(engine))?;
    training.compare(file, table, mnist, (engine, SINGLE, single), &run);
    for (engine, fusion) in [
        ("GPU Trainer, layers", Fusion::Layers),
        ("GPU Trainer, fused", Fusion::Fused),
    ] {
        let run = match training.by_gpu(gpu, mnist, fusion) {
            // This network has no such plan. The other plan has checked the file.
            Err(Error::Plan(_)) => continue,
            run => run.map_err(failed(engine))?,
        };
        training.compare(file, table, mnist, (engine, SINGLE, single), &run);
    }
    let Some(shards) = training.shards() else {
        return Ok(());
    };
    for (engine, device) in [
        ("CPU, 2 processes", Device::cpu("a test")),
        ("GPU, 2 processes", Device::with_gpu(gpu.clone(), "a test")),
    ] {
        let run = training.by_processes(&device, mnist, shards);
        let run = run.map_err(failed(engine))?;
        training.compare(file, table, mnist, (engine, SINGLE, single), &run);
    }
    Ok(())
}

impl Training {
    fn of_chain(file: &File, mnist: Option<&Split>) -> Result<Self, Refusal> {
        let widths = widths(file)?;
        // Without a hidden layer, there is no activation.
        let activation = match file.find("activation") {
            _ if widths.len() == 2 => None,
            Some("relu") => Some(Activation::Relu),
            Some("sigmoid") => Some(Activation::Sigmoid),
            Some("tanh") => Some(Activation::Tanh),
            Some(other) => return Err(file.unknown("activation", other)),
            None => return Err(file.failed("metadata key \"activation\" is missing")),
        };
        let network = Network::chain(&widths, activation);
        let accuracy = file.f64("test_accuracy", [])?[0];
        let examples = mnist.map_or(1, |mnist| mnist.test.len()) as f64;
        let question = Question::Hits((accuracy * examples).round());
        Self::read(file, mnist, network, Data::Mnist, question)
    }

    fn of_network(file: &File, mnist: Option<&Split>) -> Result<Self, Refusal> {
        let network = Network::read(file)?;
        let (data, evaluable) = match file.key("data")? {
            "mnist" => (
                Data::Mnist,
                mnist.map_or(usize::MAX, |mnist| mnist.test.len()),
            ),
            "tensors" => {
                let rows = file.extents("t")?[0];
                let x = file.features(
                    "x",
                    &[&[rows], &network.input[..]].concat(),
                    network.indices_below,
                )?;
                let x = matrix([rows, network.inputs()], &x);
                let outputs = network.outputs();
                // Targets with one value per row may be a vector in the file.
                let of_values = match file.extents("t")?[..] {
                    [rows] if outputs == 1 => vec![rows],
                    _ => vec![rows, outputs],
                };
                let is_of_labels = file.find("loss") == Some("binary_cross_entropy_with_logits");
                let values = |values: &[f32]| Compared::Values(matrix([rows, outputs], values));
                let targets = match file.is_i32("t")? {
                    true if is_of_labels => {
                        let labels = file.u32("t", of_values, 2)?;
                        let labels: Vec<f32> = labels.into_iter().map(|it| it as f32).collect();
                        values(&labels)
                    }
                    true => Compared::Classes(file.u32("t", [rows], outputs)?),
                    false => values(&file.f32("t", of_values)?),
                };
                (Data::Rows { x, targets }, rows)
            }
            other => return Err(file.unknown("data", other)),
        };
        let rows = file.extents("evaluated")?[0];
        if rows > evaluable {
            let why = format!("tensor evaluated has {rows} rows, and there are {evaluable}");
            return Err(file.failed(why));
        }
        let shape = [rows, network.outputs()];
        let question = Question::Outputs(matrix(shape, &file.f64("evaluated", shape)?));
        Self::read(file, mnist, network, data, question)
    }

    fn read(
        file: &File,
        mnist: Option<&Split>,
        network: Network,
        data: Data,
        question: Question,
    ) -> Result<Self, Refusal> {
        let targets = match &data {
            Data::Mnist => None,
            Data::Rows { targets, .. } => Some(targets),
        };
        let loss = LossSpec::read(file, targets)?;
        let checked = loss.loss().check(network.outputs());
        checked.map_err(|error| file.failed(format!("metadata key \"loss\": {error}")))?;
        let examples = match (&data, mnist) {
            (Data::Rows { x, .. }, _) => x.nrows(),
            (Data::Mnist, Some(mnist)) => {
                let found = [mnist.train.width(), mnist.train.labels().classes()];
                let network = [network.inputs(), network.outputs()];
                if found != network {
                    let why =
                        format!("the network has {network:?} inputs and outputs, MNIST {found:?}");
                    return Err(file.failed(why));
                }
                mnist.train.len()
            }
            (Data::Mnist, None) => usize::MAX,
        };
        let Some(learning_rate) = file.number("learning_rate")? else {
            return Err(file.failed("metadata key \"learning_rate\" is missing"));
        };
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
        let all = |role: &str| {
            let all = network.parameters(role, |name, shape| file.f64(name, shape))?;
            Ok(flat(&all))
        };
        Ok(Self {
            optimizer: OptimizerSpec::read(file)?,
            loss,
            learning_rate,
            batch,
            indices: file.u32("indices", [steps, batch], examples)?,
            init: network.parameters("init", |name, shape| file.f32(name, shape))?,
            first_gradient: all("first_gradient")?,
            losses: file.f64("losses", [steps])?,
            last: all("final")?,
            last_state: flat(&network.state("final", |name, shape| file.f64(name, shape))?),
            start: None,
            question,
            data,
            network,
        })
    }

    /// Returns the initial parameters in the precision `F`.
    fn init<F: Float>(&self) -> Vec<Array2<F>> {
        let of_f32 = |value: &Array2<f32>| value.mapv(|value| F::from_f64(value.into()));
        self.init.iter().map(of_f32).collect()
    }

    fn first_state<F: Float>(&self) -> Vec<Array2<F>> {
        match &self.start {
            None => self.network.first_state(),
            Some(start) => {
                let start = start.iter();
                start.map(|value| value.mapv(F::from_f64)).collect()
            }
        }
    }

    /// Returns the initial state that best explains the file's final state. `found` is the final state of a run from
    /// the usual initial state.
    ///
    /// A file does not contain its initial state. The script that wrote the file may have determined the network's
    /// shapes by a pass over rows of zeros, which changed the running values by one step. Returns `None` if the usual
    /// initial state fits best.
    fn other_start(&self, found: &[f64]) -> Option<Vec<Array2<f64>>> {
        let (init, usual) = (self.init::<f64>(), self.network.first_state::<f64>());
        let left = self.network.left_of_state(self.losses.len());
        let after_zeros = |rows| {
            let mut state = usual.clone();
            let mode = Mode::Training(Draw::new([0; 2], 0));
            let zeros = Array2::zeros((rows, self.network.inputs()));
            self.network.values(&init, &mut state, zeros, mode);
            state
        };
        // Each step multiplies the previous state by a constant factor, and adds a part that does not depend on the
        // previous state.
        let distance = |start: &Vec<Array2<f64>>| {
            let changes = flat(start).into_iter().zip(flat(&usual));
            let changes = changes
                .zip(&left)
                .map(|((start, usual), left)| (start - usual) * left);
            let all = found.iter().zip(changes).zip(&self.last_state);
            all.fold(0.0, |most: f64, ((found, change), last)| {
                most.max((found + change - last).abs())
            })
        };
        let starts = [2, 1, self.batch].map(after_zeros);
        let starts = std::iter::once(usual.clone()).chain(starts);
        let nearest = starts.min_by(|a, b| distance(a).total_cmp(&distance(b)))?;
        (nearest != usual).then_some(nearest)
    }

    /// Returns the error of the final state that is caused by [`Training::other_start`]: it computes the initial state
    /// from parameters that the file stores rounded to `f32`.
    fn of_start(&self) -> f64 {
        let Some(start) = &self.start else { return 0.0 };
        let left = self.network.left_of_state(self.losses.len());
        let each = flat(start).into_iter().zip(left);
        let each = each.map(|(start, left)| start.abs().max(1.0) * left);
        SINGLE.unit * each.fold(0.0, f64::max)
    }

    fn minibatch(&self, mnist: Option<&Split>, step: usize) -> (Features, Compared) {
        let indices = &self.indices[step * self.batch..][..self.batch];
        match &self.data {
            Data::Mnist => {
                let train = &mnist.expect("MNIST, which is there").train;
                let pixel = |(row, column)| train.row(indices[row] as usize)[column];
                let pixels = Array2::from_shape_fn((self.batch, train.width()), pixel);
                let labels = Compared::Classes(train.labels().indices().to_vec());
                (Features::Pixels(pixels), labels.rows(indices))
            }
            Data::Rows { x, targets } => (
                Features::Floats(selected(x, indices)),
                targets.rows(indices),
            ),
        }
    }

    /// Returns the rows for which the trained network is evaluated.
    fn asked<F: Float>(&self, mnist: Option<&Split>) -> Array2<F> {
        let rows = |all: usize| match &self.question {
            Question::Hits(_) => all,
            Question::Outputs(outputs) => outputs.nrows(),
        };
        match &self.data {
            Data::Mnist => {
                let test = &mnist.expect("MNIST, which is there").test;
                let shape = [rows(test.len()), test.width()];
                matrix(shape, test.features()).mapv(unit)
            }
            Data::Rows { x, .. } => {
                let first = x.slice(ndarray::s![..rows(x.nrows()), ..]);
                first.mapv(|value| F::from_f64(value.into()))
            }
        }
    }

    /// Returns the trained network's result from its outputs for the rows of [`Training::asked`]: the number of correct
    /// classes, or the outputs themselves.
    fn answer<F: Float>(&self, mnist: Option<&Split>, outputs: &Array2<F>) -> Vec<f64> {
        let Question::Hits(_) = self.question else {
            return into_f64(outputs);
        };
        let labels = mnist.expect("MNIST, which is there").test.labels();
        let is_hit = |(row, &label): (ndarray::ArrayView1<'_, F>, &u32)| {
            let of_label = row[label as usize];
            let before = row
                .iter()
                .take(label as usize)
                .all(|&logit| logit < of_label);
            before && row.iter().all(|&logit| logit <= of_label)
        };
        let rows = outputs.outer_iter().zip(labels.indices());
        vec![rows.map(is_hit).filter(|&is_hit| is_hit).count() as f64]
    }

    fn examples(&self, mnist: Option<&Split>) -> Result<Examples, Error> {
        Ok(match &self.data {
            Data::Mnist => Examples::from(&mnist.expect("MNIST, which is there").train),
            Data::Rows { x, targets } => Examples::from(&match targets {
                Compared::Classes(labels) => {
                    let labels = Labels::from_classes(labels.clone(), self.network.outputs())?;
                    Rows::classification("golden", x.view(), labels)?
                }
                Compared::Values(values) => Rows::regression("golden", x.view(), values.view())?,
            }),
        })
    }

    fn sampling(&self) -> Sampling {
        Sampling::Listed(self.indices.clone())
    }

    /// Returns the learning rate in the crate's own type, `f32`.
    fn rate(&self) -> f32 {
        #[expect(clippy::cast_possible_truncation, reason = "the crate's own type")]
        let rate = self.learning_rate as f32;
        rate
    }

    /// Runs the reference of all layers, of the loss and of the update, with the file's learning rate in `f64`. The
    /// trainers' learning rate is `f32`; there, 0.1 has a relative rounding error of 1.5e-8.
    fn by_oracle<F: Float>(&self, mnist: Option<&Split>) -> Result<Run, Error> {
        let mut parameters = self.init::<F>();
        let mut layers_state = self.first_state::<F>();
        let (rule, kept) = self.optimizer.rule();
        let criterion = self.loss.criterion();
        let zeros = |parameter: &Array2<F>| vec![Array2::zeros(parameter.raw_dim()); kept];
        let mut state: Vec<_> = parameters.iter().map(zeros).collect();
        let mut losses = Vec::new();
        let mut first_gradient = Vec::new();
        for (count, step) in (0..self.losses.len()).zip(0..) {
            let (features, compared) = self.minibatch(mnist, count);
            let mode = Mode::Training(Draw::new([0; 2], step));
            let x = features.get();
            let values = self.network.values(&parameters, &mut layers_state, x, mode);
            let (loss, doutputs) = compared.loss(&criterion, values.output());
            losses.push(loss.into_f64());
            let mut gradients =
                self.network
                    .gradients(&parameters, &layers_state, &values, doutputs, mode);
            if step == 0 {
                first_gradient = flat(&gradients);
            }
            let rule = F::rule(&rule);
            rule.prepare(&mut gradients);
            let step = u64::from(step);
            let rate = self.learning_rate * self.optimizer.factor(step);
            let at = UpdateStep::new(step, F::from_f64(rate));
            let all = parameters.iter_mut().zip(gradients.iter().zip(&mut state));
            for (parameter, (gradient, state)) in all {
                let mut state: Vec<_> = state.iter_mut().map(|kept| kept.view_mut()).collect();
                rule.update(at, parameter.view_mut(), gradient.view(), &mut state);
            }
        }
        let state = flat(&layers_state);
        let asked = self.asked(mnist);
        let mode = Mode::Evaluation;
        let values = self
            .network
            .values(&parameters, &mut layers_state, asked, mode);
        Ok(Run {
            first_gradient: Some(first_gradient),
            losses,
            last: flat(&parameters),
            state,
            evaluated: self.answer(mnist, values.output()),
        })
    }

    fn by_cpu<F: Float>(&self, mnist: Option<&Split>) -> Result<Run, Error> {
        let optimizer = self.optimizer.build(self.rate());
        let spec = &self.network.spec;
        let examples = self.examples(mnist)?;
        let loss = self.loss.loss();
        let sampling = self.sampling();
        let mut trainer = cpu::Trainer::new(
            cpu::Network::<F>::new(spec).unwrap(),
            loss,
            optimizer,
            examples,
            self.batch,
            sampling,
        )?;
        trainer.set_group("*", self.optimizer.group())?;
        trainer.set_parameters(&self.network.named(&self.init()))?;
        if self.start.is_some() {
            trainer.set_state(&self.network.named_state(&self.first_state()))?;
        }
        let (features, compared) = self.minibatch(mnist, 0);
        let first_gradient = if self.network.has_state() {
            // Computes the gradient on a copy, because the gradient of a training step changes the state.
            let mut network = trainer.network().try_clone()?;
            let mut pass = network.pass(self.batch)?;
            pass.set_x(features.get().view())?;
            pass.forward(&mut network)?;
            let (_, dy) = compared.loss(&self.loss.loss().reference(), &pass.read_y()?);
            pass.set_dy(dy.view())?;
            pass.backward(&network)?;
            pass.read_gradients()?
        } else {
            let expected = compared.values();
            let x = features.get();
            let targets = compared.targets(&expected);
            let network = trainer.network();
            network.gradient(&self.loss.loss(), x.view(), targets)?
        };
        let losses = trainer.steps(self.losses.len())?;
        let evaluated = match (&self.question, mnist) {
            (Question::Hits(_), Some(mnist)) => hits(&trainer.evaluate(&mnist.test)?, &mnist.test),
            _ => into_f64(&trainer.network().predict(self.asked(mnist).view())?),
        };
        Ok(Run {
            first_gradient: Some(named_flat(&first_gradient)),
            losses: losses.into_iter().map(Float::into_f64).collect(),
            last: named_flat(&trainer.network().parameters()),
            state: named_flat(&trainer.network().state()),
            evaluated,
        })
    }

    fn by_gpu(&self, gpu: &Gpu, mnist: Option<&Split>, fusion: Fusion) -> Result<Run, Error> {
        let mut model = self.network.spec.build(gpu)?;
        model.set_parameters(&self.network.named(&self.init))?;
        if self.start.is_some() {
            model.set_state(&self.network.named_state(&self.first_state()))?;
        }
        let (features, compared) = self.minibatch(mnist, 0);
        let first_gradient = if self.network.has_state() {
            // Computes the gradient on a copy, because the gradient of a training step changes the state.
            let mut model = model.try_clone()?;
            let mut pass = model.pass(self.batch)?;
            pass.set_x(features.get().view())?;
            pass.forward(&mut model)?;
            let (_, dy) = compared.loss(&self.loss.loss().reference(), &pass.read_y()?);
            pass.set_dy(dy.view())?;
            pass.backward(&model)?;
            pass.read_gradients()?
        } else {
            let expected = compared.values();
            let targets = compared.targets(&expected);
            model.gradient(&self.loss.loss(), features.get().view(), targets)?
        };
        let loss = self.loss.loss();
        let optimizer = self.optimizer.build(self.rate());
        let examples = self.examples(mnist)?;
        let sampling = self.sampling();
        let mut trainer = Trainer::with_fusion(
            model, loss, optimizer, examples, self.batch, sampling, fusion,
        )?;
        trainer.set_group("*", self.optimizer.group())?;
        let losses = trainer.steps(self.losses.len())?;
        let evaluated = match (&self.question, mnist) {
            (Question::Hits(_), Some(mnist)) => hits(&trainer.evaluate(&mnist.test)?, &mnist.test),
            _ => into_f64(&trainer.model().predict(self.asked(mnist).view())?),
        };
        Ok(Run {
            first_gradient: Some(named_flat(&first_gradient)),
            losses: losses.into_iter().map(f64::from).collect(),
            last: named_flat(&trainer.model().parameters()?),
            state: named_flat(&trainer.model().state()?),
            evaluated,
        })
    }

    /// Returns the number of shards of a minibatch, if several processes can share it.
    fn shards(&self) -> Option<usize> {
        // Networks with state cannot be shared: each process would update the state from its own shard only.
        let is_shared = !self.network.has_state() && self.loss.is_mean_of_parts();
        let mut counts = [4, 2].into_iter().filter(|_| is_shared);
        counts.find(|&count| self.batch.is_multiple_of(count))
    }

    fn by_processes(
        &self,
        device: &Device,
        mnist: Option<&Split>,
        shards: usize,
    ) -> Result<Run, Error> {
        let examples = self.examples(mnist)?;
        let init = self.network.named(&self.init);
        let mut runs = Threads::run(2, |world| {
            let mut trainer = device.trainer(
                &self.network.spec,
                self.loss.loss(),
                self.optimizer.build(self.rate()),
                examples.clone(),
                self.batch / shards,
                self.sampling(),
            )?;
            trainer.set_group("*", self.optimizer.group())?;
            trainer.set_parameters(&init)?;
            trainer.accumulate(shards)?;
            trainer.distribute(Distribution::new(world))?;
            let losses = trainer.steps(self.losses.len())?;
            let evaluated = match (&self.question, mnist) {
                (Question::Hits(_), Some(mnist)) => {
                    let test = Examples::from(&mnist.test);
                    hits(&trainer.evaluate(&test)?, &mnist.test)
                }
                _ => into_f64(&trainer.predict(self.asked(mnist).view())?),
            };
            Ok::<_, Error>(Run {
                first_gradient: None,
                losses: losses.into_iter().map(f64::from).collect(),
                last: named_flat(&trainer.parameters()?),
                state: Vec::new(),
                evaluated,
            })
        })?;
        Ok(runs.swap_remove(0))
    }

    fn compare(
        &self,
        file: &File,
        table: &mut Table,
        mnist: Option<&Split>,
        (engine, precision, allowed): (&str, Precision, Allowed),
        run: &Run,
    ) {
        let place = |what| [file.name.as_str(), what, "", engine];
        let (features, compared) = self.minibatch(mnist, 0);
        let x = features.uncertain(precision);
        let bounds = gradient_bounds(
            precision,
            &self.network,
            &self.init,
            x,
            (&self.loss, &compared),
        );
        if let Some(found) = &run.first_gradient {
            let expected = &self.first_gradient;
            table.compare(place("first_gradient"), found, expected, |at| bounds[at]);
        }
        table.compare(place("losses"), &run.losses, &self.losses, |_| {
            allowed.losses
        });
        table.compare(place("final"), &run.last, &self.last, |_| allowed.last);
        if self.network.has_state() {
            let found = &run.state;
            let expected = &self.last_state;
            table.compare(place("final_state"), found, expected, |_| allowed.state);
        }
        let (what, allowed) = match self.question {
            Question::Hits(_) => ("test_accuracy_examples", UNDECIDED),
            Question::Outputs(_) => ("evaluated", allowed.evaluated),
        };
        let expected = self.question.expected();
        table.compare(place(what), &run.evaluated, &expected, |_| allowed);
    }
}

/// Returns the number of inputs, followed by the number of outputs of every layer, from the shapes of the tensors. The
/// metadata must agree with them.
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

fn unit<F: Float>(pixel: u8) -> F {
    F::from_f64(pixel.into()) / F::from_f64(255.0)
}

/// Returns the number of examples that a network classifies correctly.
fn hits(evaluation: &Evaluation, examples: &Dataset) -> Vec<f64> {
    let accuracy = evaluation.accuracy.expect("examples have labels");
    vec![(accuracy * examples.len() as f64).round()]
}

fn selected(values: &Array2<f32>, rows: &[u32]) -> Array2<f32> {
    let rows: Vec<usize> = rows.iter().map(|&row| row as usize).collect();
    values.select(Axis(0), &rows)
}

fn flat<F: Float>(parameters: &[Array2<F>]) -> Vec<f64> {
    parameters.iter().flat_map(into_f64).collect()
}

fn named_flat<F: Float>(parameters: &Parameters<F>) -> Vec<f64> {
    let values = parameters.iter().flat_map(|(_, value)| value);
    values.map(|value| value.into_f64()).collect()
}
