//! Parameters by name, on both engines.

use wgrad::ndarray::{ArrayD, Axis, array};
use wgrad::ops::{Linear, MeanSquaredError, Relu, Sgd};
use wgrad::{Parameters, Sequential, Trainer, cpu};

use super::{SAMPLING, rows, surface};
use crate::gpu::gpu;

const NAMES: [&str; 4] = [
    "layers.0.weight",
    "layers.0.bias",
    "layers.2.weight",
    "layers.2.bias",
];

fn spec() -> Sequential {
    let network = Sequential::input(4).layer(Linear::new(3)).layer(Relu);
    network.layer(Linear::new(2)).seed(9)
}

#[test]
fn parameters_are_listed_read_and_written_by_name() {
    let mut model = spec().build(gpu()).unwrap();
    let mut network = cpu::Network::<f32>::new(&spec()).unwrap();
    assert_eq!(model.parameter_names().collect::<Vec<_>>(), NAMES);
    assert!(network.parameter_names().eq(NAMES));
    assert_eq!(
        (network.features(), network.output()),
        (model.features(), model.output())
    );
    let all = model.parameters().unwrap();
    assert_eq!(all.names().collect::<Vec<_>>(), NAMES);
    assert_eq!(all, network.parameters());
    assert_eq!(all["layers.0.weight"].shape(), [4, 3]);
    assert_eq!(all["layers.2.bias"].shape(), [2]);

    let bias = array![0.5f32, -2.0].into_dyn();
    model.set_parameter("layers.2.bias", bias.view()).unwrap();
    network.set_parameter("layers.2.bias", bias.view()).unwrap();
    assert_eq!(model.parameter("layers.2.bias").unwrap(), bias);
    assert_eq!(network.parameter("layers.2.bias").unwrap(), bias);
    assert_eq!(model.parameters().unwrap(), network.parameters());
    // All other parameters are unchanged.
    assert_eq!(
        model.parameter("layers.2.weight").unwrap(),
        all["layers.2.weight"]
    );

    // The parameters may have any memory order, and the list may have any order.
    let mut reversed: Vec<(String, ArrayD<f32>)> = all.clone().into_iter().collect();
    reversed.reverse();
    for (_, value) in &mut reversed {
        if value.ndim() == 2 {
            *value = value.t().as_standard_layout().into_owned().reversed_axes();
        }
    }
    model
        .set_parameters(&reversed.into_iter().collect())
        .unwrap();
    assert_eq!(model.parameters().unwrap(), all);
}

#[test]
fn wrong_names_and_shapes_are_named_and_change_nothing() {
    let mut model = spec().build(gpu()).unwrap();
    let mut network = cpu::Network::<f32>::new(&spec()).unwrap();
    let before = model.parameters().unwrap();
    let two = array![1.0f32, 2.0].into_dyn();
    let transposed = before["layers.0.weight"].clone().reversed_axes();
    for (name, value, expected) in [
        (
            "layers.1.weight",
            two.view(),
            "name of a parameter must be one of layers.0.weight, layers.0.bias, layers.2.weight and \
             layers.2.bias; it is layers.1.weight",
        ),
        (
            "layers.0.bias",
            two.view(),
            "the shape of layers.0.bias must be 3; it is 2.",
        ),
        (
            "layers.0.weight",
            transposed.view(),
            "must be 4×3; it is 3×4. It is transposed: a weight is (inputs, outputs) here",
        ),
    ] {
        let error = model
            .set_parameter(name, value.clone())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(
            network.set_parameter(name, value).unwrap_err().to_string(),
            error
        );
    }
    let without: Parameters = before
        .clone()
        .into_iter()
        .filter(|(name, _)| name != "layers.2.bias")
        .collect();
    let error = model.set_parameters(&without).unwrap_err().to_string();
    assert!(
        error.contains(
            "given names must be the list of the network, which has layers.2.bias; it is layers.0.weight, "
        ),
        "{error}"
    );
    assert_eq!(
        network.set_parameters(&without).unwrap_err().to_string(),
        error
    );
    let more = before
        .clone()
        .into_iter()
        .chain([("layers.7.bias".to_owned(), two)]);
    let error = model
        .set_parameters(&more.collect())
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("it is layers.7.bias"), "{error}");
    assert_eq!(model.parameters().unwrap(), before);
    assert_eq!(network.parameters(), before);
}

/// After a parameter is written, the next steps start from it.
#[test]
fn a_training_goes_on_from_a_parameter_that_was_written() {
    let table = surface(200, 4);
    let spec = Sequential::input(4)
        .layer(Linear::new(8))
        .layer(Relu)
        .layer(Linear::new(1))
        .seed(2);
    let new = || {
        let model = spec.build(gpu()).unwrap();
        Trainer::new(
            model,
            MeanSquaredError,
            Sgd::new(0.05),
            &table,
            20,
            SAMPLING,
        )
        .unwrap()
    };
    let mut written = new();
    let mut untouched = new();
    written.steps(5).unwrap();
    untouched.steps(5).unwrap();
    let value = written.model().parameter("layers.0.weight").unwrap();
    written
        .set_parameter("layers.0.weight", value.view())
        .unwrap();
    assert_eq!(written.steps(5).unwrap(), untouched.steps(5).unwrap());
    written
        .set_parameter("layers.2.bias", array![7.0].into_dyn().view())
        .unwrap();
    let x = rows(3, 4);
    let moved = written.model().predict(x.view()).unwrap();
    let still = untouched.model().predict(x.view()).unwrap();
    let bias = untouched.model().parameter("layers.2.bias").unwrap()[0];
    for (moved, still) in moved.iter().zip(&still) {
        assert!((moved - still - (7.0 - bias)).abs() < 1e-5);
    }
    assert!(written.steps(1).unwrap()[0] > untouched.steps(1).unwrap()[0]);
    assert_eq!(moved.len_of(Axis(0)), 3);
}
