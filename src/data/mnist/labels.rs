//! Finds the labels of a data set's classes.

use std::ops::RangeInclusive;

use super::CLASSES;
use super::idx::Idx;
use crate::data::DataError;

/// The labels of MNIST's classes.
pub(super) const DIGITS: RangeInclusive<u8> = 0..=9;

/// Fails if a label of the training or test part is not in the range `labels`.
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

/// Finds the range of class labels from the labels that occur in a data set.
///
/// If no label is above 9, returns the labels of MNIST. Otherwise returns all labels from 0 to the largest one, or from
/// 1 if no label is 0. A single damaged label could add many classes, so each label of the range must then have a
/// training example.
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
    // A label that occurs only in the test part is more likely to be damaged than the largest label.
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
