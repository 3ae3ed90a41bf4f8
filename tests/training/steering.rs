//! Trainings that the program changes between steps (learning rate, groups, frozen layers and others). They are
//! compared with the same trainings in PyTorch (`steering.py` in this folder), and are saved and resumed in the middle.

use std::collections::BTreeMap;
use std::sync::Arc;

use safetensors::SafeTensors;
use wgrad::data::{Sampling, Table};
use wgrad::ndarray::{Array2, ArrayD};
use wgrad::ops::{Adam, AdamW, Group, Linear, MeanSquaredError, Optimizer, Sgd, Tanh};
use wgrad::reference::Float;
use wgrad::{Parameters, Sequential, Trainer, cpu};

use crate::gpu::gpu;

const STEPS: usize = 30;
const BATCH: usize = 8;
/// The tolerance of the `f64` results: 30 steps with about a dozen roundings of 1e-16 each, which add up. Sums over
/// minibatches have a few more roundings, of smaller numbers.
const DOUBLE: f64 = 1e-14;
/// The tolerance of the CPU's `f32` results. The roundings of `f32` are 2²⁹ times as large as those of `f64`.
const SINGLE: f64 = DOUBLE * (1 << 29) as f64;
/// The tolerance of a GPU, as a multiple of the CPU's error. In WGSL, `tanh` and `sqrt` may have errors of several ULP.
const TIMES_CPU: f64 = 16.0;

type Values = BTreeMap<String, Vec<f64>>;

/// The golden file that `steering.py` has written.
struct File(SafeTensors<'static>);

impl File {
    fn open() -> Self {
        Self(SafeTensors::deserialize(include_bytes!("steering.safetensors")).unwrap())
    }

    fn floats(&self, name: &str) -> Array2<f32> {
        let view = self.0.tensor(name).unwrap();
        let numbers = view.data().chunks_exact(4);
        let numbers = numbers.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
        let &[rows, columns] = view.shape() else {
            return Array2::from_shape_vec((1, view.shape()[0]), numbers.collect()).unwrap();
        };
        Array2::from_shape_vec((rows, columns), numbers.collect()).unwrap()
    }

    fn doubles(&self, name: &str) -> ArrayD<f64> {
        let view = self.0.tensor(name).unwrap();
        let numbers = view.data().chunks_exact(8);
        let numbers = numbers.map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap()));
        ArrayD::from_shape_vec(view.shape(), numbers.collect()).unwrap()
    }

    fn indices(&self) -> Vec<u32> {
        let view = self.0.tensor("indices").unwrap();
        let numbers = view.data().chunks_exact(4);
        numbers
            .map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap()))
            .collect()
    }

    /// Returns PyTorch's results in this crate's layout, in which weights are (inputs, outputs).
    fn values(&self, role: &str) -> Values {
        let prefix = format!("{role}.");
        let names = self.0.names().into_iter();
        let names = names.filter_map(|name| name.strip_prefix(&prefix));
        let of = |name: &str| {
            let value = self.doubles(&format!("{prefix}{name}")).reversed_axes();
            (name.to_owned(), value.iter().copied().collect())
        };
        names.map(of).collect()
    }

    fn initial(&self) -> Parameters {
        let names = self.0.names().into_iter();
        let names = names.filter_map(|name| name.strip_prefix("init."));
        let of = |name: &str| {
            let value = self.floats(&format!("init.{name}")).into_dyn();
            let value = if name.ends_with("bias") {
                value.remove_axis(wgrad::ndarray::Axis(0))
            } else {
                value.reversed_axes()
            };
            (name.to_owned(), value)
        };
        names.map(of).collect()
    }
}

/// The operations that both trainers have.
trait Engine {
    fn new(file: &File, optimizer: Arc<dyn Optimizer>) -> Self;
    fn freeze(&mut self, parameters: &str);
    fn set_group(&mut self, parameters: &str, group: Group);
    fn average(&mut self, decay: f32);
    fn accumulate(&mut self, minibatches: usize);
    fn set_learning_rate(&mut self, rate: f32);
    fn set_optimizer(&mut self, optimizer: Arc<dyn Optimizer>);
    fn step(&mut self) -> f64;
    fn parameters(&self) -> Values;
    fn averaged(&self) -> Values;
}

/// A trainer that can be saved and resumed.
trait Saved {
    fn save(&self) -> Vec<u8>;
    fn resume(&mut self, file: &[u8]);
}

impl Saved for Trainer {
    fn save(&self) -> Vec<u8> {
        self.to_safetensors().unwrap()
    }

    fn resume(&mut self, file: &[u8]) {
        self.set_safetensors(file).unwrap();
    }
}

impl Saved for cpu::Trainer<f32> {
    fn save(&self) -> Vec<u8> {
        self.to_safetensors().unwrap()
    }

    fn resume(&mut self, file: &[u8]) {
        self.set_safetensors(file).unwrap();
    }
}

fn spec() -> Sequential {
    let hidden = Sequential::input(6).layer(Linear::new(12)).layer(Tanh);
    let hidden = hidden.layer(Linear::new(8)).layer(Tanh);
    hidden.layer(Linear::new(3))
}

fn rows(file: &File) -> (Table, Sampling) {
    let x = file.floats("x");
    let t = file.floats("t");
    let table = Table::regression("steered", x.view(), t.view()).unwrap();
    (table, Sampling::Listed(file.indices()))
}

fn values<F: Float>(parameters: &Parameters<F>) -> Values {
    let of = |(name, value): (&str, &ArrayD<F>)| {
        let numbers = value.iter().map(|&number| number.into_f64());
        (name.to_owned(), numbers.collect())
    };
    parameters.iter().map(of).collect()
}

/// Implements the calls that have the same names in both trainers.
macro_rules! steering {
    () => {
        fn freeze(&mut self, parameters: &str) {
            self.freeze(parameters).unwrap();
        }

        fn set_group(&mut self, parameters: &str, group: Group) {
            self.set_group(parameters, group).unwrap();
        }

        fn average(&mut self, decay: f32) {
            self.average(decay).unwrap();
        }

        fn accumulate(&mut self, minibatches: usize) {
            self.accumulate(minibatches).unwrap();
        }

        fn set_learning_rate(&mut self, rate: f32) {
            self.set_learning_rate(rate).unwrap();
        }

        fn set_optimizer(&mut self, optimizer: Arc<dyn Optimizer>) {
            self.set_optimizer(optimizer).unwrap();
        }

        fn step(&mut self) -> f64 {
            self.steps(1).unwrap()[0].into_f64()
        }
    };
}

impl Engine for Trainer {
    steering!();

    fn new(file: &File, optimizer: Arc<dyn Optimizer>) -> Self {
        let (table, sampling) = rows(file);
        let mut model = spec().build(gpu()).unwrap();
        model.set_parameters(&file.initial()).unwrap();
        Self::new(model, MeanSquaredError, optimizer, &table, BATCH, sampling).unwrap()
    }

    fn parameters(&self) -> Values {
        values(&self.model().parameters().unwrap())
    }

    fn averaged(&self) -> Values {
        let averaged = self.averaged().unwrap();
        averaged.as_ref().map(values).unwrap_or_default()
    }
}

impl<F: Float> Engine for cpu::Trainer<F> {
    steering!();

    fn new(file: &File, optimizer: Arc<dyn Optimizer>) -> Self {
        let (table, sampling) = rows(file);
        let mut network = cpu::Network::new(&spec()).unwrap();
        let initial = file.initial().mapv(|value| F::from_f64(value.into()));
        network.set_parameters(&initial).unwrap();
        Self::new(
            network,
            MeanSquaredError,
            optimizer,
            &table,
            BATCH,
            sampling,
        )
        .unwrap()
    }

    fn parameters(&self) -> Values {
        values(&self.network().parameters())
    }

    fn averaged(&self) -> Values {
        self.averaged()
            .unwrap()
            .as_ref()
            .map(values)
            .unwrap_or_default()
    }
}

/// The trainings in `steering.py`.
#[derive(Clone, Copy)]
enum Case {
    Frozen,
    Groups,
    Average,
    Changes,
    Clipped,
    Accumulated,
    AccumulatedLater,
}

impl Case {
    fn name(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Groups => "groups",
            Self::Average => "average",
            Self::Changes => "changes",
            Self::Clipped => "clipped",
            Self::Accumulated => "accumulated",
            Self::AccumulatedLater => "accumulated_later",
        }
    }

    fn optimizer(self) -> Arc<dyn Optimizer> {
        match self {
            Self::Frozen | Self::Changes => Arc::new(Adam::new(0.02)),
            Self::Groups | Self::Accumulated => Arc::new(AdamW::new(0.02).weight_decay(0.05)),
            Self::Average => Arc::new(Sgd::new(0.05).momentum(0.9)),
            Self::Clipped => Arc::new(Sgd::new(0.3).weight_decay(0.05).clip_norm(0.25)),
            Self::AccumulatedLater => {
                let momentum = Sgd::new(0.1).momentum(0.9);
                Arc::new(momentum.weight_decay(0.05).clip_norm(0.35))
            }
        }
    }

    /// Makes the changes of this training that come before step `step`, counted from 0.
    fn steer(self, engine: &mut impl Engine, step: usize) {
        match (self, step) {
            (Self::Frozen, 0) => engine.freeze("layers.0"),
            (Self::Groups, 0) => set_groups(engine),
            (Self::Accumulated, 0) => {
                set_groups(engine);
                engine.accumulate(3);
            }
            (Self::Average, 0) => engine.average(0.9),
            (Self::Changes, 15) => engine.set_learning_rate(0.01),
            (Self::Changes, 20) => {
                engine.set_optimizer(Arc::new(AdamW::new(0.01).weight_decay(0.5)));
            }
            (Self::Clipped, 0) => engine.freeze("layers.2"),
            (Self::AccumulatedLater, 0) => {
                engine.freeze("layers.0");
                engine.average(0.9);
            }
            (Self::AccumulatedLater, 10) => engine.accumulate(5),
            (Self::AccumulatedLater, 20) => engine.accumulate(2),
            _ => {}
        }
    }

    fn run<E: Engine>(self, file: &File) -> (E, Vec<f64>) {
        let mut engine = E::new(file, self.optimizer());
        let losses = self.go_on(&mut engine, 0..STEPS);
        (engine, losses)
    }

    fn go_on(self, engine: &mut impl Engine, steps: std::ops::Range<usize>) -> Vec<f64> {
        let step = |step| {
            self.steer(engine, step);
            engine.step()
        };
        steps.map(step).collect()
    }
}

/// Gives the first layer a tenth of the learning rate and its own weight decay, which does not apply to its bias.
fn set_groups(engine: &mut impl Engine) {
    engine.set_group("layers.0", Group::new().rate(0.1).weight_decay(0.5));
    engine.set_group("*.0.bias", Group::new().rate(0.1).weight_decay(0.0));
}

/// Runs a training. Returns the losses, and the final parameters and averages, by name.
fn made<E: Engine>(case: Case, file: &File) -> Values {
    let (engine, losses) = case.run::<E>(file);
    let mut all = Values::from([("losses".to_owned(), losses)]);
    all.extend(prefixed("final", engine.parameters()));
    all.extend(prefixed("average", engine.averaged()));
    all
}

fn prefixed(role: &str, values: Values) -> impl Iterator<Item = (String, Vec<f64>)> {
    let role = role.to_owned();
    values
        .into_iter()
        .map(move |(name, value)| (format!("{role}.{name}"), value))
}

/// Returns the largest difference between two sets of results with the same names. Every name must have at least one
/// number.
#[track_caller]
fn distance(a: &Values, b: &Values) -> f64 {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    let numbers = a.iter().zip(b.values()).flat_map(|((name, a), b)| {
        assert!(!a.is_empty() && a.len() == b.len(), "{name}");
        a.iter().zip(b).map(|(a, b)| (a - b).abs())
    });
    numbers.fold(0.0, |most, of| {
        assert!(of.is_finite());
        most.max(of)
    })
}

#[track_caller]
fn is_pytorchs(case: Case) {
    let file = File::open();
    let expected = file.values(case.name());
    let double = made::<cpu::Trainer<f64>>(case, &file);
    let single = made::<cpu::Trainer<f32>>(case, &file);
    let on_gpu = made::<Trainer>(case, &file);
    let name = case.name();
    let of_double = distance(&double, &expected);
    assert!(of_double <= DOUBLE, "{name}, f64: {of_double:e}");
    let of_single = distance(&single, &expected);
    assert!(of_single <= SINGLE, "{name}, f32: {of_single:e}");
    let of_gpu = distance(&on_gpu, &expected);
    let allowed = TIMES_CPU * of_single;
    assert!(
        of_gpu <= allowed,
        "{name}, GPU: {of_gpu:e}, above {allowed:e}"
    );
    // Saves and resumes before the first change of the training, between the two changes, and after both.
    for middle in [7, 17, 22] {
        goes_on_with_the_same_bits::<Trainer>(case, &file, middle);
        goes_on_with_the_same_bits::<cpu::Trainer<f32>>(case, &file, middle);
    }
}

#[track_caller]
fn goes_on_with_the_same_bits<E: Engine + Saved>(case: Case, file: &File, middle: usize) {
    let mut whole = E::new(file, case.optimizer());
    case.go_on(&mut whole, 0..middle);
    let saved = whole.save();
    let expected = case.go_on(&mut whole, middle..STEPS);
    let mut resumed = E::new(file, case.optimizer());
    (0..middle).for_each(|step| case.steer(&mut resumed, step));
    resumed.resume(&saved);
    let found = case.go_on(&mut resumed, middle..STEPS);
    let of = |engine: &E| (engine.parameters(), engine.averaged(), engine.save());
    let name = case.name();
    assert_eq!(found, expected, "{name}, from step {middle}");
    assert!(of(&resumed) == of(&whole), "{name}, from step {middle}");
}

#[test]
fn a_frozen_layer_stays_and_the_others_are_pytorchs() {
    is_pytorchs(Case::Frozen);
}

#[test]
fn groups_have_pytorchs_rates_and_decays() {
    is_pytorchs(Case::Groups);
}

#[test]
fn a_moving_average_follows_as_in_pytorch() {
    is_pytorchs(Case::Average);
}

#[test]
fn another_rate_and_another_optimizer_go_on_as_in_pytorch() {
    is_pytorchs(Case::Changes);
}

#[test]
fn gradients_of_what_is_trained_are_clipped_as_in_pytorch() {
    is_pytorchs(Case::Clipped);
}

#[test]
fn gradients_of_several_minibatches_make_a_step_as_in_pytorch() {
    is_pytorchs(Case::Accumulated);
}

#[test]
fn steps_of_more_minibatches_on_the_way_are_clipped_and_averaged_as_in_pytorch() {
    is_pytorchs(Case::AccumulatedLater);
}
