//! Gradients of networks that are not chains: with values that several layers read, sums, concatenations, several
//! inputs, and shared layers.
//!
//! The gradients of the reference are compared with central differences. The values and gradients of the GPU are
//! compared with the reference.

use std::sync::Arc;

use wgrad::cpu::Network;
use wgrad::data::Labels;
use wgrad::ndarray::Array2;
use wgrad::ops::{Gelu, Layer, LeakyRelu, Linear, MeanSquaredError, Relu, Sigmoid, Tanh};
use wgrad::ops::{Loss, SoftmaxCrossEntropy};
use wgrad::{Parameters, Sequential, Targets, ValueRef};

use crate::gpu::{Numbers, assert_close, gpu};

/// The tolerance of a gradient, relative to 1 + |gradient|. The central differences use steps of ±6e-6, so their error,
/// from a third derivative and from rounding, is below 1e-9.
const DIFFERENCES: f64 = 1e-8;
/// The tolerance of a value or gradient of the GPU, relative to the largest element of its tensor. It is far above the
/// rounding error in these networks, and far below the effect of a wrong tensor.
const ON_GPU: f64 = 1e-4;
const ROWS: usize = 5;
const CLASSES: usize = 3;

/// Rows of features. Each row has a class and target values.
struct Rows {
    x: Array2<f32>,
    labels: Labels,
    values: Array2<f32>,
}

impl Rows {
    fn new(network: &Sequential, seed: u64) -> Self {
        let mut numbers = Numbers::new(seed);
        let mut values =
            |columns| Array2::from_shape_simple_fn((ROWS, columns), || numbers.uniform());
        let x = values(network.features());
        let values = values(CLASSES);
        let classes = (0..ROWS).map(|row| u32::try_from(row % CLASSES).unwrap());
        let labels = Labels::from_classes(classes.collect(), CLASSES).unwrap();
        Self { x, labels, values }
    }
}

fn check(case: &str, network: &Sequential) {
    let network = network.clone().seed(3);
    assert_eq!(network.output().unwrap().len(), CLASSES, "{case}");
    // Chooses a seed for which no input of a ReLU is so near to 0 that a step of the differences would cross 0.
    let mut seeds = 0..200;
    let rows = seeds.find_map(|seed| {
        let rows = Rows::new(&network, seed);
        is_clear_of_kinks(&network, &rows).then_some(rows)
    });
    let rows = rows.expect("rows clear of kinks");
    check_by(case, &network, &rows, &SoftmaxCrossEntropy);
    check_by(case, &network, &rows, &MeanSquaredError);
}

fn is_clear_of_kinks(network: &Sequential, rows: &Rows) -> bool {
    let network = Network::<f64>::by_definition(network).unwrap();
    let activations = network.activations(rows.x.mapv(f64::from).view());
    let activations = activations.unwrap();
    let mut values = activations.iter().flat_map(|of| &of.values);
    values.all(|&value| value == 0.0 || value.abs() > 1e-4)
}

fn check_by(case: &str, network: &Sequential, rows: &Rows, loss: &dyn Loss) {
    let is_of_classes = loss.targets() == wgrad::ops::TargetKind::Classes;
    let model = network.build(gpu()).unwrap();
    let mut definition = model.to_reference().unwrap();
    let x = rows.x.mapv(f64::from);
    let values = rows.values.mapv(f64::from);
    let (of_gpu, of_reference) = if is_of_classes {
        (
            Targets::Classes(rows.labels.indices()),
            Targets::Classes(rows.labels.indices()),
        )
    } else {
        (
            Targets::Values(rows.values.view()),
            Targets::Values(values.view()),
        )
    };
    let expected = definition.gradient(loss, x.view(), of_reference).unwrap();
    let numerical = definition.numerical_gradient(loss, x.view(), of_reference);
    for ((name, found), (_, expected)) in expected.iter().zip(numerical.unwrap().iter()) {
        for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
            let is_near = (found - expected).abs() <= DIFFERENCES * (1.0 + expected.abs());
            assert!(
                is_near,
                "{case}, {loss:?}: element {at} of {name}: {found} {expected}"
            );
        }
    }

    let on_gpu = model.activations(rows.x.view()).unwrap();
    let by_definition = definition.activations(x.view()).unwrap();
    assert_eq!(on_gpu.len(), by_definition.len(), "{case}");
    for (found, expected) in on_gpu.iter().zip(&by_definition) {
        assert_eq!(
            (&found.name, found.shape),
            (&expected.name, expected.shape),
            "{case}"
        );
        let case = format!("{case}, {}", found.name);
        near(
            &case,
            found.values.iter().copied(),
            expected.values.iter().copied(),
        );
    }
    let found = model.gradient(loss, rows.x.view(), of_gpu).unwrap();
    same(&format!("{case}, {loss:?}"), &found, &expected);
    let mean = definition.loss(loss, x.view(), of_reference).unwrap();
    let found = model.loss(loss, rows.x.view(), of_gpu).unwrap();
    near(case, [found].into_iter(), [mean].into_iter());

    // The CPU engine in single precision is compared too, because it computes some products in another way.
    let mut engine = Network::<f32>::new(network).unwrap();
    engine.set_parameters(&model.parameters().unwrap()).unwrap();
    let found = engine.gradient(loss, rows.x.view(), of_gpu).unwrap();
    same(&format!("{case}, {loss:?}, on the CPU"), &found, &expected);
}

fn same(case: &str, found: &Parameters, expected: &Parameters<f64>) {
    assert_eq!(found.len(), expected.len(), "{case}");
    for ((name, found), (of, expected)) in found.iter().zip(expected.iter()) {
        assert_eq!((name, found.shape()), (of, expected.shape()), "{case}");
        let case = format!("{case}, {name}");
        near(&case, found.iter().copied(), expected.iter().copied());
    }
}

fn near(case: &str, found: impl Iterator<Item = f32>, expected: impl Iterator<Item = f64>) {
    let (found, expected): (Vec<f32>, Vec<f64>) = (found.collect(), expected.collect());
    let largest = expected.iter().fold(0.0, |a: f64, &b| a.max(b.abs()));
    let tolerance = vec![ON_GPU * largest; expected.len()];
    assert_close(case, &found, expected, tolerance);
}

fn linear(outputs: usize) -> Linear {
    Linear::new(outputs)
}

#[test]
fn a_residual_block() {
    for before in [1, 2] {
        let network = Sequential::input(6).layer(linear(8)).named("skip");
        let network = network.layer(Tanh).layer(linear(8)).add("skip");
        // After the sum comes the next layer, or a ReLU in the same kernel as that layer's product.
        let network = match before {
            1 => network,
            _ => network.layer(Relu),
        };
        check(
            &format!("residual block {before}"),
            &network.layer(linear(CLASSES)),
        );
    }
}

/// In a chain, a `Relu` between two linear layers is in the same kernel as a product. Here, the input or the output of
/// the `Relu` is also read at another place of the network.
#[test]
fn rectifiers_whose_ends_are_read_again() {
    let network = Sequential::input(6).layer(linear(8)).named("before");
    let network = network.layer(Relu).named("behind").layer(linear(8));
    check(
        "its input",
        &network.clone().add("before").layer(linear(CLASSES)),
    );
    check(
        "its output",
        &network.clone().add("behind").layer(linear(CLASSES)),
    );
    let network = network.add("before").concat("behind").layer(Relu);
    check("both", &network.layer(linear(CLASSES)));
}

#[test]
fn a_value_that_is_read_three_times() {
    let network = Sequential::input(5).layer(linear(7)).named("a");
    let network = network
        .layer(Tanh)
        .named("b")
        .layer(linear(7))
        .add("a")
        .layer(Sigmoid);
    let network = network.concat("a").concat("b").layer(linear(CLASSES));
    check("three readers", &network);
}

#[test]
fn a_value_that_is_added_to_itself() {
    let network = Sequential::input(5).layer(linear(4));
    let here = network.here();
    let network = network.add(&here).layer(Gelu);
    let here = network.here();
    check("twice in a sum", &network.add(here).layer(linear(CLASSES)));
    let network = Sequential::input(5).layer(linear(4)).named("a").concat("a");
    check(
        "twice in a concatenation",
        &network.layer(Tanh).layer(linear(CLASSES)),
    );
}

#[test]
fn sums_of_sums() {
    let network = Sequential::input(4)
        .layer(linear(6))
        .named("a")
        .layer(Tanh)
        .named("b");
    let network = network
        .add("a")
        .named("c")
        .layer(linear(6))
        .add("c")
        .add("b")
        .add("a");
    check("sums of sums", &network.layer(linear(CLASSES)));
}

#[test]
fn branches_that_are_concatenated() {
    let network = Sequential::input(6)
        .layer(linear(5))
        .layer(Tanh)
        .named("trunk");
    let network = network.layer(linear(3)).layer(Sigmoid).named("left");
    let network = network
        .at("trunk")
        .layer(linear(4))
        .layer(Gelu)
        .concat("left");
    check("two branches", &network.layer(linear(CLASSES)));
}

#[test]
fn the_output_is_a_sum_or_a_concatenation() {
    let network = Sequential::input(6).layer(linear(CLASSES)).named("a");
    let network = network.layer(Tanh).layer(linear(CLASSES)).add("a");
    check("a sum", &network);
    let network = Sequential::input(6).layer(linear(1)).named("a");
    let network = network.layer(Tanh).layer(linear(2)).concat("a");
    check("a concatenation", &network);
}

/// One layer reads the input itself, and another reads the first layer's output.
#[test]
fn an_input_that_is_read_again() {
    let network = Sequential::input(6)
        .named("x")
        .layer(linear(6))
        .layer(Tanh)
        .add("x");
    let network = network.layer(linear(2)).concat("x").layer(linear(CLASSES));
    check("input again", &network);
}

#[test]
fn two_inputs() {
    let network = Sequential::input(4)
        .named("left")
        .another_input(3)
        .named("right");
    let network = network.layer(linear(5)).layer(Tanh).named("of right");
    let network = network
        .at("left")
        .layer(linear(5))
        .add("of right")
        .layer(Sigmoid);
    let network = network
        .concat("left")
        .concat("right")
        .layer(linear(CLASSES));
    check("two inputs", &network);
    let network = Sequential::input(4)
        .named("left")
        .another_input(4)
        .add("left");
    check("a sum of inputs", &network.layer(linear(CLASSES)));
}

#[test]
fn a_layer_that_is_used_several_times() {
    let shared: Arc<dyn Layer> = Arc::new(Linear::new(6));
    let network = Sequential::input(6)
        .layer(shared.clone())
        .layer(Tanh)
        .named("a");
    let network = network
        .layer(shared.clone())
        .add("a")
        .layer(Relu)
        .layer(shared);
    let network = network.add("a").layer(linear(CLASSES));
    assert_eq!(
        network.summary().unwrap().parameters(),
        6 * 6 + 6 + 6 * 3 + 3
    );
    check("shared layer", &network);
    // One shared encoder for two inputs.
    let shared: Arc<dyn Layer> = Arc::new(Linear::new(5));
    let network = Sequential::input(4)
        .named("left")
        .another_input(4)
        .layer(shared.clone());
    let network = network
        .named("right")
        .at("left")
        .layer(shared)
        .concat("right");
    check(
        "one layer of two inputs",
        &network.layer(Tanh).layer(linear(CLASSES)),
    );
}

/// Images are concatenated along their first extent, the channels.
#[test]
fn values_of_three_extents() {
    let network = Sequential::input([2, 3, 2])
        .named("image")
        .layer(LeakyRelu::new(0.3));
    let network = network
        .add("image")
        .concat("image")
        .layer(Tanh)
        .layer(linear(4));
    check("images", &network.layer(Gelu).layer(linear(CLASSES)));
}

/// Random networks of layers, sums and concatenations. Each of these reads randomly chosen earlier values.
#[test]
fn any_graph() {
    for seed in 0..24 {
        let network = random(&mut Numbers::new(seed));
        check(&format!("graph {seed}, {network:?}"), &network);
    }
}

fn random(numbers: &mut Numbers) -> Sequential {
    let shared: Arc<dyn Layer> = Arc::new(Linear::new(4));
    let mut network = Sequential::input(4);
    let mut values: Vec<(ValueRef, usize)> = vec![(network.here(), 4)];
    if numbers.below(3) == 0 {
        network = network.another_input(4);
        values.push((network.here(), 4));
    }
    let mut is_read = vec![false; values.len()];
    for _ in 0..3 + numbers.below(7) {
        let of = numbers.below(values.len());
        let (value, width) = values[of].clone();
        network = network.at(value);
        is_read[of] = true;
        let other = numbers.below(values.len());
        let (other_value, other_width) = values[other].clone();
        let width = match numbers.below(6) {
            0 => {
                network = network.layer(Tanh);
                width
            }
            1 => {
                network = network.layer(Relu);
                width
            }
            2 if width == 4 => {
                network = network.layer(shared.clone());
                4
            }
            3 if width == other_width => {
                is_read[other] = true;
                network = network.add(other_value);
                width
            }
            4 if width + other_width <= 12 => {
                is_read[other] = true;
                network = network.concat(other_value);
                width + other_width
            }
            _ => {
                network = network.layer(linear(4));
                4
            }
        };
        values.push((network.here(), width));
        is_read.push(false);
    }
    // Concatenates the values that nothing has read yet, so that the output depends on every value.
    let mut unread = values.iter().zip(is_read).filter(|(_, is_read)| !is_read);
    if let Some(((first, _), _)) = unread.next() {
        network = network.at(first);
    }
    for ((value, _), _) in unread {
        network = network.concat(value);
    }
    network.layer(linear(CLASSES))
}
