#![allow(clippy::unwrap_used)]

use super::DECAY;
use crate::kernel::Element;
use crate::ops::{AdaGrad, Adam, AdamW, Group, Optimizer, RmsProp, Sgd, Update};
use crate::plan::Recorder;
use crate::reference::{Float, UpdateStep};
use crate::tensor::{Arena, ArenaSpec, Tensor};
use crate::testing::{Fill, Numbers, gpu};

/// Parameters with and without weight decay are separate parts. The parameters without it must change as they do with
/// an optimizer without weight decay, on the GPU and in the reference.
#[test]
fn weight_decay_is_for_parameters_that_decay() {
    const DECAYING: usize = 300;
    const OTHERS: usize = 70;
    let plain: Vec<Box<dyn Optimizer>> = vec![
        Box::new(Sgd::new(0.1)),
        Box::new(Sgd::new(0.1).momentum(0.9)),
        Box::new(Adam::new(1e-3)),
        Box::new(AdamW::new(1e-3).weight_decay(0.0)),
        Box::new(AdaGrad::new(0.5)),
        Box::new(RmsProp::new(0.01)),
    ];
    let decaying: Vec<Box<dyn Optimizer>> = vec![
        Box::new(Sgd::new(0.1).weight_decay(DECAY)),
        Box::new(Sgd::new(0.1).momentum(0.9).weight_decay(DECAY)),
        Box::new(Adam::new(1e-3).weight_decay(DECAY)),
        Box::new(AdamW::new(1e-3).weight_decay(DECAY)),
        Box::new(AdaGrad::new(0.5).weight_decay(DECAY)),
        Box::new(RmsProp::new(0.01).weight_decay(DECAY)),
    ];
    let bits = |values: &[f32]| {
        values
            .iter()
            .map(|value| value.to_bits())
            .collect::<Vec<_>>()
    };
    for (plain, decaying) in plain.iter().zip(&decaying) {
        let run = |optimizer: &dyn Optimizer| update_two_blocks(optimizer, [OTHERS, DECAYING]);
        let [other, decayed] = run(&**decaying);
        let [expected, unlike] = run(&**plain);
        assert_eq!(bits(&other), bits(&expected), "{decaying:?}");
        assert_ne!(bits(&decayed), bits(&unlike), "{decaying:?}");

        let by_reference = |optimizer: &dyn Optimizer, decays: bool| {
            let mut at = UpdateStep::new(0, 0.1);
            at.weight_decay = (!decays).then_some(0.0);
            let mut parameter = ndarray::Array2::from_elem((1, 3), 0.75f64);
            let gradient = ndarray::Array2::from_elem((1, 3), 0.5);
            let mut state = vec![ndarray::Array2::zeros((1, 3)); optimizer.state().len()];
            let mut state: Vec<_> = state.iter_mut().map(|kept| kept.view_mut()).collect();
            let rule = optimizer.reference();
            f64::rule(&rule).update(at, parameter.view_mut(), gradient.view(), &mut state);
            parameter
        };
        let expected = by_reference(&**plain, true);
        assert_eq!(by_reference(&**decaying, false), expected, "{decaying:?}");
        assert_ne!(by_reference(&**decaying, true), expected, "{decaying:?}");
    }
}

/// Returns the parameters after an update: first those without weight decay, then those with it.
fn update_two_blocks(optimizer: &dyn Optimizer, sizes: [usize; 2]) -> [Vec<f32>; 2] {
    let gpu = gpu();
    let specs = sizes.map(|size| ArenaSpec::new("p", [1, size]).decays(size == sizes[1]));
    let arena = |role: &str| Arena::zeros(gpu, role, &specs).unwrap();
    let [parameters, gradients] = ["parameters", "gradients"].map(arena);
    let mut numbers = Numbers::new(1);
    for tensor in parameters.tensors().iter().chain(gradients.tensors()) {
        gpu.write(tensor, &numbers.fill(tensor.len(), Fill::Moderate))
            .unwrap();
    }
    let state: Vec<Arena> = optimizer.state().iter().map(|name| arena(name)).collect();
    let coefficients = Tensor::zeros(gpu, "coefficients", [1, 4], Element::F32).unwrap();
    gpu.write(&coefficients, &optimizer.coefficients(0))
        .unwrap();
    let step_count = Tensor::zeros(gpu, "step count", [1, 1], Element::U32).unwrap();
    let mut recorder = Recorder::new(gpu);
    let pass = Update {
        parameters: &parameters,
        gradients: &gradients,
        groups: &sizes.map(|size| {
            if size == sizes[1] {
                Group::new()
            } else {
                Group::new().weight_decay(0.0)
            }
        }),
        state: &state,
        coefficients: &coefficients,
        step_count: &step_count,
    };
    optimizer.update(&mut recorder, pass).unwrap();
    gpu.submit(&recorder.finish().unwrap(), 1).unwrap();
    let tensors = parameters.tensors();
    [0, 1].map(|at| gpu.read(&tensors[at]).unwrap())
}
