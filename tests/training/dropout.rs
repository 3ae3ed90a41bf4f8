//! Dropout in training. It drops the same elements on the GPU and on the CPU, and only in training steps.

use wgrad::data::Sampling;
use wgrad::ndarray::Array2;
use wgrad::ops::{Dropout, Layer, Linear, Relu, Sgd, SoftmaxCrossEntropy};
use wgrad::reference::{Draw, Float, Forward, Mode};
use wgrad::{Init, Sequential, Shape, Trainer, cpu};

use super::{assert_near, digits};
use crate::gpu::gpu;

/// Returns a network with two dropout layers of the same width.
fn net(p: f32) -> Sequential {
    let linear = |outputs| Linear::new(outputs).weight_init(Init::XavierUniform);
    let spec = Sequential::input(784).layer(linear(40)).layer(Relu);
    let spec = spec.layer(Dropout::new(p)).layer(linear(40));
    let spec = spec.layer(Relu).layer(Dropout::new(p));
    spec.layer(linear(10)).seed(5)
}

const SAMPLING: Sampling = Sampling::Shuffled { seed: 2 };

fn on_gpu(spec: &Sequential) -> Trainer {
    let model = spec.build(gpu()).unwrap();
    let data = digits().train;
    let loss = SoftmaxCrossEntropy;
    let optimizer = Sgd::new(0.1);
    Trainer::new(model, loss, optimizer, &data, 100, SAMPLING).unwrap()
}

fn on_cpu<F: Float>(spec: &Sequential) -> cpu::Trainer<F> {
    cpu::Trainer::new(
        cpu::Network::new(spec).unwrap(),
        SoftmaxCrossEntropy,
        Sgd::new(0.1),
        &digits().train,
        100,
        SAMPLING,
    )
    .unwrap()
}

#[test]
fn forty_steps_are_those_of_the_reference() {
    let spec = net(0.3);
    let mut trainer = on_gpu(&spec);
    let why = trainer.unfused().unwrap().to_string();
    assert!(why.starts_with("layers.2, Dropout(0.3)"), "{why}");
    let double = on_cpu::<f64>(&spec).steps(40).unwrap();
    let single = on_cpu::<f32>(&spec).steps(40).unwrap();
    assert_near(
        "dropout",
        &trainer.steps(40).unwrap(),
        &double,
        &single,
        1e-3,
    );

    let without = on_cpu::<f64>(&net(0.0)).steps(40).unwrap();
    let difference = double.iter().zip(&without).map(|(a, b)| (a - b).abs());
    assert!(
        difference.fold(0.0, f64::max) > 0.1,
        "nothing was dropped: {without:?}"
    );
}

#[test]
fn evaluation_drops_nothing() {
    let test = digits().test;
    let mut trainer = on_gpu(&net(0.5));
    trainer.steps(60).unwrap();
    let parameters = trainer.model().parameters().unwrap();
    let found = trainer.evaluate(&test).unwrap();
    let mut plain = on_gpu(&net(0.0));
    plain.set_parameters(&parameters).unwrap();
    assert_eq!(found, plain.evaluate(&test).unwrap());
    let mut on_cpu = on_cpu::<f32>(&net(0.5));
    on_cpu.set_parameters(&parameters).unwrap();
    let expected = on_cpu.evaluate(&test).unwrap();
    assert!(
        (found.loss - expected.loss).abs() < 1e-5,
        "{found:?} {expected:?}"
    );
}

/// Returns for each of 10,000 elements whether it is kept.
fn kept(p: f32, key: [u32; 2], step: u32) -> Vec<bool> {
    let x = Array2::from_elem((100, 100), 1.0);
    let mut y = Array2::zeros((100, 100));
    let twin = Dropout::new(p).reference();
    let input = Shape::from(100);
    let mode = Mode::Training(Draw::new(key, step));
    f64::of(&twin).forward(Forward::new((x.view(), input), &[], y.view_mut(), mode));
    let scale = 1.0 / (1.0 - f64::from(p));
    assert!(y.iter().all(|&y| y == 0.0 || y == scale));
    y.iter().map(|&y| y != 0.0).collect()
}

#[test]
fn each_step_and_layer_keeps_others_in_the_right_number() {
    for p in [0.1f32, 0.5, 0.9] {
        let share = 1.0 - f64::from(p);
        // The tolerance is five standard deviations of the number of elements (or pairs) out of 10,000.
        let allowed = |share: f64| 5.0 * (10_000.0 * share * (1.0 - share)).sqrt();
        let first = kept(p, [1, 2], 0);
        for (case, other) in [
            ("step", kept(p, [1, 2], 1)),
            ("layer", kept(p, [1, 3], 0)),
            ("network", kept(p, [2, 2], 0)),
        ] {
            let count = other.iter().filter(|&&kept| kept).count() as f64;
            assert!(
                (count - 10_000.0 * share).abs() < allowed(share),
                "{case} {p}: {count}"
            );
            let both = first.iter().zip(&other).filter(|&(&a, &b)| a && b);
            let both = both.count() as f64;
            let share = share * share;
            assert!(
                (both - 10_000.0 * share).abs() < allowed(share),
                "{case} {p}: {both}"
            );
        }
    }
}

#[test]
fn what_is_no_probability_below_one_is_refused() {
    for p in [-0.1, 1.0, f32::NAN] {
        let message = net(p).build(gpu()).unwrap_err().to_string();
        assert!(message.starts_with("p of layers.2, Dropout("), "{message}");
    }
}
