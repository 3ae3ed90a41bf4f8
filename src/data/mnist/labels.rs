//! Finds the labels of a data set's classes.

use std::ops::RangeInclusive;

use super::CLASSES;
use super::idx::Idx;
use crate::data::DataError;

/// The labels of MNIST's classes.
pub(super) const DIGITS: RangeInclusive<u8> = 0..=9;

/// Fails if a label is not among the given ones.
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

/// The labels of the classes of a data set whose number of classes is not given.
///
/// If no label is above 9, these are the labels of MNIST. Otherwise they are all labels up to the largest, starting at
/// 1 if no label is 0. A single damaged label could add many classes, so each of these labels must occur among the
/// training examples.
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
    // A label that only test examples have is a more likely fault than the largest label.
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
