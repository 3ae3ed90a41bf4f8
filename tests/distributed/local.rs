//! Local steps: each process trains by itself, and the parameters are averaged from time to time.

use wgrad::Error;
use wgrad::ops::Group;

use wgrad::distributed::{Distribution, Threads};

use crate::world::{DIGITS, KINDS, by, devices, train};

/// If the parameters are averaged after every step, local SGD equals SGD with the mean gradient, up to rounding.
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
                let of_evaluation = trainer.evaluate(&*DIGITS).unwrap_err();
                assert_eq!(of_evaluation.to_string(), error.to_string());
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

/// Local steps are counted from the step at which the training is distributed. The number of earlier steps has no
/// effect.
#[test]
fn a_training_that_has_begun_alone_goes_on_by_local_steps() {
    for device in devices() {
        let found = Threads::run(2, |world| {
            let mut trainer = KINDS[0].trainer(&device);
            trainer.steps(3)?;
            trainer.distribute(Distribution::new(world).local_steps(4))?;
            trainer.evaluate(&*DIGITS)?;
            trainer.steps(4)?;
            trainer.to_safetensors()
        });
        let files = found.unwrap();
        assert!(files[0] == files[1], "{device}");
    }
}

/// A training first shares gradients, then takes local steps, and then shares gradients again.
#[test]
fn how_steps_are_shared_may_change_between_them() {
    for device in devices() {
        for kind in KINDS {
            let make = || kind.trainer(&device);
            let by_gradients = by(2, make, |all| all, |trainer| train(trainer, 6)).unwrap();
            let found = Threads::run(2, |world| {
                let mut trainer = make();
                let all = Distribution::new(world);
                trainer.distribute(all.clone())?;
                let first = train(&mut *trainer, 6)?;
                trainer.distribute(all.clone().local_steps(4))?;
                trainer.steps(2)?;
                let error = trainer.distribute(all.clone()).unwrap_err();
                assert!(error.to_string().contains("local steps before"), "{error}");
                trainer.steps(2)?;
                let then = trainer.parameters()?;
                trainer.distribute(all)?;
                Ok::<_, Error>((first, then, train(&mut *trainer, 3)?))
            });
            let found = found.unwrap();
            assert!(found[0] == found[1], "{device}, {kind:?}");
            assert!(found[0].0 == by_gradients[0], "{device}, {kind:?}");
        }
    }
}

/// Frozen parameters are not averaged: the mean of three equal numbers is rounded, so it could be another number.
#[test]
fn what_is_frozen_keeps_its_bits() {
    for device in devices() {
        let found = Threads::run(3, |world| {
            let mut trainer = KINDS[0].trainer(&device);
            trainer.accumulate(3)?;
            trainer.average(0.9)?;
            trainer.freeze("layers.0.*")?;
            let before = trainer.parameters()?;
            trainer.distribute(Distribution::new(world).local_steps(2))?;
            trainer.steps(8)?;
            Ok::<_, Error>((before, trainer.parameters()?))
        });
        for (before, after) in found.unwrap() {
            for (name, values) in before.iter() {
                assert_eq!(
                    after[name] == values,
                    name.starts_with("layers.0."),
                    "{name}"
                );
            }
        }
    }
}

/// Parameters cannot be frozen between two averagings: a frozen parameter would then stay different in each process.
#[test]
fn nothing_is_frozen_or_kept_between_two_means() {
    for device in devices() {
        let make = || KINDS[0].trainer(&device);
        let told = by(
            2,
            make,
            |all| all.local_steps(4),
            |trainer| {
                trainer.steps(2)?;
                let told = [
                    trainer.freeze("layers.0.*").unwrap_err(),
                    trainer
                        .set_group("layers.0.*", Group::new().frozen(true))
                        .unwrap_err(),
                    trainer.keep_if_best(1.0).unwrap_err(),
                ];
                trainer.steps(2)?;
                trainer.freeze("layers.0.*")?;
                assert!(trainer.keep_if_best(1.0)?);
                trainer.steps(4)?;
                Ok((told.map(|error| error.to_string()), trainer.parameters()?))
            },
        );
        let all = told.unwrap();
        assert!(all[0] == all[1], "{device}");
        for told in &all[0].0 {
            assert!(told.contains("multiple of the 4 local steps"), "{told}");
        }
    }
}

/// One process has a loss above 2²⁴, which is a divergence. The mean of this loss and the other process's loss is below
/// 2²⁴, but all processes must report the divergence.
#[test]
fn a_divergence_at_the_last_local_step_is_that_of_all() {
    for device in devices() {
        let found = Threads::run(2, |world| {
            let leads = wgrad::distributed::World::rank(&world) == 0;
            let mut trainer = KINDS[0].trainer(&device);
            trainer.distribute(Distribution::new(world).local_steps(2))?;
            trainer.steps(3)?;
            if leads {
                let near = trainer.parameters()?;
                let far = near.iter().map(|(name, of)| (name.to_owned(), of * 6.3e4));
                trainer.set_parameters(&far.collect())?;
            }
            let error = trainer.steps(1).unwrap_err();
            assert!(matches!(error, Error::Diverged { .. }), "{error}");
            Ok::<_, Error>(trainer.steps_taken())
        });
        let steps = found.unwrap();
        assert_eq!(steps[0], steps[1], "{device}");
    }
}

/// After a divergence in one process, setting the parameters makes the training valid again. All processes are then at
/// the same step.
#[test]
fn after_a_divergence_of_one_of_them_all_go_on() {
    for device in devices() {
        let found = Threads::run(2, |world| {
            let leads = wgrad::distributed::World::rank(&world) == 0;
            let mut trainer = KINDS[0].trainer(&device);
            let good = trainer.parameters()?;
            trainer.distribute(Distribution::new(world).local_steps(5))?;
            if leads {
                trainer.set_learning_rate(1e9)?;
            }
            let error = trainer.steps(5).unwrap_err();
            assert!(matches!(error, Error::Diverged { .. }), "{error}");
            trainer.set_learning_rate(0.1)?;
            trainer.set_parameters(&good)?;
            let losses = trainer.steps(10)?;
            assert_eq!(trainer.steps_taken(), 15);
            Ok::<_, Error>((losses, trainer.parameters()?))
        });
        let found = found.unwrap();
        assert!(found[0] == found[1], "{device}");
    }
}

#[test]
fn shares_that_are_not_as_large_as_each_other_are_refused() {
    for device in devices() {
        for (processes, steps, part) in [
            (3, 2, "a multiple of the 3 processes"),
            (2, 0, "1 to 16384"),
        ] {
            let error = Threads::run(processes, |world| {
                let mut trainer = KINDS[0].trainer(&device);
                trainer.distribute(Distribution::new(world).local_steps(steps))
            });
            let error = error.unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
