#![allow(clippy::unwrap_used)]

use ndarray::{Array2, array};

use super::Metric;
use crate::error::Error;
use crate::reference::Targets;

fn assert_near(found: Result<f64, Error>, expected: f64) {
    let found = found.unwrap();
    assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
}

/// Logits that are the logarithms of probabilities.
fn logs(probabilities: Array2<f64>) -> Array2<f64> {
    probabilities.mapv(f64::ln)
}

/// The expected values come from scikit-learn 1.5: `accuracy_score`, `f1_score`, `roc_auc_score(multi_class="ovr")`.
#[test]
fn classes_are_scored_as_by_scikit_learn() {
    let logits = logs(array![
        [0.9, 0.1],
        [0.4, 0.6],
        [0.35, 0.65],
        [0.2, 0.8],
        [0.7, 0.3],
        [0.6, 0.4],
    ]);
    let targets = Targets::Classes(&[0, 0, 1, 1, 1, 0]);
    assert_near(Metric::Accuracy.of(logits.view(), &targets), 4.0 / 6.0);
    assert_near(Metric::F1.of(logits.view(), &targets), 2.0 / 3.0);
    // Two of nine pairs are in the wrong order: the positive 0.3 is below the negatives 0.6 and 0.4.
    assert_near(Metric::RocAuc.of(logits.view(), &targets), 7.0 / 9.0);

    let logits = logs(array![
        [0.6, 0.28, 0.12],
        [0.2, 0.5, 0.3],
        [0.1, 0.2, 0.7],
        [0.5, 0.3, 0.2],
        [0.3, 0.45, 0.25],
    ]);
    let targets = Targets::Classes(&[0, 1, 2, 1, 2]);
    // Precision and recall of each class: (1/2, 1), (1/2, 1/2), (1, 1/2).
    let f1 = (2.0 / 3.0 + 0.5 + 2.0 / 3.0) / 3.0;
    assert_near(Metric::F1.of(logits.view(), &targets), f1);
    // Ordered pairs of each class against the rest: 4 of 4, 5 of 6, 5 of 6.
    let areas = (1.0 + 5.0 / 6.0 + 5.0 / 6.0) / 3.0;
    assert_near(Metric::RocAuc.of(logits.view(), &targets), areas);
}

#[test]
fn labels_that_do_not_depend_on_each_other_are_scored_one_by_one() {
    let logits = array![[2.0f32, -1.0], [-0.5, 0.5], [0.1, 1.5], [-3.0, -2.0]];
    let values = array![[1.0f32, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 1.0]];
    let targets = Targets::Values(values.view());
    assert_near(Metric::Accuracy.of(logits.view(), &targets), 5.0 / 8.0);
    // F1 of each label: 2·1/(2 + 2) and 2·2/(3 + 2).
    assert_near(Metric::F1.of(logits.view(), &targets), (0.5 + 0.8) / 2.0);
    // Ordered pairs of each label: 3 of 4, and 2 of 3.
    let areas = (0.75 + 2.0 / 3.0) / 2.0;
    assert_near(Metric::RocAuc.of(logits.view(), &targets), areas);
}

#[test]
fn values_are_scored_by_their_distance() {
    let outputs = array![[2.5f64, 0.0], [0.0, 0.1], [2.0, 0.0], [8.0, 0.1]];
    let values = array![[3.0f64, 0.0], [-0.5, 0.1], [2.0, 0.0], [7.0, 0.1]];
    let targets = Targets::Values(values.view());
    // The second column matches exactly; the first is scikit-learn's example for `r2_score`.
    let first = 1.0 - 1.5 / 29.1875;
    assert_near(Metric::R2.of(outputs.view(), &targets), (first + 1.0) / 2.0);
    assert_near(
        Metric::MeanAbsoluteError.of(outputs.view(), &targets),
        2.0 / 8.0,
    );
    // For constant targets: 1 for a column that matches, 0 for one that does not.
    let same = array![[1.0f64, 1.0], [1.0, 2.0]];
    let constant = Array2::ones((2, 2));
    let targets = Targets::Values(constant.view());
    assert_near(Metric::R2.of(same.view(), &targets), 0.5);
}

#[test]
fn zeros_of_both_signs_are_equal_scores() {
    let logits = array![[0.0f32], [-0.0]];
    let values = array![[0.0f32], [1.0]];
    let area = Metric::RocAuc.of(logits.view(), &Targets::Values(values.view()));
    assert_near(area, 0.5);
}

#[test]
fn what_is_no_number_is_no_score() {
    let outputs = array![[f32::NAN], [1.0]];
    let values = array![[0.0f32], [1.0]];
    let targets = Targets::Values(values.view());
    for metric in [Metric::R2, Metric::MeanAbsoluteError, Metric::RocAuc] {
        assert!(
            metric.of(outputs.view(), &targets).unwrap().is_nan(),
            "{metric}"
        );
    }
    assert_near(Metric::Accuracy.of(outputs.view(), &targets), 0.5);
}

#[test]
fn names_are_parsed_and_others_told() {
    for metric in Metric::ALL {
        assert_eq!(metric.to_string().parse::<Metric>().unwrap(), metric);
    }
    let error = "auc".parse::<Metric>().unwrap_err().to_string();
    assert!(
        error.contains("roc_auc") && error.contains("auc"),
        "{error}"
    );
    assert!(Metric::F1.is_higher_better() && !Metric::Loss.is_higher_better());
}

#[test]
fn what_cannot_be_scored_is_told() {
    let logits = array![[1.0f32, 0.0], [0.0, 1.0]];
    let told = |metric: Metric, targets: Targets<'_, f32>, parts: &[&str]| {
        let error = metric.of(logits.view(), &targets).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "no \"{part}\" in: {error}");
        }
    };
    told(
        Metric::Loss,
        Targets::Classes(&[0, 1]),
        &["loss", "Trainer::metric"],
    );
    told(
        Metric::R2,
        Targets::Classes(&[0, 1]),
        &["r2", "values", "classes"],
    );
    told(
        Metric::F1,
        Targets::Classes(&[0]),
        &["labels, one for each row", "2", "1"],
    );
    told(
        Metric::F1,
        Targets::Classes(&[0, 2]),
        &["label of row 1", "below 2"],
    );
    told(
        Metric::RocAuc,
        Targets::Classes(&[1, 1]),
        &["class 1", "2, all with it"],
    );
    told(
        Metric::RocAuc,
        Targets::Classes(&[0, 0]),
        &["class 1", "none of 2"],
    );
    let values = array![[1.0f32, 0.5], [0.0, 1.0]];
    told(
        Metric::F1,
        Targets::Values(values.view()),
        &["value 1 of row 0", "0.5", "0 or 1"],
    );
    let wide = array![[1.0f32, 3.5], [0.0, 1.0]];
    told(
        Metric::Accuracy,
        Targets::Values(wide.view()),
        &["value 1 of row 0", "3.5", "use r2 or mae"],
    );
    let narrow = array![[1.0f32], [0.0]];
    told(
        Metric::R2,
        Targets::Values(narrow.view()),
        &["2 × 2", "2 × 1"],
    );
    let none = Array2::<f32>::zeros((0, 2));
    let error = Metric::Accuracy
        .of(none.view(), &Targets::Classes(&[]))
        .unwrap_err();
    assert!(error.to_string().contains("at least 1"), "{error}");
}
