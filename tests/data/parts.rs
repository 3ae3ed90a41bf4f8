//! Selections of rows of tables and data sets.

use ndarray::{Array2, array};
use wgrad::data::{DataError, Dataset, Labels, RowsError, Table, Targets};

/// Returns a table whose row r has the features r and r + 0.5, and a class.
fn table(classes: &[u32]) -> Table {
    let x = Array2::from_shape_fn((classes.len(), 2), |(row, at)| row as f32 + at as f32 / 2.0);
    let count = classes.iter().max().unwrap() + 1;
    let labels = Labels::from_classes(classes.to_vec(), count as usize).unwrap();
    Table::classification("t", x.view(), labels).unwrap()
}

#[expect(clippy::cast_possible_truncation, reason = "small integers")]
fn rows(table: &Table) -> Vec<usize> {
    let rows = table.features().chunks(2).map(|row| {
        assert_eq!(row[1], row[0] + 0.5);
        row[0] as usize
    });
    rows.collect()
}

fn classes(table: &Table) -> &[u32] {
    match table.targets() {
        Targets::Classes(labels) => labels.indices(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn rows_keep_their_targets_and_the_name_says_how_many() {
    let all = table(&[0, 1, 2, 0, 1]);
    let part = all.select(&[4, 0, 4]).unwrap();
    assert_eq!(
        (rows(&part), classes(&part)),
        (vec![4, 0, 4], &[1, 0, 1][..])
    );
    assert_eq!((part.name(), part.outputs()), ("t, 3 of 5 rows", 3));
    let cut = all.rows(1..3).unwrap();
    assert_eq!((rows(&cut), classes(&cut)), (vec![1, 2], &[1, 2][..]));

    let x = array![[0.0], [1.0], [2.0]];
    let y = array![[0.0, 10.0], [1.0, 11.0], [2.0, 12.0]];
    let values = Table::regression("v", x.view(), y.view()).unwrap();
    let part = values.select(&[2, 1]).unwrap();
    assert_eq!(part.features(), [2.0, 1.0]);
    let Targets::Values { outputs, values } = part.targets() else {
        panic!("{part:?}");
    };
    assert_eq!((*outputs, &values[..]), (2, &[2.0, 12.0, 1.0, 11.0][..]));
}

#[test]
fn bytes_have_the_same_parts_as_floats() {
    let classes = [0, 1, 2, 0, 1, 1, 1, 2];
    let labels = Labels::from_classes(classes.to_vec(), 3).unwrap();
    let bytes = Dataset::new("t", 2, (0..16).collect(), labels).unwrap();
    let floats = table(&classes);
    let alike = |bytes: &Dataset, floats: &Table| {
        assert_eq!(bytes.name(), floats.name());
        let of_bytes: Vec<usize> = bytes
            .features()
            .chunks(2)
            .map(|row| row[0] as usize / 2)
            .collect();
        assert_eq!(of_bytes, rows(floats));
        assert_eq!(bytes.labels().indices(), self::classes(floats));
    };
    alike(&bytes.rows(2..7).unwrap(), &floats.rows(2..7).unwrap());
    alike(
        &bytes.select(&[7, 1]).unwrap(),
        &floats.select(&[7, 1]).unwrap(),
    );
    for (of_bytes, of_floats) in [
        (bytes.split(0.5, 3).unwrap(), floats.split(0.5, 3).unwrap()),
        (
            bytes.split_by_class(0.5, 3).unwrap(),
            floats.split_by_class(0.5, 3).unwrap(),
        ),
    ] {
        of_bytes
            .iter()
            .zip(&of_floats)
            .for_each(|(bytes, floats)| alike(bytes, floats));
    }
    alike(
        &bytes.of_each_class(3, 1).unwrap(),
        &floats.of_each_class(3, 1).unwrap(),
    );
}

#[test]
fn a_split_by_class_has_all_classes_in_both_parts() {
    let all = table(&[0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2]);
    for seed in 0..20 {
        let [first, second] = all.split_by_class(0.75, seed).unwrap();
        let counts = |part: &Table| {
            [0, 1, 2].map(|class| classes(part).iter().filter(|&&of| of == class).count())
        };
        assert_eq!(
            (counts(&first), counts(&second)),
            ([6, 1, 1], [2, 1, 0]),
            "seed {seed}"
        );
    }
    let orders = [1, 2].map(|seed| rows(&all.split(0.5, seed).unwrap()[0]));
    assert_ne!(orders[0], orders[1]);
}

#[test]
fn as_many_of_each_class_and_none_more_often_than_it_must() {
    let all = table(&[0, 0, 0, 0, 0, 0, 1, 1, 1]);
    for (count, of_first, of_second) in [
        (2, 1, 1),
        (3, 1, 1),
        (4, 1, 2),
        (6, 1, 2),
        (7, 2, 3),
        (13, 3, 5),
    ] {
        let part = all.of_each_class(count, 1).unwrap();
        assert_eq!(classes(&part), [0, 1].repeat(count));
        let mut times = [0; 9];
        rows(&part).into_iter().for_each(|row| times[row] += 1);
        for (times, most) in [(&times[..6], of_first), (&times[6..], of_second)] {
            let least = times.iter().min().unwrap();
            let found = times.iter().max().unwrap();
            assert_eq!(*found, most, "{count}");
            assert!(found - least <= 1, "{count}: {times:?}");
        }
    }
    let orders = [1, 2].map(|seed| rows(&all.of_each_class(3, seed).unwrap()));
    assert_ne!(orders[0], orders[1]);
}

#[test]
fn parts_that_cannot_be() {
    let all = table(&[0, 2, 0]);
    for error in [all.select(&[]), all.rows(2..2), all.of_each_class(0, 1)] {
        let error = error.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("no row of t is chosen: expected at least one of 3"),
            "{error}"
        );
        assert_matches!(error, DataError::Rows(RowsError::NoneChosen { .. }));
    }
    for (error, found) in [(all.select(&[0, 3]), 3), (all.rows(1..5), 4)] {
        assert_matches!(error.unwrap_err(), DataError::Rows(RowsError::Index { index, rows: 3, .. }) if index == found);
    }
    let error = all.of_each_class(1, 1).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("t has no row of class 1: expected at least one of each of 3"),
        "{error}"
    );
    let error = all
        .select(&[0, 1])
        .unwrap()
        .of_each_class(usize::MAX / 2, 1)
        .unwrap_err();
    assert_matches!(error, DataError::TooLarge { .. });

    let x = array![[0.0], [1.0]];
    let values = Table::regression("v", x.view(), x.view()).unwrap();
    for error in [
        values.split_by_class(0.5, 1).map(|_| ()),
        values.of_each_class(1, 1).map(|_| ()),
    ] {
        assert_matches!(
            error.unwrap_err(),
            DataError::Rows(RowsError::NoClasses { .. })
        );
    }
    let labels = Labels::from_classes(vec![1, 0], 2).unwrap();
    assert_eq!(labels.select(&[1, 1, 0]).unwrap().indices(), [0, 0, 1]);
    assert_matches!(
        labels.select(&[2]).unwrap_err(),
        DataError::Rows(RowsError::Index { index: 2, .. })
    );
}
