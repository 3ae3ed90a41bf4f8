use wgrad::cpu::{self, Network};
use wgrad::data::{Dataset, Sampling};
use wgrad::ndarray::{Array2, Axis};
use wgrad::ops::{Sgd, SoftmaxCrossEntropy};
use wgrad::reference::Float;
use wgrad::{Sequential, Trainer};

use super::{assert_near, digits, relu_net, sigmoid_net, trainer};
use crate::bounds::{self, Activation, Bounded};
use crate::gpu::{FLUSHED, ROUNDING, assert_close, gpu};

const STEPS: usize = 50;
pub(super) const RATE: f32 = 0.1;

fn samplings() -> [Sampling; 2] {
    [
        Sampling::WithReplacement { seed: 9 },
        Sampling::Shuffled { seed: 9 },
    ]
}

fn nets() -> [(Sequential, Activation); 2] {
    [
        (relu_net(), Activation::Relu),
        (sigmoid_net(), Activation::Sigmoid),
    ]
}

/// Returns the weight (inputs, outputs) and the bias (1, outputs) of each linear layer.
pub(super) fn parameters(trainer: &Trainer) -> Vec<Vec<Array2<f64>>> {
    let all = trainer.model().parameters().unwrap();
    let all = all.iter().map(|(_, values)| {
        let values = values.mapv(f64::from);
        match values.ndim() {
            1 => values.insert_axis(Axis(0)),
            _ => values,
        }
    });
    let all: Vec<_> = all
        .map(|values| values.into_dimensionality().unwrap())
        .collect();
    all.chunks(2).map(<[_]>::to_vec).collect()
}

/// Returns the examples of a step, from the data set.
pub(super) fn minibatch(
    data: &Dataset,
    sampling: &Sampling,
    step: u32,
    batch: usize,
) -> (Array2<f64>, Vec<u32>) {
    let mut indices = vec![0; batch];
    sampling.minibatch(data.len(), step, &mut indices);
    // The pixels are in single precision, as in the network. `unpack4x8unorm` may have an error of 3 ULP, which
    // [`PIXELS`] takes into account.
    let pixel =
        |(row, column)| f64::from(f32::from(data.row(indices[row] as usize)[column]) / 255.0);
    let x = Array2::from_shape_fn((batch, data.width()), pixel);
    let labels = indices
        .iter()
        .map(|&index| data.labels().indices()[index as usize]);
    (x, labels.collect())
}

/// Factor on error bounds that takes the pixels' error of 3 ULP (at most 6 roundings) into account. Without this error,
/// the relative error bound of a sum of 785 products is 8·√785 ≈ 224 roundings.
pub(super) const PIXELS: f64 = 1.0 + 6.0 / 224.0;

/// Computes a step by the formulas from the GPU's parameters before the step, and compares the loss and the updated
/// parameters. `activations` has one entry per linear layer; the last is `None`.
pub(super) fn check_step(
    case: &str,
    trainer: &mut Trainer,
    activations: &[Option<Activation>],
    batch: &(Array2<f64>, Vec<u32>),
) {
    let before = parameters(trainer);
    assert_eq!(before.len(), activations.len() + 1, "{case}: layers");
    let activations = activations.iter().copied().chain([None]);
    let layers: Vec<_> = before.iter().map(Vec::as_slice).zip(activations).collect();
    let expected = bounds::gradient(&layers, &batch.0, &batch.1);
    let [loss, error] = expected.mean_loss;
    let found = trainer.steps(1).unwrap();
    assert_close(&format!("{case}: loss"), &found, [loss], [PIXELS * error]);

    let after = parameters(trainer);
    let rate = f64::from(RATE);
    let gradients = expected.gradients.iter().flatten();
    let parameters = before.iter().flatten().zip(after.iter().flatten());
    for (index, ((before, after), Bounded { value, error })) in
        parameters.zip(gradients).enumerate()
    {
        let value = value.iter().zip(error);
        let error = before.iter().zip(after);
        for (at, ((&gradient, &error), (&before, &after))) in value.zip(error).enumerate() {
            let expected = before - rate * gradient;
            let rounding = 2.0 * ROUNDING * (expected.abs() + rate * gradient.abs());
            let tolerance = PIXELS * rate * error + rounding + 2.0 * FLUSHED;
            assert!(
                (after - expected).abs() <= tolerance,
                "{case}: value {at} of parameter {index} is {after}, expected {expected} ± {tolerance}"
            );
        }
    }
}

/// For each step, the formulas start from the GPU's parameters before it, so that errors do not add up and the bound
/// stays tight.
#[test]
fn each_step_is_that_of_the_formulas() {
    let data = digits().train;
    for (spec, activation) in nets() {
        for sampling in samplings() {
            for size in [1, 33, 100] {
                let mut trainer = trainer(gpu(), &spec, &data, size, sampling.clone());
                let hidden = parameters(&trainer).len() - 1;
                for step in 0..5 {
                    let case = format!("{activation:?}, {sampling:?}, batch {size}, step {step}");
                    let batch = minibatch(&data, &sampling, step, size);
                    check_step(&case, &mut trainer, &vec![Some(activation); hidden], &batch);
                }
            }
        }
    }
}

fn losses_on_cpu<F: Float>(spec: &Sequential, data: &Dataset, sampling: &Sampling) -> Vec<F> {
    let (network, sgd) = (Network::<F>::new(spec).unwrap(), Sgd::new(RATE));
    let sampling = sampling.clone();
    let trainer = cpu::Trainer::new(network, SoftmaxCrossEntropy, sgd, data, 100, sampling);
    trainer.unwrap().steps(STEPS).unwrap()
}

#[test]
fn fifty_steps_are_those_of_the_reference() {
    let data = digits().train;
    for (spec, activation) in nets() {
        for sampling in samplings() {
            let mut trainer = trainer(gpu(), &spec, &data, 100, sampling.clone());
            let case = format!("{activation:?}, {sampling:?}");
            let double = losses_on_cpu::<f64>(&spec, &data, &sampling);
            let single = losses_on_cpu::<f32>(&spec, &data, &sampling);
            let found = trainer.steps(STEPS).unwrap();
            assert_near(&case, &found, &double, &single, 1e-3);
        }
    }
}

/// The reference and the GPU start from the same parameters.
#[test]
fn both_start_from_the_same_parameters() {
    for (spec, _) in nets() {
        let model = spec.build(gpu()).unwrap();
        let reference = Network::<f32>::new(&spec).unwrap();
        assert_eq!(model.parameters().unwrap(), reference.parameters());
    }
}
