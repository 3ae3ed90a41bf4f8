//! Checkpoints of a distributed training.

use std::fs;

use wgrad::Train;

use crate::world::{KINDS, by, devices, train};

#[test]
fn one_process_saves_and_all_go_on_with_the_same_bits() {
    for device in devices() {
        for kind in KINDS {
            for local in [None, Some(3)] {
                let directory = tempfile::tempdir().unwrap();
                let path = directory.path().join("training.safetensors");
                let make = || kind.trainer(&device);
                let as_asked = |all: wgrad::distributed::Distribution| match local {
                    None => all,
                    Some(steps) => all.local_steps(steps),
                };
                let at_once = by(2, make, as_asked, |trainer| {
                    trainer.steps(6)?;
                    trainer.save(&path)?;
                    train(trainer, 6)
                });
                let files = fs::read_dir(directory.path()).unwrap();
                assert_eq!(files.count(), 1);
                let gone_on = by(2, make, as_asked, |trainer| {
                    trainer.resume(&path)?;
                    assert_eq!(trainer.steps_taken(), 6);
                    train(trainer, 6)
                });
                assert!(
                    at_once.unwrap() == gone_on.unwrap(),
                    "{device}, {kind:?}, {local:?}"
                );
            }
        }
    }
}

/// A training in one process can resume from the checkpoint of two processes, if both take the same number of
/// minibatches per step.
#[test]
fn one_process_goes_on_from_it() {
    for device in devices() {
        let [book, _] = KINDS;
        let files = by(
            2,
            || book.trainer(&device),
            |all| all,
            |trainer| {
                trainer.steps(4)?;
                trainer.to_safetensors()
            },
        );
        let files = files.unwrap();
        assert!(files[0] == files[1], "all have the same");
        let mut alone: Box<dyn Train> = book.trainer(&device);
        alone.set_safetensors(&files[0]).unwrap();
        assert_eq!(alone.steps_taken(), 4);
        alone.steps(2).unwrap();
    }
}
