#![allow(clippy::unwrap_used)]

use ndarray::array;

use super::{ClassMetrics, Confusion, Prediction};
use crate::data::Labels;
use crate::error::Error;

fn confusion(labels: &[u32], classes: usize, predicted: &[u32]) -> Result<Confusion, Error> {
    let labels = Labels::from_classes(labels.to_vec(), classes)?;
    let prediction = |&class: &u32| Prediction {
        class,
        probability: 0.5,
    };
    let predictions: Vec<_> = predicted.iter().map(prediction).collect();
    Confusion::new(&labels, &predictions)
}

/// Class 3 has no examples, and class 2 is never predicted.
#[test]
fn metrics_are_those_computed_by_hand() -> Result<(), Error> {
    let found = confusion(&[0, 0, 0, 0, 1, 1, 1, 2], 4, &[0, 0, 0, 1, 1, 1, 3, 0])?;
    let counts = array![[3, 1, 0, 0], [0, 2, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]];
    assert_eq!(found.counts(), counts.view());
    assert_eq!(found.accuracy(), 5.0 / 8.0);
    let expected = [
        (4, 3.0 / 4.0, 3.0 / 4.0, 3.0 / 4.0),
        (3, 2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0),
        (1, 0.0, 0.0, 0.0),
        (0, 0.0, 0.0, 0.0),
    ];
    let expected = expected.map(|(examples, precision, recall, f1)| ClassMetrics {
        examples,
        precision,
        recall,
        f1,
    });
    assert_eq!(found.per_class(), expected);
    // Precision 1 and recall 1/3, then the other way round, and their harmonic mean.
    let skewed = confusion(&[0, 0, 0, 1], 2, &[0, 1, 1, 1])?.per_class();
    assert_eq!([skewed[0].precision, skewed[0].recall], [1.0, 1.0 / 3.0]);
    assert_eq!([skewed[1].precision, skewed[1].recall], [1.0 / 3.0, 1.0]);
    assert_eq!([skewed[0].f1, skewed[1].f1], [0.5, 0.5]);
    Ok(())
}

#[test]
fn the_table_has_a_row_for_every_class() -> Result<(), Error> {
    let found = confusion(&[0, 0, 0, 1], 2, &[0, 1, 1, 1])?.to_string();
    let expected = "\
class  examples  precision  recall      f1   as 0   as 1
    0         3     1.0000  0.3333  0.5000      1      2
    1         1     0.3333  1.0000  0.5000      0      1
  all         4 examples, accuracy 0.5000";
    assert_eq!(found, expected);
    // With many classes, a column per predicted class would make the lines too long.
    let many = confusion(&[20, 3], 21, &[20, 20])?.to_string();
    assert_eq!(many.lines().count(), 23);
    assert!(!many.contains("as 0"), "{many}");
    assert!(
        many.contains("\n   20         1     0.5000  1.0000  0.6667\n"),
        "{many}"
    );
    Ok(())
}

#[test]
fn no_examples_are_no_division_by_zero() -> Result<(), Error> {
    let empty = confusion(&[], 2, &[])?;
    assert_eq!(empty.accuracy(), 0.0);
    assert!(empty.per_class().iter().all(|of_class| of_class.f1 == 0.0));
    Ok(())
}

#[test]
fn predictions_that_are_not_of_the_labels_are_refused() {
    for (labels, classes, predicted, expected) in [
        (
            &[0, 1][..],
            2,
            &[0][..],
            "predictions, one for each label: expected 2, found 1",
        ),
        (
            &[0, 1],
            2,
            &[0, 2],
            "class predicted for example 1 must be below 2, the number of classes of the labels; it is 2",
        ),
        (
            &[0],
            5_000,
            &[0],
            "number of classes in a confusion matrix must be at most 4096; it is 5000",
        ),
    ] {
        let error = confusion(labels, classes, predicted).map_err(|error| error.to_string());
        assert_eq!(error, Err(expected.to_owned()));
    }
}

#[test]
fn a_prediction_is_the_first_of_the_largest_logits_and_its_softmax() {
    let of = |logits: [f32; 3]| Prediction::of(ndarray::aview1(&logits));
    let third = of([0.0, 0.0, 0.0]);
    assert_eq!((third.class, third.probability), (0, 1.0 / 3.0));
    let half = of([-2000.0, 700.0, 700.0]);
    assert_eq!((half.class, half.probability), (1, 0.5));
    // The probability is 1 / (1 + 1/4 + 1/4). The logarithm is off by at most 2⁻²³ (one unit in the last place); this
    // changes the probability p by p²/2 times as much.
    let logits = [-(4f32.ln()), 0.0, -(4f32.ln())];
    assert!((of(logits).probability - 2.0 / 3.0).abs() < f64::from(f32::EPSILON));
    assert!(of([0.0, f32::NAN, 1.0]).probability.is_nan());
    assert!(of([0.0, f32::INFINITY, 1.0]).probability.is_nan());
}

#[test]
fn labels_are_counted_one_by_one() {
    let logits = array![[0.0f32, -0.0], [f32::NAN, 1e-30], [f32::INFINITY, -1.0]];
    let targets = array![[0.0f32, 1.0], [1.0, 1.0], [1.0, 0.0]];
    let found = Confusion::of_labels(logits.view(), targets.view()).unwrap();
    // Only outputs above 0 predict 1; NaN predicts 0.
    assert_eq!(found[0].counts(), array![[1, 0], [1, 1]]);
    assert_eq!(found[1].counts(), array![[1, 0], [1, 1]]);
    let soft = array![[0.0f32, 1.0], [0.5, 1.0], [1.0, 0.0]];
    let error = Confusion::of_labels(logits.view(), soft.view()).unwrap_err();
    assert!(error.to_string().contains("target 0 of row 1"), "{error}");
    let fewer = soft.slice(ndarray::s![..2, ..]);
    let error = Confusion::of_labels(logits.view(), fewer).unwrap_err();
    assert!(error.to_string().contains("3 × 2"), "{error}");
}
