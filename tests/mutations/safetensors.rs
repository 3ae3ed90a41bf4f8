//! Weights and trainings.

use wgrad::data::{Dataset, Labels, Sampling};
use wgrad::ndarray::Array2;
use wgrad::ops::{Adam, Linear, Relu};
use wgrad::{Error, Sequential, reference};

use crate::mutator::{Mutator, alone, count, within_bounds};

fn trainer() -> reference::Trainer<f32> {
    let spec = Sequential::input(2).layer(Linear::new(3)).layer(Relu);
    let spec = spec.layer(Linear::new(2)).seed(3);
    let labels = Labels::from_classes(vec![0, 1, 1, 0], 2).unwrap();
    let data = Dataset::new("four", 2, vec![0, 9, 200, 7, 3, 255, 90, 91], labels).unwrap();
    let sampling = Sampling::Shuffled { seed: 1 };
    reference::Trainer::new(&spec, Adam::new(1e-2), &data, 2, sampling).unwrap()
}

/// A training of some steps.
fn trained() -> reference::Trainer<f32> {
    let mut trainer = trainer();
    trainer.steps(5).unwrap();
    trainer
}

/// Everything that a file could have changed.
fn state(trainer: &reference::Trainer<f32>) -> (Vec<Vec<Array2<f32>>>, u64) {
    (
        trainer.network().parameters().to_vec(),
        trainer.steps_taken(),
    )
}

/// Feeds a file to everything that reads one, and says whether a training and weights were taken.
fn read(case: &str, bytes: &[u8]) -> [bool; 2] {
    let mut trainer = trainer();
    let before = state(&trainer);
    let mut is_taken = |what: &str, read: &mut dyn FnMut(&mut _) -> Result<(), Error>| {
        let case = format!("{case}, {what}");
        let result = within_bounds(&case, bytes.len(), || read(&mut trainer));
        match result {
            Ok(()) => return true,
            Err(Error::Checkpoint(_)) => {}
            Err(error) => panic!("{case}: {error}"),
        }
        assert!(state(&trainer) == before, "{case}: something was changed");
        false
    };
    let training = is_taken("training", &mut |trainer: &mut reference::Trainer<f32>| {
        trainer.set_safetensors(bytes)
    });
    let weights = is_taken("weights", &mut |trainer: &mut reference::Trainer<f32>| {
        trainer.set_weights(bytes)
    });
    [training, weights]
}

#[test]
fn mutated_weights_are_taken_or_refused() {
    let _alone = alone();
    let made = vec![("a training".to_owned(), trained().to_safetensors().unwrap())];
    let mut mutator = Mutator::new(1, "safetensors", made);
    for (name, bytes) in mutator.corpus().to_vec() {
        read(&name, &bytes);
    }
    for at in 0..count() {
        let mut bytes = mutator.original();
        for _ in 0..=mutator.numbers.below(4) {
            mutator.change_bytes(&mut bytes);
        }
        read(&format!("mutation {at}"), &bytes);
    }
}
