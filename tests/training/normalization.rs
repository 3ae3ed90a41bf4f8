//! Normalization in training. The GPU and the CPU agree, two runs have the same bits, and the running values are used
//! outside training steps.

use wgrad::data::{Examples, Labels, Sampling, Table};
use wgrad::ndarray::{Array2, Axis};
use wgrad::ops::{BatchNorm, LayerNorm, Linear, Relu, Sgd, SoftmaxCrossEntropy};
use wgrad::reference::Float;
use wgrad::{Device, Parameters, Sequential, Train, Trainer, cpu};

use super::{assert_near, digits};
use crate::gpu::{Numbers, gpu};

fn net() -> Sequential {
    let spec = Sequential::input(784)
        .layer(Linear::new(40))
        .layer(BatchNorm::new())
        .layer(Relu);
    let spec = spec
        .layer(Linear::new(20))
        .layer(LayerNorm::new())
        .layer(Relu);
    spec.layer(Linear::new(10)).seed(5)
}

const SAMPLING: Sampling = Sampling::Shuffled { seed: 2 };

fn on_cpu<F: Float>(spec: &Sequential) -> cpu::Trainer<F> {
    let loss = SoftmaxCrossEntropy;
    let optimizer = Sgd::new(0.1);
    let network = cpu::Network::new(spec).unwrap();
    cpu::Trainer::new(network, loss, optimizer, &digits().train, 100, SAMPLING).unwrap()
}

fn devices() -> [Device; 2] {
    [
        Device::cpu("a test"),
        Device::with_gpu(gpu().clone(), "a test"),
    ]
}

fn trainer(
    device: &Device,
    spec: &Sequential,
    data: impl Into<Examples>,
    batch: usize,
) -> Box<dyn Train> {
    let loss = SoftmaxCrossEntropy;
    let optimizer = Sgd::new(0.1);
    let trainer = device.trainer(spec, loss, optimizer, data, batch, SAMPLING);
    trainer.unwrap()
}

#[test]
fn forty_normalized_steps_are_those_of_the_reference() {
    let spec = net();
    let loss = SoftmaxCrossEntropy;
    let optimizer = Sgd::new(0.1);
    let model = spec.build(gpu()).unwrap();
    let data = digits().train;
    let mut trainer = Trainer::new(model, loss, optimizer, &data, 100, SAMPLING).unwrap();
    let double = on_cpu::<f64>(&spec).steps(40).unwrap();
    let single = on_cpu::<f32>(&spec).steps(40).unwrap();
    let found = trainer.steps(40).unwrap();
    assert_near("normalized", &found, &double, &single, 1e-2);
    assert!(double[39] < 0.5 * double[0], "{double:?}");
}

fn bits(parameters: &Parameters) -> Vec<u32> {
    let values = parameters.iter().flat_map(|(_, values)| values);
    values.map(|value| value.to_bits()).collect()
}

#[test]
fn normalized_steps_have_the_same_bits_twice() {
    for device in devices() {
        let run = |calls: &[usize]| {
            let mut trainer = trainer(&device, &net(), &digits().train, 64);
            let losses = calls
                .iter()
                .flat_map(|&steps| trainer.steps(steps).unwrap());
            let losses: Vec<u32> = losses.map(f32::to_bits).collect();
            (
                losses,
                bits(&trainer.parameters().unwrap()),
                bits(&trainer.state().unwrap()),
            )
        };
        let first = run(&[20]);
        assert_eq!((first.0.len(), first.2.len()), (20, 80));
        assert!(first == run(&[20]), "{device:?}");
        assert!(first == run(&[1, 0, 12, 7]), "{device:?}");
    }
}

/// Returns 20 rows of four numbers, whose mean is far from 0 and whose variance is far from 1.
fn rows() -> (Array2<f32>, Table) {
    let mut numbers = Numbers::new(7);
    let x = Array2::from_shape_fn((20, 4), |(_, column)| {
        5.0 * column as f32 - 3.0 + (1.0 + column as f32) * numbers.uniform()
    });
    let labels = (0..20).map(|row| row % 2).collect();
    let labels = Labels::from_classes(labels, 2).unwrap();
    let table = Table::classification("rows", x.view(), labels).unwrap();
    (x, table)
}

/// If every minibatch has all rows, the running values approach the statistics of the rows in a geometric series,
/// whatever the weights are.
#[test]
fn running_values_go_to_those_of_the_rows() {
    const STEPS: i32 = 12;
    let (x, table) = rows();
    let x = x.mapv(f64::from);
    let spec = Sequential::input(4)
        .layer(BatchNorm::new())
        .layer(Linear::new(2))
        .seed(3);
    for device in devices() {
        let mut trainer = trainer(&device, &spec, &table, 20);
        trainer.steps(STEPS as usize).unwrap();
        let state = trainer.state().unwrap();
        let left = 0.9f64.powi(STEPS);
        let mean = x.mean_axis(Axis(0)).unwrap();
        let variance = x.var_axis(Axis(0), 1.0);
        for column in 0..4 {
            let of = |name: &str| f64::from(state[name][[column]]);
            let mean = (1.0 - left) * mean[column];
            let variance = left + (1.0 - left) * variance[column];
            let found = [of("layers.0.running_mean"), of("layers.0.running_var")];
            for (found, expected) in found.into_iter().zip([mean, variance]) {
                let is_near = (found - expected).abs() <= 1e-5 * (1.0 + expected.abs());
                assert!(is_near, "{device:?}, column {column}: {found} {expected}");
            }
        }
    }
}

/// Predictions use neither the statistics of the predicted rows nor the initial ones.
#[test]
fn predictions_use_the_running_values() {
    let (x, table) = rows();
    let spec = Sequential::input(4)
        .layer(BatchNorm::new())
        .layer(Linear::new(2))
        .seed(3);
    for device in devices() {
        let mut trainer = trainer(&device, &spec, &table, 20);
        trainer.steps(12).unwrap();
        let p = trainer.parameters().unwrap();
        let state = trainer.state().unwrap();
        let expected = |row: usize, output: usize, running: [&[f64; 4]; 2]| -> f64 {
            let products = (0..4).map(|c| {
                let normal =
                    (f64::from(x[[row, c]]) - running[0][c]) / (running[1][c] + 1e-5).sqrt();
                let [weight, bias] =
                    ["layers.0.weight", "layers.0.bias"].map(|name| f64::from(p[name][[c]]));
                (weight * normal + bias) * f64::from(p["layers.1.weight"][[c, output]])
            });
            products.sum::<f64>() + f64::from(p["layers.1.bias"][[output]])
        };
        let kept = ["layers.0.running_mean", "layers.0.running_var"]
            .map(|name| [0, 1, 2, 3].map(|c| f64::from(state[name][[c]])));
        let untouched = [[0.0; 4], [1.0; 4]];
        let all = trainer.predict(x.view()).unwrap();
        let mut apart = 0.0f64;
        for row in 0..20 {
            let alone = trainer
                .predict(x.slice(wgrad::ndarray::s![row..=row, ..]))
                .unwrap();
            for output in 0..2 {
                let right = expected(row, output, [&kept[0], &kept[1]]);
                for found in [all[[row, output]], alone[[0, output]]] {
                    let is_near = (f64::from(found) - right).abs() <= 1e-4 * (1.0 + right.abs());
                    assert!(is_near, "{device:?}, row {row}: {found} {right}");
                }
                let wrong = expected(row, output, [&untouched[0], &untouched[1]]);
                apart = apart.max((wrong - right).abs());
            }
        }
        assert!(apart > 0.1, "untouched running values would give the same");
        let before = bits(&trainer.state().unwrap());
        trainer.evaluate(&table).unwrap();
        assert!(
            before == bits(&trainer.state().unwrap()),
            "an evaluation changed state"
        );
    }
}
