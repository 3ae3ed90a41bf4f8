use wgrad::data::{Dataset, Labels, Sampling};
use wgrad::ops::{Adam, Linear, Optimizer, Sgd, SoftmaxCrossEntropy};
use wgrad::{Fusion, Gpu, Sequential, Trainer};

use super::many_rows::with_bindings_of;
use super::{digits, relu_net, sigmoid_net, trainer};
use crate::gpu::gpu;

type Bits = (Vec<u32>, Vec<u32>);

/// Trains on a new device. Returns the bits of all losses, and of all parameters at the end.
fn run(seed: u64, steps: &[usize], sigmoid: bool) -> Bits {
    let spec = if sigmoid { sigmoid_net() } else { relu_net() };
    let sampling = Sampling::WithReplacement { seed };
    let device = Gpu::new().unwrap();
    let mut trainer = trainer(&device, &spec.seed(seed), &digits().train, 64, sampling);
    let losses = steps
        .iter()
        .flat_map(|&steps| trainer.steps(steps).unwrap());
    let losses = losses.map(f32::to_bits).collect();
    let parameters = trainer.model().parameters().unwrap();
    let values = parameters.iter().flat_map(|(_, values)| values);
    (losses, values.map(|value| value.to_bits()).collect())
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    for sigmoid in [false, true] {
        let first = run(1, &[30], sigmoid);
        assert_eq!(first.0.len(), 30);
        assert!(first == run(1, &[30], sigmoid), "another run");
        assert!(
            first == run(1, &[1, 0, 9, 20], sigmoid),
            "the same steps in several calls"
        );
    }
}

#[test]
fn another_seed_gives_another_run() {
    let [first, second] = [1, 2].map(|seed| run(seed, &[30], false));
    let same = first
        .0
        .iter()
        .zip(&second.0)
        .filter(|(a, b)| a == b)
        .count();
    assert!(same < 3, "{same} of 30 losses are the same");
    assert!(first.1 != second.1);
}

/// Training changes every parameter of every layer. If a parameter did not change, tests that compare the parameters of
/// two runs would prove nothing about it.
#[test]
fn every_parameter_of_every_layer_changes() {
    for spec in [relu_net(), sigmoid_net()] {
        let sampling = Sampling::Shuffled { seed: 1 };
        let mut trainer = trainer(gpu(), &spec, &digits().train, 100, sampling);
        let before = trainer.model().parameters().unwrap();
        trainer.steps(10).unwrap();
        let after = trainer.model().parameters().unwrap();
        for ((name, before), (_, after)) in before.iter().zip(after.iter()) {
            let changed = before.iter().zip(after).filter(|(a, b)| a != b).count();
            // Most of the first layer's weights belong to pixels that are not 0 in at least one example.
            assert!(
                2 * changed > before.len(),
                "{name}: {changed} of {}",
                before.len()
            );
        }
    }
}

#[test]
fn training_learns() {
    let digits = digits();
    let sampling = Sampling::WithReplacement { seed: 1 };
    let mut trainer = trainer(gpu(), &relu_net(), &digits.train, 100, sampling);
    let before = trainer.evaluate(&digits.train).unwrap();
    let losses = trainer.steps(600).unwrap();
    let after = trainer.evaluate(&digits.train).unwrap();
    assert!(
        losses[599] < losses[0] / 4.0,
        "{} {}",
        losses[0],
        losses[599]
    );
    assert!(
        before.accuracy < Some(0.4) && after.accuracy > Some(0.9),
        "{before:?} {after:?}"
    );
}

/// If two weights do not fit into one binding, they are in two buffers, and so is the optimizer's state. The update
/// then takes one more dispatch, and gives the same bits.
#[test]
fn parameters_in_two_buffers_are_trained_as_those_in_one() {
    const WIDTH: usize = 200;
    // The bindings must be large enough for the trainer's losses and for the coefficients of its steps.
    let narrow = with_bindings_of(256 << 10);
    let weight = || Linear::new(WIDTH).without_bias();
    let spec = Sequential::input(WIDTH).layer(weight()).layer(weight());
    let digits = digits().train;
    let rows = (0..40).flat_map(|example| digits.row(example)[300..][..WIDTH].to_vec());
    let labels = Labels::from_classes((0..40).collect(), WIDTH).unwrap();
    let data = Dataset::new("pieces", WIDTH, rows.collect(), labels).unwrap();
    let optimizers: [fn() -> Box<dyn Optimizer>; 3] = [
        || Box::new(Sgd::new(0.1)),
        || Box::new(Sgd::new(0.1).momentum(0.9)),
        || Box::new(Adam::new(1e-2)),
    ];
    for optimizer in optimizers {
        let [(in_one, of_one), (in_two, of_two)] = [gpu(), &narrow].map(|gpu| {
            let model = spec.build(gpu).unwrap();
            let loss = SoftmaxCrossEntropy;
            let sampling = Sampling::Shuffled { seed: 1 };
            let plan = Fusion::Layers;
            let mut trainer =
                Trainer::with_fusion(model, loss, optimizer(), &data, 8, sampling, plan).unwrap();
            trainer.steps(5).unwrap();
            let saved = trainer.to_safetensors().unwrap();
            (trainer.plan().len(), saved)
        });
        assert_eq!(in_two, in_one + 1, "{:?}", optimizer());
        assert!(of_two == of_one, "{:?}", optimizer());
    }
}
