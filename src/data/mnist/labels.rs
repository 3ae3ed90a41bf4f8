//! Which labels the classes of a data set have.

use std::ops::RangeInclusive;

use super::CLASSES;
use super::idx::Idx;
use crate::data::DataError;

/// The labels of MNIST's classes.
pub(super) const DIGITS: RangeInclusive<u8> = 0..=9;

/// Fails on a label that is not among those that were named.
pub(super) fn check(labels: &RangeInclusive<u8>, parts: [&Idx; 2]) -> Result<(), DataError> {
    for part in parts {
        let other = part.body().iter().position(|label| !labels.contains(label));
        if let Some(example) = other {
            return Err(DataError::IdxLabel {
                file: part.path().to_owned(),
                labels: labels.clone(),
                example,
                found: part.body()[example],
            });
        }
    }
    Ok(())
}

/// The labels of the classes of a data set, of which nobody said how many it has: those of MNIST, where no
/// label is larger, else all up to the largest, from 1 on where no label is 0.
///
/// A label that is damaged would make many classes. So each of them must occur among the examples to train
/// on, where they are not those of MNIST.
pub(super) fn find([train, test]: [&Idx; 2]) -> Result<RangeInclusive<u8>, DataError> {
    let in_train = occurring(train);
    let in_test = occurring(test);
    let occurs = |label: &u8| in_train[usize::from(*label)] || in_test[usize::from(*label)];
    let largest = (0..=u8::MAX).rev().find(occurs).unwrap_or_default();
    if usize::from(largest) < CLASSES {
        return Ok(DIGITS);
    }
    let first = u8::from(!occurs(&0));
    let absent = |label: &u8| !in_train[usize::from(*label)];
    let missing: Vec<u8> = (first..=largest).filter(absent).collect();
    if missing.is_empty() {
        return Ok(first..=largest);
    }
    // What only examples to test on have is more probably the fault than the largest label.
    let strange = test.body().iter().position(absent);
    let (part, example) = match strange {
        Some(example) => (test, example),
        None => (
            train,
            train
                .body()
                .iter()
                .position(|label| *label == largest)
                .unwrap_or_default(),
        ),
    };
    Err(DataError::IdxClasses {
        file: part.path().to_owned(),
        example,
        found: part.body()[example],
        labels: first..=largest,
        missing,
    })
}

fn occurring(part: &Idx) -> [bool; 256] {
    let mut occurring = [false; 256];
    for label in part.body() {
        occurring[usize::from(*label)] = true;
    }
    occurring
}
