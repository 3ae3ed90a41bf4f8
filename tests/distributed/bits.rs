//! Any number of processes gives the same bits.

use crate::world::{KINDS, by, devices, train};

const STEPS: usize = 30;

#[test]
fn one_two_three_and_four_processes_give_the_same_bits() {
    for device in devices() {
        for kind in KINDS {
            let of = |processes| {
                let make = || kind.trainer(&device);
                by(processes, make, |all| all, |trainer| train(trainer, STEPS)).unwrap()
            };
            let alone = of(1).remove(0);
            assert!(alone.0[STEPS - 1] < alone.0[0], "{kind:?}: {:?}", alone.0);
            for processes in [2, 3, 4] {
                for found in of(processes) {
                    assert!(found == alone, "{device}, {kind:?}, {processes} processes");
                }
            }
        }
    }
}

/// A step in one process adds its minibatches in another order: each sum of 4 gradients is off by 3 halves of a unit in
/// the last place of their largest partial sum, and as much when it is multiplied. Steps make more of it: SGD of 30 steps
/// with a rate of 0.1 by at most the sum of the gradients' changes, which grow with the parameters' own. Measured it is
/// below 1e-6, and a wrong minibatch, order or mean shows in the second decimal.
#[test]
fn they_are_those_of_one_process_up_to_rounding() {
    const BOUND: f32 = 1e-5;
    for device in devices() {
        for kind in KINDS {
            let expected = train(&mut *kind.trainer(&device), STEPS).unwrap();
            let make = || kind.trainer(&device);
            let found = by(2, make, |all| all, |trainer| train(trainer, STEPS)).unwrap();
            let (losses, parameters) = &found[0];
            for (found, expected) in losses.iter().zip(&expected.0) {
                assert!(
                    (found - expected).abs() < BOUND,
                    "{kind:?}: {found}, {expected}"
                );
            }
            for (name, values) in parameters.clone() {
                let expected = &expected.1[&*name];
                for (found, expected) in values.iter().zip(expected) {
                    let distance = (found - expected).abs();
                    assert!(distance < BOUND, "{kind:?}, {name}: {found}, {expected}");
                }
            }
        }
    }
}

/// So that what differs by the number of processes would be seen: other minibatches give other bits.
#[test]
fn another_training_has_other_bits() {
    let device = &devices()[0];
    let [book, _] = KINDS;
    let of = |steps| {
        by(
            2,
            || book.trainer(device),
            |all| all,
            |trainer| train(trainer, steps),
        )
    };
    let (one, other) = (of(10).unwrap(), of(11).unwrap());
    assert_eq!(one[0].0[..], other[0].0[..10]);
    assert!(one[0].1 != other[0].1);
}

#[test]
fn calls_of_any_size_and_form_are_one_training() {
    for device in devices() {
        for kind in KINDS {
            let make = || kind.trainer(&device);
            let at_once = by(2, make, |all| all, |trainer| train(trainer, 12)).unwrap();
            let in_parts = by(
                2,
                make,
                |all| all,
                |trainer| {
                    trainer.steps(5)?;
                    trainer.advance(3)?;
                    let within = trainer.advance_within(std::time::Duration::ZERO)?;
                    assert_eq!(within, 1);
                    trainer.steps(3)?;
                    Ok((trainer.losses(12)?, trainer.parameters()?))
                },
            );
            assert!(at_once == in_parts.unwrap(), "{device}, {kind:?}");
        }
    }
}
