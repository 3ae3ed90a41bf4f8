#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use ndarray::{Array2, Axis, s};

use super::{Form, Passes};
use crate::cpu::{Network, Trainer};
use crate::data::{Sampling, Table};
use crate::error::Error;
use crate::init::Init;
use crate::network::{Parameters, Sequential};
use crate::ops::{
    self, Dropout, KeptSpec, Layer, LayerSpec, Linear, MeanSquaredError, ParameterSpec, Relu, Sgd,
    Sigmoid, Tanh,
};
use crate::plan::Recorder;
use crate::reference::{self, Backward, Float, Forward, Mode, Targets, Twin};
use crate::shape::Shape;
use crate::testing::Numbers;

const ROWS: usize = 7;
/// Tolerance for gradients of about 1 that are computed by central differences: the losses have an error of 1e-15, and
/// the step is 1e-5.
const TOLERANCE: f64 = 1e-8;

/// A layer in which no two outputs have the same weights.
fn linear(outputs: usize) -> Linear {
    let uniform = Init::Uniform { bound: 0.7 };
    Linear::new(outputs)
        .weight_init(uniform.clone())
        .bias_init(uniform)
}

/// Consecutive residual blocks: one operand of a sum is another sum, so that the gradients of both sums share an array.
fn residual() -> Sequential {
    let network = Sequential::input(5).layer(linear(6));
    let skip = network.here();
    let network = network.layer(Tanh).layer(linear(6)).add(skip);
    let skip = network.here();
    network
        .layer(Sigmoid)
        .layer(linear(6))
        .add(skip)
        .layer(linear(3))
}

/// A value that is read four times: by two layers, by a sum and by a concatenation.
fn read_three_times() -> Sequential {
    let network = Sequential::input(5)
        .layer(linear(4))
        .layer(Tanh)
        .named("often");
    let network = network
        .layer(linear(4))
        .add("often")
        .layer(Tanh)
        .named("sum");
    let network = network
        .at("often")
        .layer(linear(2))
        .concat("often")
        .concat("sum");
    network.layer(linear(3))
}

/// The sum of a value and itself, and a concatenation with an input, whose gradient is not computed.
fn twice_itself() -> Sequential {
    let network = Sequential::input(5);
    let input = network.here();
    let network = network.layer(linear(4)).named("here").add("here");
    network
        .layer(Sigmoid)
        .concat(input)
        .layer(linear(3).without_bias())
}

/// Two inputs, one of them with several extents, that go through the same layer.
fn two_inputs() -> Sequential {
    let shared: Arc<dyn Layer> = Arc::new(linear(4));
    let network = Sequential::input([2, 3]);
    let first = network.here();
    let network = network.another_input(6);
    let second = network
        .layer(Arc::clone(&shared))
        .layer(Tanh)
        .named("second");
    let both = second
        .at(first)
        .layer(shared.clone())
        .layer(Sigmoid)
        .add("second");
    both.layer(linear(6)).layer(shared).layer(linear(3))
}

fn networks() -> [(&'static str, Sequential); 4] {
    [
        ("residual", residual()),
        ("read three times", read_three_times()),
        ("twice itself", twice_itself()),
        ("two inputs", two_inputs()),
    ]
}

fn random<F: Float>(numbers: &mut Numbers, rows: usize, columns: usize) -> Array2<F> {
    Array2::from_shape_fn((rows, columns), |_| F::from_f64(numbers.uniform().into()))
}

fn assert_close(case: &str, found: &Parameters<f64>, expected: &Parameters<f64>, tolerance: f64) {
    assert_eq!(
        found.names().collect::<Vec<_>>(),
        expected.names().collect::<Vec<_>>()
    );
    for ((name, found), (_, expected)) in found.iter().zip(expected.iter()) {
        assert!(
            expected.iter().any(|&value| value.abs() > 1e-3),
            "{case}: {name} says nothing"
        );
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() <= tolerance,
                "{case}: {name}: {found} {expected}"
            );
        }
    }
}

#[test]
fn gradients_of_every_graph_are_central_differences() {
    for (case, spec) in networks() {
        let mut network = Network::<f64>::new(&spec.seed(3)).unwrap();
        let mut numbers = Numbers::new(1);
        let x = random(&mut numbers, ROWS, network.graph().features());
        let y = random(&mut numbers, ROWS, 3);
        let loss = MeanSquaredError;
        let targets = Targets::Values(y.view());
        let backprop = network.gradient(&loss, x.view(), targets).unwrap();
        let numerical = network
            .numerical_gradient(&loss, x.view(), targets)
            .unwrap();
        assert_close(case, &backprop, &numerical, TOLERANCE);
    }
}

#[test]
fn fast_and_single_networks_are_those_by_definition() {
    for (case, spec) in networks() {
        let definition = Network::<f64>::by_definition(&spec).unwrap();
        let fast = Network::<f64>::new(&spec).unwrap();
        let single = Network::<f32>::new(&spec).unwrap();
        let mut numbers = Numbers::new(2);
        let x = random::<f32>(&mut numbers, ROWS, definition.graph().features());
        let y = random::<f32>(&mut numbers, ROWS, 3);
        let x64 = x.mapv(f64::from);
        let y64 = y.mapv(f64::from);
        let gradient = |network: &Network<f64>| {
            let targets = Targets::Values(y64.view());
            network
                .gradient(&MeanSquaredError, x64.view(), targets)
                .unwrap()
        };
        let expected = gradient(&definition);
        assert_close(case, &gradient(&fast), &expected, 1e-13);
        let targets = Targets::Values(y.view());
        let found = single
            .gradient(&MeanSquaredError, x.view(), targets)
            .unwrap();
        // The tolerance covers the rounding of a few layers, with sums of at most 20 products of numbers below 5.
        assert_close(case, &found.mapv(f64::from), &expected, 1e-5);
    }
}

/// Compares a network's outputs with a formula that is written out here, without a graph.
#[test]
fn values_of_a_graph_are_what_it_says() {
    let network = Network::<f64>::by_definition(&read_three_times()).unwrap();
    let x = random::<f64>(&mut Numbers::new(3), ROWS, 5);
    let [parameters, all] = [network.parameters(), network.parameters()];
    let dense = |at: usize, x: &Array2<f64>| {
        let [weight, bias] =
            ["weight", "bias"].map(|name| &parameters[&*format!("layers.{at}.{name}")]);
        let weight = weight.view().into_dimensionality::<ndarray::Ix2>().unwrap();
        let bias = bias.view().into_dimensionality::<ndarray::Ix1>().unwrap();
        x.dot(&weight) + bias
    };
    assert_eq!(all.len(), 8);
    let often = dense(0, &x).mapv(f64::tanh);
    let sum = (dense(2, &often) + &often).mapv(f64::tanh);
    let last = dense(4, &often);
    let both = ndarray::concatenate(Axis(1), &[last.view(), often.view(), sum.view()]).unwrap();
    let expected = dense(5, &both);

    let activations = network.activations(x.view()).unwrap();
    let of = |name: &str| {
        let found = activations.iter().find(|of| of.name == name).unwrap();
        assert_eq!(found.shape, Shape::from(found.values.ncols()));
        found.values.clone()
    };
    let apart = |found: &Array2<f64>, expected: &Array2<f64>| {
        assert_eq!(found.dim(), expected.dim());
        let apart = (found - expected).mapv(f64::abs);
        assert!(apart.iter().all(|&apart| apart < 1e-14), "{apart}");
    };
    apart(&of("often"), &often);
    apart(&of("sum"), &sum);
    apart(&activations.last().unwrap().values, &expected);
    apart(&network.predict(x.view()).unwrap(), &expected);
    assert_eq!(activations[0].values, x);
}

#[test]
fn inputs_are_columns_of_the_features_one_after_another() {
    let network = Network::<f64>::new(&two_inputs()).unwrap();
    let x = random::<f64>(&mut Numbers::new(4), ROWS, 12);
    let activations = network.activations(x.view()).unwrap();
    assert_eq!(activations[0].values, x.slice(s![.., ..6]));
    assert_eq!(activations[1].values, x.slice(s![.., 6..]));
    assert_eq!(activations[0].shape, Shape::from([2, 3]));
    let outputs = &activations.last().unwrap().values;
    assert_eq!(network.predict(x.view()).unwrap(), outputs);
    // More rows than one pass computes: each row must give the same result as by itself.
    let many = random::<f64>(&mut Numbers::new(5), 1_203, 12);
    let all = network.predict(many.view()).unwrap();
    for row in [0, 499, 500, 1_202] {
        let alone = network.predict(many.slice(s![row..=row, ..])).unwrap();
        let apart = (&alone.row(0) - &all.row(row)).mapv(f64::abs);
        assert!(apart.iter().all(|&apart| apart < 1e-13), "{row}: {apart}");
    }
}

#[test]
fn every_graph_is_trained() {
    for (case, spec) in networks() {
        let features = spec.features();
        let mut numbers = Numbers::new(6);
        let x = random::<f32>(&mut numbers, 50, features);
        let y = Array2::from_shape_fn((50, 3), |(row, column)| x[[row, column]] * x[[row, 4]]);
        let table = Table::regression("products", x.view(), y.view()).unwrap();
        let sampling = Sampling::Shuffled { seed: 1 };
        let loss = MeanSquaredError;
        let rate = Sgd::new(0.05);
        let trainer = Trainer::new(
            Network::<f32>::new(&spec).unwrap(),
            loss,
            rate,
            &table,
            10,
            sampling,
        );
        let mut trainer = trainer.unwrap();
        let before = trainer.evaluate(&table).unwrap().loss;
        trainer.steps(300).unwrap();
        let after = trainer.evaluate(&table).unwrap().loss;
        assert!(after < 0.5 * before, "{case}: {before} {after}");
    }
}

/// Checks that `Dropout` has its fast form, also inside a `Box`.
#[cfg(not(target_arch = "wasm32"))]
#[test]
fn dropout_has_its_fast_form() {
    let boxed: Box<dyn Layer> = Box::new(Dropout::new(0.5));
    let network = Sequential::input(3)
        .layer(Dropout::new(0.5))
        .layer(boxed)
        .layer(linear(2));
    let passes = Passes::fast(network.graph().unwrap());
    let is_fast: Vec<_> = passes
        .forms
        .iter()
        .map(|form| matches!(form, Form::Dropout(_)))
        .collect();
    assert_eq!(is_fast, [true, true, false], "{passes:?}");
}

/// `y = x − m`. In training, `m` is the mean of all elements of the minibatch, and the state is a running mean of `m`;
/// in evaluations, `m` is the state. The gradient with respect to `x` is `dy` in evaluations, and `dy` minus the mean
/// of all elements of `dy` in training. The backward pass checks the values that the forward pass has stored for it.
#[derive(Debug, Clone)]
struct Centred;

impl Layer for Centred {
    fn name(&self) -> String {
        "Centred".to_owned()
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        Ok(LayerSpec::new(*input)
            .state(ParameterSpec::new("running", 1, Init::Constant(2.0)))
            .kept(KeptSpec::per_batch("mean", 1))
            .kept(KeptSpec::per_row("centred", *input)))
    }

    fn forward(&self, _: &mut Recorder<'_>, _: ops::Forward<'_>) -> Result<(), Error> {
        unreachable!("on the CPU alone")
    }

    fn backward(&self, _: &mut Recorder<'_>, _: ops::Backward<'_>) -> Result<(), Error> {
        unreachable!("on the CPU alone")
    }

    fn reference(&self) -> Twin {
        Twin::of(Self)
    }
}

impl<F: Float> reference::Layer<F> for Centred {
    fn forward(&self, mut pass: Forward<'_, F>) {
        let mean = pass.x.sum() / F::from_f64(pass.x.len() as f64);
        let half = F::from_f64(0.5);
        let centre = match pass.mode {
            Mode::Training(_) => {
                pass.state[0].mapv_inplace(|running| half * running + half * mean);
                mean
            }
            Mode::Evaluation => pass.state[0][[0, 0]],
        };
        pass.kept[0].fill(centre);
        pass.y.assign(&pass.x.mapv(|x| x - centre));
        pass.kept[1].assign(&pass.y);
    }

    fn backward(&self, pass: Backward<'_, F>) {
        let centre = pass.kept[0][[0, 0]];
        assert_eq!(pass.x.mapv(|x| x - centre), pass.kept[1]);
        assert_eq!(pass.kept[1], pass.y);
        let less = match pass.mode {
            Mode::Training(_) => pass.dy.sum() / F::from_f64(pass.dy.len() as f64),
            Mode::Evaluation => F::zero(),
        };
        if let Some(mut dx) = pass.dx {
            dx.assign(&pass.dy.mapv(|dy| dy - less));
        }
    }
}

fn centred() -> Sequential {
    let network = Sequential::input(2)
        .layer(Centred)
        .layer(linear(3))
        .layer(Centred);
    network.layer(Relu).layer(linear(1))
}

#[test]
fn steps_of_training_alone_change_the_state() {
    let x = ndarray::array![[1.0f32, 2.0], [3.0, 6.0]];
    let table = Table::regression("four", x.view(), ndarray::array![[1.0], [2.0]].view()).unwrap();
    let sampling = Sampling::Shuffled { seed: 1 };
    let loss = MeanSquaredError;
    let rate = Sgd::new(0.01);
    let trainer = Trainer::new(
        Network::<f32>::new(&centred()).unwrap(),
        loss,
        rate,
        &table,
        2,
        sampling,
    );
    let mut trainer = trainer.unwrap();
    let running = |trainer: &Trainer<f32>| trainer.network().state()["layers.0.running"][0];
    let bits = |value: f32| value.to_bits();
    assert_eq!(bits(running(&trainer)), bits(2.0));
    for expected in [2.5f32, 2.75, 2.875] {
        trainer.steps(1).unwrap();
        let state = trainer.network().state();
        assert_eq!(bits(running(&trainer)), bits(expected));
        // Evaluations read the state and do not change it.
        trainer.evaluate(&table).unwrap();
        let x = x.view();
        let y = ndarray::array![[1.0f32], [2.0]];
        let network = trainer.network();
        network
            .gradient(&loss, x, Targets::Values(y.view()))
            .unwrap();
        let activations = network.activations(x).unwrap();
        assert_eq!(activations[1].values, x.mapv(|x| x - expected));
        assert_eq!(network.state(), state);
    }
    // A saved and resumed training continues with the same bits.
    let bytes = trainer.to_safetensors().unwrap();
    let expected: Vec<u32> = trainer
        .steps(3)
        .unwrap()
        .into_iter()
        .map(f32::to_bits)
        .collect();
    let sampling = Sampling::Shuffled { seed: 1 };
    let other = Trainer::new(
        Network::<f32>::new(&centred()).unwrap(),
        loss,
        rate,
        &table,
        2,
        sampling,
    );
    let mut other = other.unwrap();
    other.set_safetensors(&bytes).unwrap();
    let found: Vec<u32> = other
        .steps(3)
        .unwrap()
        .into_iter()
        .map(f32::to_bits)
        .collect();
    assert_eq!(found, expected);
    assert_eq!(other.network().state(), trainer.network().state());
}
