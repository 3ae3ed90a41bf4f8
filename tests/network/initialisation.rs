//! The default initialization lets networks learn.

use std::sync::Arc;
use wgrad::ops::SoftmaxCrossEntropy;

use wgrad::data::{Sampling, Table, synthetic};
use wgrad::ndarray::Array2;
use wgrad::ops::{
    Dropout, Gelu, Layer, LeakyRelu, Linear, MeanSquaredError, Relu, Sgd, Sigmoid, Tanh,
};
use wgrad::{Init, Parameters, Sequential, cpu};

/// Returns the root mean square of a parameter.
fn size(parameters: &Parameters, name: &str) -> f64 {
    let value = &parameters[name];
    let squares: f64 = value.iter().map(|&v| f64::from(v).powi(2)).sum();
    (squares / value.len() as f64).sqrt()
}

/// A weight's standard deviation is √(2/n) before a rectifier (He, 2015) and √(1/n) elsewhere (`LeCun`, 1998), where n
/// is the number of inputs. The measured value of N numbers may differ by 5 relative standard errors, √(1/2N) each.
#[test]
fn weights_start_by_what_follows_them() {
    let he = (2.0f64 / 400.0).sqrt();
    let lecun = (1.0f64 / 400.0).sqrt();
    let start = || Sequential::input(400).layer(Linear::new(300));
    let end = |network: Sequential| network.layer(Linear::new(2));
    let skip = start()
        .named("skip")
        .layer(Linear::new(300))
        .add("skip")
        .layer(Relu);
    let cases: [(Sequential, f64); 9] = [
        (end(start().layer(Relu)), he),
        (end(start().layer(Gelu)), he),
        (end(start().layer(LeakyRelu::default())), he),
        (end(start().layer(Dropout::new(0.5)).layer(Relu)), he),
        (end(skip), he),
        (end(start().layer(Tanh)), lecun),
        (end(start().layer(Sigmoid).layer(Relu)), lecun),
        (end(start()), lecun),
        (start(), lecun),
    ];
    for (network, expected) in cases {
        let parameters = cpu::Network::<f32>::new(&network).unwrap().parameters();
        let found = size(&parameters, "layers.0.weight");
        let error = 5.0 * expected / (2.0 * 120_000.0f64).sqrt();
        assert!(
            (found - expected).abs() < error,
            "{network:?}: {found} {expected}"
        );
        assert_eq!(size(&parameters, "layers.0.bias"), 0.0);
    }
}

/// In a chain of sums, each sum doubles the number of paths to the output. Building a network must not visit each path.
#[test]
fn sums_of_sums_start_at_once() {
    let mut network = Sequential::input(4).layer(Linear::new(4));
    for _ in 0..60 {
        let here = network.here();
        network = network.add(here);
    }
    network.layer(Tanh).layer(Linear::new(1)).output().unwrap();
}

#[test]
fn what_a_layer_is_told_is_what_it_starts_from() {
    let linear =
        Linear::new(3).weight_init(Init::function(|index| (10 * index[0] + index[1]) as f32));
    let network = Sequential::input(2)
        .layer(linear.bias_init(Init::Constant(0.25)))
        .layer(Relu);
    let parameters = cpu::Network::<f32>::new(&network).unwrap().parameters();
    let weight: Vec<f32> = parameters["layers.0.weight"].iter().copied().collect();
    assert_eq!(weight, [0.0, 1.0, 2.0, 10.0, 11.0, 12.0]);
    assert!(parameters["layers.0.bias"].iter().all(|&bias| bias == 0.25));
    let without = Sequential::input(2).layer(Linear::new(3).without_bias());
    let parameters = cpu::Network::<f32>::new(&without).unwrap().parameters();
    assert_eq!(parameters.names().collect::<Vec<_>>(), ["layers.0.weight"]);
    for init in [Init::Constant(f32::NAN), Init::function(|_| f32::INFINITY)] {
        let network = Sequential::input(2).layer(Linear::new(3).weight_init(init));
        assert!(cpu::Network::<f32>::new(&network).is_err());
    }
}

/// Trains the network 3-64-64-1 by plain SGD. Its error must become smaller than the error of a constant prediction,
/// which is the standard deviation of the targets. With the initial weights of the book's chapter 5, this takes several
/// times as many steps.
#[test]
fn two_hidden_layers_learn_a_function() {
    let x = super::rows(500, 3);
    let y = Array2::from_shape_fn((500, 1), |(row, _)| {
        (3.0 * x[[row, 0]]).sin() * 0.5 + x[[row, 1]] * x[[row, 2]]
    });
    let table = Table::regression("function", x.view(), y.view()).unwrap();
    let mean = y.mean().unwrap();
    let constant = y.mapv(|y| (y - mean).powi(2)).mean().unwrap().sqrt();
    let network = |init: Option<Init>| {
        let linear = |outputs| match &init {
            Some(init) => Linear::new(outputs).weight_init(init.clone()),
            None => Linear::new(outputs),
        };
        let network = Sequential::input(3).layer(linear(64)).layer(Relu);
        network
            .layer(linear(64))
            .layer(Relu)
            .layer(linear(1))
            .seed(3)
    };
    let rmse = |spec: &Sequential| {
        let sampling = Sampling::WithReplacement { seed: 1 };
        let loss = MeanSquaredError;
        let optimizer = Sgd::new(0.05);
        let mut trainer = cpu::Trainer::new(
            cpu::Network::<f32>::new(spec).unwrap(),
            loss,
            optimizer,
            &table,
            50,
            sampling,
        )
        .unwrap();
        trainer.steps(2_000).unwrap();
        trainer.evaluate(&table).unwrap().loss.sqrt()
    };
    let found = rmse(&network(None));
    assert!(found < 0.2 * f64::from(constant), "{found} of {constant}");
    let of_book = rmse(&network(Some(Init::Normal { std: 0.01 })));
    assert!(found < 0.5 * of_book, "{found} {of_book}");
}

/// With the initial weights of the book's chapter 5, four hidden layers do not learn.
#[test]
fn four_hidden_layers_learn_digits() {
    let digits = synthetic::digits_of(1, 2_000, 500).unwrap();
    let accuracy = |activation: Arc<dyn Layer>, init: Option<Init>| {
        let linear = |outputs| match &init {
            Some(init) => Linear::new(outputs).weight_init(init.clone()),
            None => Linear::new(outputs),
        };
        let mut spec = Sequential::input(784).seed(1);
        for _ in 0..4 {
            spec = spec.layer(linear(100)).layer(activation.clone());
        }
        let spec = spec.layer(linear(10));
        let sampling = Sampling::Shuffled { seed: 1 };
        let mut trainer = cpu::Trainer::new(
            cpu::Network::<f32>::new(&spec).unwrap(),
            SoftmaxCrossEntropy,
            Sgd::new(0.1),
            &digits.train,
            100,
            sampling,
        )
        .unwrap();
        trainer.steps(400).unwrap();
        trainer.evaluate(&digits.test).unwrap().accuracy.unwrap()
    };
    for activation in [Arc::new(Relu) as Arc<dyn Layer>, Arc::new(Tanh)] {
        let found = accuracy(activation.clone(), None);
        assert!(found > 0.6, "{activation:?}: {found}");
    }
    let of_book = accuracy(Arc::new(Relu), Some(Init::Normal { std: 0.01 }));
    assert!(of_book < 0.2, "{of_book}");
}
