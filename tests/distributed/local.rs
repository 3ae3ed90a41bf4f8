//! Steps of each process by itself, between means of parameters.

use wgrad::Error;

use crate::world::{KINDS, by, devices, train};

/// With a mean behind every step, SGD by itself is SGD by the mean gradient, up to rounding.
#[test]
fn a_mean_behind_every_step_of_sgd_is_that_of_gradients() {
    for device in devices() {
        let [book, _] = KINDS;
        let make = || book.trainer(&device);
        let shared = by(2, make, |all| all, |trainer| train(trainer, 20)).unwrap();
        let local = by(
            2,
            make,
            |all| all.local_steps(1),
            |trainer| train(trainer, 20),
        );
        let local = local.unwrap();
        assert!(local[0] == local[1], "all processes have the same");
        for (found, expected) in local[0].0.iter().zip(&shared[0].0) {
            assert!((found - expected).abs() < 1e-5, "{found}, {expected}");
        }
    }
}

#[test]
fn processes_have_the_same_parameters_behind_each_mean_and_learn() {
    for device in devices() {
        for kind in KINDS {
            let make = || kind.trainer(&device);
            let few = by(
                2,
                make,
                |all| all.local_steps(5),
                |trainer| train(trainer, 40),
            )
            .unwrap();
            assert!(few[0] == few[1], "{device}, {kind:?}");
            let losses = &few[0].0;
            let mean = |of: &[f32]| of.iter().sum::<f32>() / of.len() as f32;
            assert!(
                mean(&losses[30..]) < mean(&losses[..10]),
                "{kind:?}: {losses:?}"
            );
            let in_parts = by(
                2,
                make,
                |all| all.local_steps(5),
                |trainer| {
                    let mut losses = trainer.steps(3)?;
                    losses.extend(trainer.steps(37)?);
                    Ok((losses, trainer.parameters()?))
                },
            );
            assert!(
                few == in_parts.unwrap(),
                "{device}, {kind:?}: calls of any size"
            );
        }
    }
}

#[test]
fn nothing_is_saved_or_evaluated_between_two_means() {
    for device in devices() {
        let make = || KINDS[0].trainer(&device);
        let told = by(
            2,
            make,
            |all| all.local_steps(4),
            |trainer| {
                trainer.steps(6)?;
                let error = trainer.to_safetensors().unwrap_err();
                assert!(matches!(error, Error::Setting { .. }), "{error}");
                trainer.steps(2)?;
                trainer.to_safetensors()?;
                Ok(error.to_string())
            },
        );
        for told in told.unwrap() {
            assert!(told.contains("multiple of the 4 local steps"), "{told}");
        }
    }
}
