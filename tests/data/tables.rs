//! One-hot labels, and tables of floats.

use ndarray::{Array2, ArrayView2, Axis, array};
use wgrad::data::{DataError, Labels, NotOneHot, Table};

/// Returns rows in which the columns 1 and 3 are constant.
fn rows() -> Array2<f32> {
    array![
        [1.0, 5.0, 0.5, 0.1],
        [2.0, 5.0, 0.1, 0.1],
        [3.0, 5.0, 0.9, 0.1]
    ]
}

fn scaled(rows: &Array2<f32>) -> Array2<f32> {
    (rows - &rows.mean_axis(Axis(0)).unwrap()) / &rows.std_axis(Axis(0), 0.0)
}

fn refused(features: ArrayView2<'_, f32>) -> DataError {
    let targets = Array2::zeros((features.nrows(), 1));
    Table::regression("t", features, targets.view()).unwrap_err()
}

#[test]
fn a_label_that_is_not_one_hot_is_told_by_what_it_is() {
    use NotOneHot::{Classes, NoClass, Soft, Value};
    for (row, expected, words) in [
        (
            array![0.9, 0.05, 0.05],
            Soft {
                class: 0,
                found: 0.9,
            },
            "0.9 at class 0",
        ),
        (
            array![0.0, 0.333, 0.667],
            Soft {
                class: 1,
                found: 0.333,
            },
            "soft label",
        ),
        (
            array![0.5, 0.5, 0.5],
            Value {
                class: 0,
                found: 0.5,
            },
            "0.5 at class 0",
        ),
        (
            array![0.0, 1.0, -1.0],
            Value {
                class: 2,
                found: -1.0,
            },
            "-1 at class 2",
        ),
        (
            array![0.0, 2.0, 0.0],
            Value {
                class: 1,
                found: 2.0,
            },
            "Labels::from_classes",
        ),
        (
            array![0.0, 1.0, f32::INFINITY],
            Value {
                class: 2,
                found: f32::INFINITY,
            },
            "inf at class 2",
        ),
        (array![0.0, 0.0, 0.0], NoClass, "holds no 1"),
        (
            array![1.0, 0.0, 1.0],
            Classes { found: [0, 2] },
            "class 0 and at class 2",
        ),
    ] {
        let rows = ndarray::stack![Axis(0), array![0.0, -0.0, 1.0], row];
        let error = Labels::from_one_hot(rows.view()).unwrap_err();
        assert!(error.to_string().contains("example 1"), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_matches!(error, DataError::OneHot { example: 1, fault } if fault == expected);
    }
    let error = Labels::from_one_hot(array![[0.0, f32::NAN]].view()).unwrap_err();
    assert!(error.to_string().contains("NaN at class 1"), "{error}");
    // Without columns there are no classes.
    let error = Labels::from_one_hot(Array2::zeros((1, 0)).view()).unwrap_err();
    assert_matches!(
        error,
        DataError::OneHot {
            example: 0,
            fault: NoClass
        }
    );
}

#[test]
fn columns_that_are_always_the_same_are_told_as_that() {
    let error = refused(scaled(&rows()).view());
    for part in [
        "feature columns 1 and 3",
        "\"t\"",
        "NaN",
        "constant column",
        "divide by 1",
    ] {
        assert!(error.to_string().contains(part), "no {part} in: {error}");
    }
    assert!(!error.to_string().contains("row out"), "{error}");
    assert_matches!(error, DataError::ColumnsNotFinite { columns, what: "feature", .. } if columns == [1, 3]);

    // These rows are divided by the standard deviations of other rows. One deviation is 0, so a column is infinite.
    let error = refused((array![[1.0, 6.0], [2.0, 4.0]] / array![1.0, 0.0]).view());
    assert!(error.to_string().contains("feature column 1"), "{error}");
    assert!(error.to_string().contains("(inf in the first)"), "{error}");

    let x = rows();
    let targets = array![[f32::NAN], [f32::NAN], [f32::NAN]];
    let error = Table::regression("t", x.view(), targets.view()).unwrap_err();
    assert!(error.to_string().contains("target column 0"), "{error}");
}

#[test]
fn a_whole_column_is_told_before_a_single_number() {
    let mut rows = scaled(&rows());
    rows[[0, 0]] = f32::NAN;
    assert_matches!(refused(rows.view()), DataError::ColumnsNotFinite { columns, .. } if columns == [1, 3]);
}

#[test]
fn numbers_that_are_not_finite_are_counted() {
    let mut rows = rows();
    rows[[2, 1]] = f32::NEG_INFINITY;
    let error = refused(rows.view());
    assert!(
        error
            .to_string()
            .contains("feature 1 of row 2 of table \"t\" is -inf"),
        "{error}"
    );
    assert_matches!(
        error,
        DataError::NotFinite {
            row: 2,
            column: 1,
            rows: 1,
            of: 3,
            ..
        }
    );
    rows[[1, 1]] = f32::NAN;
    rows[[1, 0]] = f32::NAN;
    let error = refused(rows.view());
    assert!(error.to_string().contains("feature 0 of row 1"), "{error}");
    rows[[1, 0]] = 0.0;
    let error = refused(rows.view());
    assert!(
        error
            .to_string()
            .contains("in 2 of 3 rows, first in row 1 (NaN)"),
        "{error}"
    );
    assert_matches!(
        error,
        DataError::NotFinite {
            row: 1,
            column: 1,
            rows: 2,
            of: 3,
            ..
        }
    );
    // In a table with a single row, the number is reported as part of that row, not as part of an invalid column.
    assert_matches!(
        refused(array![[0.0, f32::NAN]].view()),
        DataError::NotFinite {
            row: 0,
            column: 1,
            ..
        }
    );
}
