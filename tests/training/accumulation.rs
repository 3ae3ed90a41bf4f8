//! Gradient accumulation: a step of several minibatches equals a step of one large minibatch.

use wgrad::data::{Sampling, Table};
use wgrad::ndarray::Array2;
use wgrad::ops::{Adam, Dropout, Linear, MeanSquaredError, Sgd, Tanh};
use wgrad::{Error, Sequential, Train, Trainer, Unfused};

use crate::gpu::gpu;
use crate::{digits, relu_net, trainer};

const SAMPLING: Sampling = Sampling::Shuffled { seed: 3 };

fn table() -> Table {
    let x = Array2::from_shape_fn((120, 3), |(row, c)| ((row * 7 + c * 5) % 23) as f32 / 23.0);
    let y = Array2::from_shape_fn((120, 2), |(row, c)| ((row * 3 + c) % 17) as f32 / 17.0);
    Table::regression("made up", x.view(), y.view()).unwrap()
}

fn spec() -> Sequential {
    let spec = Sequential::input(3).layer(Linear::new(8)).layer(Tanh);
    spec.layer(Linear::new(2)).seed(2)
}

/// Returns a trainer on each engine, with these numbers of rows per minibatch and of minibatches per step.
fn trainers(spec: &Sequential, [rows, minibatches]: [usize; 2]) -> [Box<dyn Train>; 2] {
    let loss = MeanSquaredError;
    let adam = Adam::new(0.01);
    let model = spec.build(gpu()).unwrap();
    let on_gpu = Trainer::new(model, loss, adam, &table(), rows, SAMPLING).unwrap();
    let network = spec.on_cpu().unwrap();
    let on_cpu = wgrad::cpu::Trainer::new(network, loss, adam, &table(), rows, SAMPLING).unwrap();
    let mut trainers: [Box<dyn Train>; 2] = [Box::new(on_gpu), Box::new(on_cpu)];
    for trainer in &mut trainers {
        trainer.accumulate(minibatches).unwrap();
    }
    trainers
}

/// Compares the losses of trainings by Adam, not the parameters. Adam's first steps have the same length for small and
/// large gradients, even for a gradient that is only a rounding error. So the parameters would not reveal gradients
/// that are added instead of averaged; `an_update_is_by_the_mean` finds that mistake with SGD. This test finds losses
/// that are added instead of averaged.
#[test]
fn steps_are_those_of_one_minibatch_as_large() {
    let [whole, parts] = [[24, 1], [6, 4]].map(|rows| trainers(&spec(), rows));
    for (mut whole, mut parts) in whole.into_iter().zip(parts) {
        let expected = whole.steps(30).unwrap();
        let found = parts.steps(30).unwrap();
        assert!(expected[29] < 0.8 * expected[0], "{expected:?}");
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}

/// With SGD, a step would be four times as long if the gradients were summed instead of averaged.
#[test]
fn an_update_is_by_the_mean() {
    let of = |rows, minibatches| {
        let loss = MeanSquaredError;
        let sgd = Sgd::new(0.5);
        let model = spec().build(gpu()).unwrap();
        let mut trainer = Trainer::new(model, loss, sgd, &table(), rows, SAMPLING).unwrap();
        trainer.accumulate(minibatches).unwrap();
        trainer.steps(1).unwrap();
        trainer.model().parameters().unwrap()
    };
    let expected = of(24, 1);
    let found = of(6, 4);
    for ((name, expected), (_, found)) in expected.iter().zip(found.iter()) {
        for (expected, found) in expected.iter().zip(found) {
            assert!(
                (expected - found).abs() < 1e-6,
                "{name}: {expected} {found}"
            );
        }
    }
}

/// Dropout drops different elements in each minibatch of a step, and the same elements on both engines. A resumed
/// training has the same bits as an uninterrupted one.
#[test]
fn layers_draw_in_each_minibatch_anew_and_the_bits_are_the_same_after_a_resume() {
    let spec = Sequential::input(3)
        .layer(Linear::new(40))
        .layer(Dropout::new(0.5));
    let spec = spec.layer(Linear::new(2)).seed(4);
    let [mut on_gpu, mut on_cpu] = trainers(&spec, [6, 4]);
    let found = on_gpu.steps(20).unwrap();
    let expected = on_cpu.steps(20).unwrap();
    for (found, expected) in found.iter().zip(&expected) {
        assert!(
            (found - expected).abs() < 1e-4 * expected,
            "{found} {expected}"
        );
    }
    // Compares with one large minibatch, which drops other elements and therefore has another loss.
    let [_, mut once] = trainers(&spec, [24, 1]);
    assert!((once.steps(1).unwrap()[0] - expected[0]).abs() > 1e-6);

    for (at, mut trainer) in [on_gpu, on_cpu].into_iter().enumerate() {
        let file = trainer.to_safetensors().unwrap();
        let on = trainer.steps(5).unwrap();
        let mut other = trainers(&spec, [6, 4]).into_iter().nth(at).unwrap();
        other
            .set_safetensors_with(&file, Default::default())
            .unwrap();
        assert_eq!(other.steps(5).unwrap(), on);
        let mut whole = trainers(&spec, [24, 1]).into_iter().nth(at).unwrap();
        let refused = whole.set_safetensors_with(&file, Default::default());
        let refused = message(refused);
        assert!(
            refused.contains("a different batch: expected 24, found 4 of 6"),
            "{refused}"
        );
    }
}

#[test]
fn what_cannot_be_accumulated_is_refused() {
    for mut trainer in trainers(&spec(), [6, 1]) {
        for (minibatches, expected) in [
            (
                0,
                "1 to 20, the number of full minibatches of 6 in 120 examples",
            ),
            (21, "it is 21"),
        ] {
            let refused = message(trainer.accumulate(minibatches));
            assert!(refused.contains(expected), "{refused}");
        }
    }
    let model = spec().build(gpu()).unwrap();
    let mut online = Trainer::online(model, MeanSquaredError, Sgd::new(0.1)).unwrap();
    let refused = message(online.accumulate(2));
    assert!(refused.contains("the caller passes"), "{refused}");
}

/// A fused step takes only one minibatch, so accumulation ends the fusion. When accumulation ends, the steps are fused
/// again.
#[test]
fn a_fused_training_is_no_longer_fused() {
    let mut fused = trainer(gpu(), &relu_net(), &digits().train, 20, SAMPLING);
    assert_eq!(fused.unfused(), None);
    fused.accumulate(2).unwrap();
    assert_eq!(fused.unfused(), Some(&Unfused::Steered));
    fused.accumulate(1).unwrap();
    assert_eq!(fused.unfused(), None);
}

fn message(refused: Result<(), Error>) -> String {
    refused.unwrap_err().to_string()
}
