#![allow(clippy::unwrap_used)]

use ndarray::{ArrayD, IxDyn, array};

use super::Network;
use crate::TwoLayerNet;
use crate::init::Init;
use crate::network::{Parameters, Sequential};
use crate::ops::{Linear, Relu, SoftmaxCrossEntropy, Tanh};
use crate::reference::Targets;

fn spec(seed: u64) -> Sequential {
    TwoLayerNet::spec(4, 3, 2).seed(seed)
}

fn network(seed: u64) -> Network<f32> {
    Network::new(&spec(seed)).unwrap()
}

#[test]
fn a_copy_has_its_own_parameters() {
    let original = network(1);
    let mut copy = original.clone();
    let value = ArrayD::from_elem(IxDyn(&[2]), 0.5);
    copy.set_parameter("layers.2.bias", value.view()).unwrap();
    assert_eq!(copy.parameter("layers.2.bias").unwrap(), value);
    assert!(
        original
            .parameter("layers.2.bias")
            .unwrap()
            .iter()
            .all(|&value| value == 0.0)
    );
    assert_eq!(original.parameters(), network(1).parameters());
}

#[test]
fn a_mix_goes_its_share_of_the_way() {
    let mut own = network(1);
    let other = network(2);
    let before = own.parameters();
    let theirs = other.parameters();
    own.mix(&other, 0.0).unwrap();
    assert_eq!(own.parameters(), before);
    own.mix(&other, 0.25).unwrap();
    for (name, found) in own.parameters().iter() {
        for ((found, own), other) in found.iter().zip(&before[name]).zip(&theirs[name]) {
            assert_eq!(
                found.to_bits(),
                (own + 0.25 * (other - own)).to_bits(),
                "{name}"
            );
        }
    }
    own.mix(&other, 1.0).unwrap();
    assert_eq!(own.parameters(), theirs);
    own.copy_from(&network(3)).unwrap();
    assert_eq!(own.parameters(), network(3).parameters());
}

#[test]
fn what_cannot_be_mixed_is_named() {
    let mut own = network(1);
    let before = own.parameters();
    let rectified = Sequential::input(4)
        .layer(Linear::new(3))
        .layer(Tanh)
        .layer(Linear::new(2));
    let wider = TwoLayerNet::spec(4, 5, 2);
    for (other, part) in [(&rectified, "Tanh"), (&wider, "Linear(5)")] {
        let other = Network::new(other).unwrap();
        let message = own.mix(&other, 0.5).unwrap_err().to_string();
        assert!(
            message.contains(part) && message.contains("Linear(3)"),
            "{message}"
        );
    }
    for share in [-0.1, 1.1, f32::NAN] {
        let message = own.mix(&network(2), share).unwrap_err().to_string();
        assert!(
            message.contains("share") && message.contains("0 to 1"),
            "{message}"
        );
    }
    assert_eq!(own.parameters(), before);
}

/// Parameters may be set from arrays in any memory order.
#[test]
fn parameters_are_set_by_name() {
    let mut network = network(1);
    let transposed = array![[1.0f32, 4.0], [2.0, 5.0], [3.0, 6.0]].reversed_axes();
    let value = transposed
        .t()
        .as_standard_layout()
        .into_owned()
        .reversed_axes();
    assert!(!value.is_standard_layout());
    let wrong = network.set_parameter("layers.2.weight", value.view().into_dyn());
    let message = wrong.unwrap_err().to_string();
    assert!(
        ["layers.2.weight", "3×2", "transposed"]
            .iter()
            .all(|part| message.contains(part)),
        "{message}"
    );
    let value = value.reversed_axes();
    network
        .set_parameter("layers.2.weight", value.view().into_dyn())
        .unwrap();
    let found = network.parameter("layers.2.weight").unwrap();
    assert_eq!(found, value.into_dyn());
    for message in [
        network
            .parameter("layers.1.weight")
            .unwrap_err()
            .to_string(),
        network
            .set_parameter("layers.1.weight", found.view())
            .unwrap_err()
            .to_string(),
    ] {
        assert!(
            message.contains("layers.1.weight") && message.contains("layers.0.bias"),
            "{message}"
        );
    }
}

#[test]
fn parameters_that_do_not_fit_replace_nothing() {
    let mut network = network(1);
    let before = network.parameters();
    let changed = before.mapv(|value| value + 1.0);
    let without = |left_out: &str| -> Parameters {
        changed
            .clone()
            .into_iter()
            .filter(|(name, _)| name != left_out)
            .collect()
    };
    let mut misshapen = changed.clone();
    *misshapen.get_mut("layers.2.bias").unwrap() = ArrayD::zeros(IxDyn(&[3]));
    let more = changed
        .clone()
        .into_iter()
        .chain([("scale".to_owned(), ArrayD::zeros(IxDyn(&[1])))]);
    for (wrong, part) in [
        (without("layers.0.bias"), "layers.0.bias"),
        (misshapen, "layers.2.bias"),
        (more.collect(), "scale"),
    ] {
        let message = network.set_parameters(&wrong).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
        assert_eq!(network.parameters(), before);
    }
    let reversed: Parameters = changed
        .clone()
        .into_iter()
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    network.set_parameters(&reversed).unwrap();
    assert_eq!(network.parameters(), changed);
    network.set_state(&Parameters::from_iter([])).unwrap();
    assert!(network.state().is_empty() && network.set_state(&changed).is_err());
}

#[test]
fn targets_of_another_kind_are_refused() {
    let network = network(1);
    let x = ndarray::Array2::zeros((2, 4));
    let values = ndarray::Array2::zeros((2, 2));
    let loss = crate::ops::SoftmaxCrossEntropy;
    let error = network.loss(&loss, x.view(), Targets::Values(values.view()));
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("SoftmaxCrossEntropy") && message.contains("classes"),
        "{message}"
    );
    let values = ndarray::Array2::zeros((2, 3));
    let loss = crate::ops::MeanSquaredError;
    let error = network.gradient(&loss, x.view(), Targets::Values(values.view()));
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("2 × 3") && message.contains("2 × 2"),
        "{message}"
    );
}

/// A layer without a bias equals one whose bias stays 0.
#[test]
fn a_layer_without_a_bias_has_none() {
    let init = || Init::Normal { std: 0.5 };
    let with = Sequential::input(4)
        .layer(Linear::new(3).weight_init(init()))
        .layer(Relu);
    let without = Sequential::input(4)
        .layer(Linear::new(3).weight_init(init()).without_bias())
        .layer(Relu);
    let [with, without] = [with, without].map(|spec| {
        let spec = spec.layer(Linear::new(2).weight_init(init()).without_bias());
        Network::<f64>::new(&spec).unwrap()
    });
    assert_eq!(
        without.parameters().names().collect::<Vec<_>>(),
        ["layers.0.weight", "layers.2.weight"]
    );
    let mut same = with.clone();
    for (name, value) in without.parameters().iter() {
        same.set_parameter(name, value.view()).unwrap();
    }
    let x = ndarray::Array2::from_shape_fn((5, 4), |(row, column)| {
        (row as f64 - 2.0) * (column as f64 + 0.5)
    });
    let apart = |a: &ArrayD<f64>, b: &ArrayD<f64>| (a - b).iter().all(|apart| apart.abs() < 1e-12);
    let [one, other] = [&same, &without].map(|of| of.predict(x.view()).unwrap().into_dyn());
    assert!(apart(&one, &other));
    let labels = [0, 1, 1, 0, 1];
    let [one, other] = [&same, &without].map(|of| {
        of.gradient(&SoftmaxCrossEntropy, x.view(), Targets::Classes(&labels))
            .unwrap()
    });
    for (name, value) in other.iter() {
        assert!(apart(value, &one[name]), "{name}");
    }
}
