//! The state of layers after a divergence, and how training continues.

use wgrad::data::Examples;
use wgrad::ops::{Sgd, SoftmaxCrossEntropy};
use wgrad::{Device, Error, Train};

use crate::gpu::gpu;
use crate::training::{BATCH, SAMPLING, normalized, table};

/// Returns a training on each engine. Depending on the learning rate, the network diverges or learns.
fn on_both(learning_rate: f32) -> [(&'static str, Box<dyn Train>); 2] {
    let table = table(320);
    let devices = [
        ("gpu", Device::with_gpu(gpu().clone(), "a test")),
        ("cpu", Device::cpu("a test")),
    ];
    devices.map(|(name, device)| {
        let loss = SoftmaxCrossEntropy;
        let optimizer = Sgd::new(learning_rate).momentum(0.9);
        let trainer = device.trainer(&normalized(), loss, optimizer, &table, BATCH, SAMPLING);
        (name, trainer.unwrap())
    })
}

#[track_caller]
fn diverge(case: &str, trainer: &mut dyn Train) {
    let steps = trainer.steps(10);
    assert!(
        matches!(steps, Err(Error::Diverged { .. })),
        "{case}: {steps:?}"
    );
    let state = trainer.state().unwrap();
    let mut values = state.iter().flat_map(|(_, values)| values);
    assert!(values.any(|value| !value.is_finite()), "{case}: {state:?}");
}

/// After a divergence, it is enough to replace all parameters: this also resets the state to its initial values.
/// Replacing a single parameter or only the state is refused.
#[test]
fn after_a_divergence_parameters_bring_sound_state() {
    let table = Examples::from(&table(320));
    for ((case, mut trainer), (_, mut learned)) in on_both(1e38).into_iter().zip(on_both(0.1)) {
        let sound = trainer.parameters().unwrap();
        let initial = trainer.state().unwrap();
        diverge(case, &mut *trainer);
        let (name, value) = sound.iter().next().unwrap();
        for refused in [
            trainer.set_parameter(name, value.view()),
            trainer.set_state(&initial),
            trainer.steps(1).map(drop),
            trainer.set_parameter(name, value.view()),
        ] {
            assert!(
                matches!(refused, Err(Error::Diverged { .. })),
                "{case}: {refused:?}"
            );
        }

        trainer.set_parameters(&sound).unwrap();
        assert_eq!(trainer.state().unwrap(), initial, "{case}");
        assert_eq!(trainer.parameters().unwrap(), sound, "{case}");
        trainer.to_safetensors().unwrap();
        assert!(trainer.evaluate(&table).unwrap().loss.is_finite(), "{case}");
        let losses = trainer.steps(1).unwrap();
        assert!(losses[0] < 10.0, "{case}: {losses:?}");

        // If a file contains state with the parameters, that state is used. It differs from the initial state.
        learned.steps(5).unwrap();
        let file = learned.to_safetensors().unwrap();
        let state = learned.state().unwrap();
        assert_ne!(state, initial, "{case}");
        diverge(case, &mut *trainer);
        trainer.set_weights(&file).unwrap();
        assert_eq!(trainer.state().unwrap(), state, "{case}");
        diverge(case, &mut *trainer);
        trainer
            .set_parameters(&learned.parameters().unwrap())
            .unwrap();
        trainer.set_state(&state).unwrap();
        assert_eq!(trainer.state().unwrap(), state, "{case}");
        let expected = learned.evaluate(&table).unwrap();
        assert_eq!(trainer.evaluate(&table).unwrap(), expected, "{case}");
    }
}

/// Without a divergence, state and parameters can be replaced separately.
#[test]
fn state_and_parameters_are_replaced_one_without_the_other() {
    for (case, mut trainer) in on_both(0.1) {
        let parameters = trainer.parameters().unwrap();
        let state = trainer.state().unwrap();
        trainer.steps(5).unwrap();
        let learned = trainer.state().unwrap();
        trainer.set_parameters(&parameters).unwrap();
        assert_eq!(trainer.state().unwrap(), learned, "{case}");
        trainer.set_state(&state).unwrap();
        assert_eq!(trainer.state().unwrap(), state, "{case}");
        assert_eq!(trainer.parameters().unwrap(), parameters, "{case}");
        let unknown = trainer.set_state(&parameters);
        assert!(
            matches!(unknown, Err(Error::Setting { .. })),
            "{case}: {unknown:?}"
        );
    }
}
