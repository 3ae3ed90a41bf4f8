//! Reads data sets: valid files are accepted, and each kind of invalid file gives the right error.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

/// Asserts that an error matches a pattern, and prints the error otherwise.
macro_rules! assert_matches {
    ($error:expr, $($pattern:tt)+) => {
        let error = $error;
        let shown = format!("{error:?}");
        assert!(matches!(error, $($pattern)+), "unexpected: {shown}");
    };
}

#[path = "data/classes.rs"]
mod classes;
#[path = "data/columns.rs"]
mod columns;
#[path = "data/digits.rs"]
mod digits;
#[path = "data/download.rs"]
mod download;
#[path = "data/files.rs"]
mod files;
#[path = "data/memory.rs"]
mod memory;
#[path = "data/parts.rs"]
mod parts;
#[path = "data/random.rs"]
mod random;
#[path = "data/records.rs"]
mod records;
#[path = "data/tables.rs"]
mod tables;

use wgrad::data::{DataError, Dataset, Labels};

#[test]
fn class_indices_out_of_range() {
    let error = Labels::from_classes(vec![0, 2, 3], 2).unwrap_err();
    assert!(error.to_string().contains("label 2 of example 1"));
    assert_matches!(
        error,
        DataError::LabelRange {
            example: 1,
            classes: 2,
            found: 2
        }
    );
}

#[test]
fn data_sets_that_are_empty_or_miscounted() {
    let labels = |count, classes| Labels::from_classes(vec![0; count], classes).unwrap();
    for (width, labels, missing) in [
        (4, labels(0, 2), "examples"),
        (0, labels(1, 2), "features"),
        (4, labels(0, 0), "examples"),
    ] {
        let error = Dataset::new("mine", width, vec![], labels).unwrap_err();
        assert!(error.to_string().contains("\"mine\""), "{error}");
        assert_matches!(error, DataError::Empty { name, what } if name == "mine" && what == missing);
    }
    let error = Dataset::new("mine", 3, vec![0; 5], labels(2, 2)).unwrap_err();
    let expected = "data set \"mine\": 2 examples of 3 features need 6 bytes, found 5";
    assert_eq!(error.to_string(), expected);
    for width in [3, 5, usize::MAX] {
        let error = Dataset::new("mine", width, vec![0; 8], labels(2, 2)).unwrap_err();
        assert!(error.to_string().contains("\"mine\""), "{error}");
        assert_matches!(error, DataError::FeatureBytes { examples: 2, width: of, found: 8, .. }
            if of == width);
    }
}

#[test]
fn the_original() {
    let Some(mnist) = common::mnist() else {
        return;
    };
    assert_eq!(mnist.train.name(), "MNIST train");
    assert_eq!(mnist.test.name(), "MNIST test");
    assert_eq!(mnist.train.labels().indices()[..5], [5, 0, 4, 1, 9]);
    assert_eq!(mnist.test.labels().indices()[..5], [7, 2, 1, 0, 4]);
    for (part, count, histogram, mean) in [
        (
            &mnist.train,
            60_000,
            [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
            33.318,
        ),
        (
            &mnist.test,
            10_000,
            [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
            33.791,
        ),
    ] {
        assert_eq!((part.len(), part.width()), (count, 784));
        let mut found = [0; 10];
        for &label in part.labels().indices() {
            found[label as usize] += 1;
        }
        assert_eq!(found, histogram);
        let sum: u64 = part.features().iter().copied().map(u64::from).sum();
        let found = sum as f64 / part.features().len() as f64;
        assert!((found - mean).abs() < 5e-4, "mean pixel {found}");
    }
}
