//! What is right passes, and the table says what was looked at.

use wgrad::check_layer;
use wgrad::layer_check::{Check, Mode, Pass};
use wgrad::ops::{Dropout, Gelu, Layer, LeakyRelu, Linear, Relu, Sigmoid, Tanh};

use crate::activation::Softsign;
use crate::gpu::gpu;
use crate::scale::Scale;

#[test]
fn every_layer_of_the_crate() {
    let layers: [&dyn Layer; 10] = [
        &Linear::new(1),
        &Linear::new(50),
        &Relu,
        &LeakyRelu::default(),
        &LeakyRelu::new(-0.5),
        &Gelu,
        &Sigmoid,
        &Tanh,
        &Dropout::new(0.3),
        &Softsign::good(),
    ];
    for layer in layers {
        let table = check_layer(gpu(), layer).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(table.layer, layer.name());
        assert!(table.kernels.len() >= 2, "{table}");
        for row in &table.rows {
            assert!(row.difference <= row.bound && row.bound < 1.0, "{table}");
        }
    }
}

#[test]
fn the_table_has_a_row_for_every_tensor_of_every_minibatch() {
    let table = check_layer(gpu(), &Scale::good()).unwrap_or_else(|error| panic!("{error}"));
    let kernels = [
        "scale::forward",
        "scale::backward",
        "scale::backward_parameters",
    ];
    assert_eq!(table.kernels, kernels);
    let rows = |check, minibatch, mode| {
        let rows = table
            .rows
            .iter()
            .filter(move |row| (row.check, row.minibatch, row.mode) == (check, minibatch, mode));
        rows.map(|row| row.tensor.as_str()).collect::<Vec<_>>()
    };
    let (forward, backward) = (Check::Parity(Pass::Forward), Check::Parity(Pass::Backward));
    let all = ["dx", "dscale", "dshift"];
    for shape in [[1, 1], [3, 7], [1, 65], [101, 53], [2053, 2053]] {
        assert_eq!(rows(forward, shape, Mode::Evaluation), ["y"]);
        assert_eq!(rows(backward, shape, Mode::Evaluation), all);
    }
    assert_eq!(rows(Check::Gradient, [3, 7], Mode::Evaluation), all);
    assert_eq!(rows(Check::Gradient, [101, 53], Mode::Evaluation), [""; 0]);
    for shape in [[3, 7], [101, 53]] {
        assert_eq!(rows(backward, shape, Mode::Training), all);
        assert_eq!(rows(backward, shape, Mode::First), all[1..]);
    }
    let text = table.to_string();
    assert_eq!(text.lines().count(), 2 + kernels.len() + table.rows.len());
    assert!(
        text.contains("contract  scale::forward is what its WGSL says"),
        "{text}"
    );
}
