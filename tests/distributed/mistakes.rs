//! Trainings that cannot be distributed, and processes that end early.

use wgrad::data::Sampling;
use wgrad::distributed::{Distribution, Threads};
use wgrad::ops::{BatchNorm, Linear, Relu, Sgd, SoftmaxCrossEntropy};
use wgrad::{Error, Fusion, Gpu, Sequential, Trainer, TwoLayerNet};

use crate::world::{DIGITS, KINDS, devices};

fn told(error: &Error, words: &[&str]) {
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "{message}: no {word}");
    }
}

#[test]
fn more_processes_than_minibatches() {
    for device in devices() {
        let error = Threads::run(5, |world| {
            let mut trainer = KINDS[0].trainer(&device);
            trainer.distribute(Distribution::new(world))
        });
        told(
            &error.unwrap_err(),
            &["minibatches of a step", "at least 5", "accumulate", "4"],
        );
    }
}

#[test]
fn layers_with_state() {
    let digits = wgrad::data::synthetic::digits_of(1, 100, 1).unwrap().train;
    for device in devices() {
        let network = Sequential::input(784)
            .layer(BatchNorm::new())
            .layer(Linear::new(10));
        let error = Threads::run(2, |world| {
            let loss = SoftmaxCrossEntropy;
            let sampling = Sampling::Shuffled { seed: 1 };
            let mut trainer =
                device.trainer(&network, loss, Sgd::new(0.1), &digits, 10, sampling)?;
            trainer.accumulate(2)?;
            trainer.distribute(Distribution::new(world))
        });
        told(
            &error.unwrap_err(),
            &["state of layers", "running_mean", "LayerNorm"],
        );
    }
}

/// A process with another device, or with another number of local steps, would not compute the same updates, so this is
/// an error.
#[test]
fn another_device_or_mode_of_one_of_them() {
    let devices = devices();
    let error = Threads::run(2, |world| {
        let rank = wgrad::distributed::World::rank(&world);
        let mut trainer = KINDS[0].trainer(&devices[rank]);
        trainer.distribute(Distribution::new(world))
    });
    told(
        &error.unwrap_err(),
        &[
            "device of process 1",
            "that of process 0, the CPU engine",
            "Vulkan",
        ],
    );
    let error = Threads::run(2, |world| {
        let rank = wgrad::distributed::World::rank(&world);
        let mut trainer = KINDS[0].trainer(&devices[0]);
        trainer.distribute(Distribution::new(world).local_steps(rank + 1))
    });
    told(
        &error.unwrap_err(),
        &["local steps of process 1", "process 0, 1", "it is 2"],
    );
}

/// The requested kind of steps (fused or not) applies to the shards of each process.
#[test]
fn shards_are_as_they_were_asked_for() {
    let gpu = Gpu::new().unwrap();
    let digits = wgrad::data::synthetic::digits_of(1, 100, 1).unwrap().train;
    for fusion in [Fusion::Layers, Fusion::Head, Fusion::Fused] {
        let done = Threads::run(1, |world| {
            let network = Sequential::input(784).layer(Linear::new(20)).layer(Relu);
            let model = network.layer(Linear::new(10)).build(&gpu)?;
            let loss = SoftmaxCrossEntropy;
            let sampling = Sampling::Shuffled { seed: 1 };
            let sgd = Sgd::new(0.1);
            let mut trainer =
                Trainer::with_fusion(model, loss, sgd, &digits, 10, sampling, fusion)?;
            trainer.distribute(Distribution::new(world))?;
            assert_eq!(trainer.fusion(), fusion);
            assert!(!trainer.plan().is_empty());
            trainer.steps(1)
        });
        match fusion {
            Fusion::Fused => told(&done.unwrap_err(), &["cannot be fused"]),
            _ => drop(done.unwrap()),
        }
    }
}

/// One process has another training, for example with another seed.
#[test]
fn another_training_on_one_of_them() {
    let digits = wgrad::data::synthetic::digits_of(1, 100, 1).unwrap().train;
    for device in devices() {
        let error = Threads::run(3, |world| {
            let seed = u64::from(wgrad::distributed::World::rank(&world) == 1);
            let network = TwoLayerNet::spec(784, 5, 10).seed(seed);
            let loss = SoftmaxCrossEntropy;
            let sampling = Sampling::Shuffled { seed: 1 };
            let mut trainer =
                device.trainer(&network, loss, Sgd::new(0.1), &digits, 10, sampling)?;
            trainer.accumulate(3)?;
            trainer.distribute(Distribution::new(world))
        });
        told(&error.unwrap_err(), &["training of process 1", "process 0"]);
    }
}

#[test]
fn a_process_that_fails_ends_the_others() {
    for device in devices() {
        let found: Result<Vec<()>, Error> = Threads::run(3, |world| {
            let rank = wgrad::distributed::World::rank(&world);
            let mut trainer = KINDS[0].trainer(&device);
            trainer.distribute(Distribution::new(world))?;
            trainer.steps(2)?;
            if rank == 1 {
                return Err(Error::Process { rank: 77 });
            }
            let error = trainer.steps(2).unwrap_err();
            assert!(matches!(error, Error::Process { rank: 1 }), "{error}");
            // Every further call returns the same error.
            let error = trainer.steps(1).unwrap_err();
            told(&error, &["process 1 has left"]);
            Err(error)
        });
        assert!(
            matches!(found, Err(Error::Process { rank: 77 })),
            "its own error is told"
        );
    }
}

#[test]
fn a_process_that_panics_ends_the_others() {
    let ended = std::panic::catch_unwind(|| {
        Threads::run(2, |world| {
            let rank = wgrad::distributed::World::rank(&world);
            let mut trainer = KINDS[0].trainer(&devices()[0]);
            trainer.distribute(Distribution::new(world))?;
            assert_eq!(rank, 0, "on purpose");
            trainer.steps(2)
        })
    });
    let panic = ended.unwrap_err();
    assert!(
        panic
            .downcast_ref::<String>()
            .is_some_and(|text| text.contains("on purpose"))
    );
}

#[test]
fn what_is_not_shared_is_refused() {
    let x = wgrad::ndarray::Array2::zeros((2, 784));
    for device in devices() {
        let done = Threads::run(1, |world| {
            let mut trainer = KINDS[0].trainer(&device);
            trainer.distribute(Distribution::new(world))?;
            let given = trainer.step_on(x.view(), wgrad::Targets::Classes(&[1, 2]));
            told(
                &given.unwrap_err(),
                &["rows the caller passes", "steps, advance"],
            );
            told(
                &trainer.accumulate(2).unwrap_err(),
                &["another number of minibatches"],
            );
            trainer.steps(1)
        });
        done.unwrap();
    }
}

/// The processes make different calls: for example, only the first process evaluates.
#[test]
fn calls_that_differ_are_told() {
    for device in devices() {
        let found = Threads::run(2, |world| {
            let leads = wgrad::distributed::World::rank(&world) == 0;
            let mut trainer = KINDS[0].trainer(&device);
            trainer.distribute(Distribution::new(world))?;
            let error = if leads {
                trainer.evaluate(&*DIGITS).unwrap_err()
            } else {
                trainer.steps(1).unwrap_err()
            };
            Ok::<_, Error>(error.to_string())
        });
        for (rank, told) in found.unwrap().into_iter().enumerate() {
            let expected = format!("call of process {}", 1 - rank);
            assert!(
                told.contains(&expected) && told.contains("same methods"),
                "{told}"
            );
        }
    }
}

/// With a learning rate that is too high, all processes report the divergence at the same step, whichever process
/// noticed it first.
#[test]
fn a_divergence_is_that_of_all() {
    for device in devices() {
        for local in [None, Some(2)] {
            let found = Threads::run(2, |world| {
                let mut trainer = KINDS[0].trainer(&device);
                trainer.set_learning_rate(1e9)?;
                let all = Distribution::new(world);
                trainer.distribute(match local {
                    None => all,
                    Some(steps) => all.local_steps(steps),
                })?;
                let error = trainer.steps(50).unwrap_err();
                let Error::Diverged { step, .. } = error else {
                    panic!("{error}");
                };
                assert!(trainer.to_safetensors().is_err(), "nothing is saved");
                Ok::<_, Error>(step)
            });
            let steps = found.unwrap();
            assert_eq!(steps[0], steps[1], "{device}, {local:?}");
        }
    }
}
