//! A training has the same bits with any number of processes.

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

/// Without a world, one process adds the gradients of a step's minibatches one after another. The processes of a world
/// add these gradients as a binary tree. Therefore the results of a training with and without a world may differ by
/// rounding errors. The difference between the results without a world in `f64` and in `f32` shows how much the
/// training amplifies rounding errors. The results of any `f32` engine may differ from those in `f64` by `TIMES` times
/// the largest such difference. `TIMES_ORACLE` in `golden/tests/golden/training.rs` derives the factor.
#[test]
fn they_are_those_of_one_process_up_to_rounding() {
    const TIMES: f64 = 16.0;
    for kind in KINDS {
        let [double, single] = [
            kind.train_alone::<f64>(STEPS),
            kind.train_alone::<f32>(STEPS),
        ];
        for device in devices() {
            let make = || kind.trainer(&device);
            let found = by(2, make, |all| all, |trainer| train(trainer, STEPS)).unwrap();
            let (losses, parameters) = &found[0];
            let parameters = parameters.iter().flat_map(|(_, values)| values).copied();
            let found = [losses.clone(), parameters.collect()];
            for ((found, double), single) in found.iter().zip(&double).zip(&single) {
                let rounding = |at: usize| 2f64.powi(-24) * double[at].abs();
                let distance = |at: usize| (single[at] - double[at]).abs().max(rounding(at));
                let bound = TIMES * (0..double.len()).map(distance).fold(0.0, f64::max);
                assert!(bound < 1e-4, "{kind:?}: {bound}");
                for (&found, expected) in found.iter().zip(double) {
                    let off = (f64::from(found) - expected).abs();
                    assert!(
                        off <= bound,
                        "{device}, {kind:?}: {found}, {expected} ± {bound}"
                    );
                }
            }
        }
    }
}

/// The comparison of bits is meaningful: one more step gives other parameters, and does not change the losses before
/// it.
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
    let one = of(10).unwrap();
    let other = of(11).unwrap();
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
