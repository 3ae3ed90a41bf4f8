//! Data sets with other names and classes than MNIST, such as EMNIST.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use tempfile::TempDir;
use wgrad::data::{DataError, Split, mnist};

use super::digits::*;

/// The four files of a data set, with the names that EMNIST gives them.
fn write(directory: &Path, prefix: &str, train: &[u8], test: &[u8]) {
    for (part, part_labels) in [("train", train), ("test", test)] {
        let count = u32::try_from(part_labels.len()).unwrap();
        let path = |kind: &str| directory.join(format!("{prefix}-{part}-{kind}-ubyte.gz"));
        fs::write(path("images-idx3"), gzip(&images(count))).unwrap();
        fs::write(
            path("labels-idx1"),
            gzip(&idx(0x801, &[count], part_labels)),
        )
        .unwrap();
    }
}

fn with(train: &[u8], test: &[u8]) -> (TempDir, Result<Split, DataError>) {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "some", train, test);
    let opened = mnist::open_unverified(directory.path());
    (directory, opened)
}

#[test]
fn the_parts_of_emnist() {
    let directory = tempfile::tempdir().unwrap();
    let parts: [(&str, Vec<u8>, usize); 6] = [
        ("letters", (1..=26).collect(), 26),
        ("balanced", (0..47).collect(), 47),
        ("bymerge", (0..47).rev().collect(), 47),
        ("byclass", (0..62).collect(), 62),
        ("digits", (0..10).collect(), 10),
        ("mnist", vec![9, 8], 10),
    ];
    for (name, labels, _) in &parts {
        write(
            directory.path(),
            &format!("emnist-{name}"),
            labels,
            &labels[1..],
        );
    }
    for (name, labels, classes) in &parts {
        let name = format!("emnist-{name}");
        let split = mnist::open_unverified(directory.path().join(&name)).unwrap();
        assert_eq!(split.train.name(), format!("{name} train"));
        assert_eq!(split.test.name(), format!("{name} test"));
        assert_eq!(split.train.labels().classes(), *classes);
        assert_eq!(split.test.labels().classes(), *classes);
        let first = u32::from(name == "emnist-letters");
        let found = mnist::find_labels(directory.path().join(&name)).unwrap();
        assert_eq!((u32::from(*found.start()), found.len()), (first, *classes));
        let expected: Vec<u32> = labels
            .iter()
            .map(|label| u32::from(*label) - first)
            .collect();
        assert_eq!(split.train.labels().indices(), expected);
        assert_eq!(split.test.labels().indices(), &expected[1..]);
        assert_eq!(
            split.train.features(),
            &images(u32::try_from(labels.len()).unwrap())[16..]
        );
    }
}

#[test]
fn a_prefix_is_needed_where_it_chooses() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    write(path, "b", &[1], &[2]);
    assert_eq!(
        mnist::open_unverified(path).unwrap().train.name(),
        "b train"
    );
    write(path, "a", &[3], &[4]);
    let error = mnist::open_unverified(path).unwrap_err();
    assert_tells(&error, path, "a and b");
    assert!(
        error
            .to_string()
            .contains(&path.join("a").display().to_string()),
        "{error}"
    );
    assert_matches!(error, DataError::SeveralDataSets { names, .. } if names == ["a", "b"]);
    assert_eq!(
        mnist::open_unverified(path.join("a")).unwrap().train.name(),
        "a train"
    );

    let error = mnist::open_unverified(path.join("c")).unwrap_err();
    assert_tells(&error, &path.join("c"), "a and b");
    assert_matches!(error, DataError::NoDataSet { names, .. } if names == ["a", "b"]);

    // Without a prefix in the file names, only the directory could give the data set a name.
    for name in NAMES {
        let contents = if name.contains("images") {
            images(1)
        } else {
            labels(1)
        };
        fs::write(path.join(name), contents).unwrap();
    }
    assert_eq!(
        mnist::open_unverified(path)
            .unwrap()
            .train
            .labels()
            .indices(),
        [0]
    );
    assert_eq!(
        mnist::open_unverified(path.join("b"))
            .unwrap()
            .test
            .labels()
            .indices(),
        [2]
    );
}

#[test]
fn a_file_of_a_prefix_that_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "a", &[1], &[2]);
    fs::remove_file(directory.path().join("a-test-images-idx3-ubyte.gz")).unwrap();
    let error = mnist::open_unverified(directory.path()).unwrap_err();
    let file = directory.path().join("a-t10k-images-idx3-ubyte");
    assert_tells(&error, &file, "`test` for `t10k`");
    assert_matches!(error, DataError::MissingFile { .. });
}

#[test]
fn another_data_set_is_not_the_original() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "letters", &[1, 26], &[2]);
    let error = mnist::open(directory.path().join("letters")).unwrap_err();
    assert_matches!(error, DataError::Checksum { .. });
}

#[test]
fn labels_up_to_9_are_those_of_mnist() {
    for labels in [&[1, 9][..], &[0], &[1, 2, 3]] {
        let (_, split) = with(labels, labels);
        let found = split.unwrap().train.labels().clone();
        assert_eq!(found.classes(), 10);
        assert!(
            found
                .indices()
                .iter()
                .zip(labels)
                .all(|(found, label)| *found == u32::from(*label))
        );
    }
}

#[test]
fn labels_above_9_count_from_the_smallest_and_must_all_occur() {
    let ten: Vec<u8> = (1..=10).collect();
    assert_eq!(with(&ten, &[10]).1.unwrap().test.labels().indices(), [9]);
    assert_eq!(with(&ten, &[10]).1.unwrap().test.labels().classes(), 10);
    // The label 0 occurs only in the test set.
    let (directory, split) = with(&ten, &[10, 0]);
    let error = split.unwrap_err();
    let file = directory.path().join("some-test-labels-idx1-ubyte.gz");
    assert_tells(
        &error,
        &file,
        "found 0 at example 1, and no training example of 0;",
    );
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(with(&all, &[255]).1.unwrap().test.labels().classes(), 256);
}

#[test]
fn a_damaged_label_makes_no_classes() {
    let digits: Vec<u8> = (0..10).collect();
    let damaged = [&digits[..], &[200]].concat();
    for (train, test, file, example) in [
        (&damaged, &digits, "some-train-labels-idx1-ubyte.gz", 10),
        (&digits, &damaged, "some-test-labels-idx1-ubyte.gz", 10),
    ] {
        let (directory, split) = with(train, test);
        let error = split.unwrap_err();
        let found = format!("found 200 at example {example}, and no training example of 10 to ");
        assert_tells(&error, &directory.path().join(file), &found);
        assert!(
            error.to_string().contains("mnist::open_labelled"),
            "{error}"
        );
        assert_matches!(error, DataError::IdxClasses { labels, missing, .. }
            if labels == (0..=200) && missing[0] == 10);
    }
}

#[test]
fn labels_that_are_named() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "some", &[3, 7], &[5]);
    let open = |labels| mnist::open_labelled(directory.path(), labels);
    let split = open(2..=8).unwrap();
    assert_eq!(split.train.labels().classes(), 7);
    assert_eq!(split.train.labels().indices(), [1, 5]);
    assert_eq!(split.test.labels().indices(), [3]);
    assert_eq!(open(0..=255).unwrap().train.labels().classes(), 256);
    let file = directory.path().join("some-train-labels-idx1-ubyte.gz");
    for (labels, example, found) in [
        (0..=6, 1, 7),
        (4..=7, 0, 3),
        (RangeInclusive::new(7, 3), 0, 3),
    ] {
        let error = open(labels.clone()).unwrap_err();
        let ends = format!(
            "expected labels from {} to {}, ",
            labels.start(),
            labels.end()
        );
        assert_tells(
            &error,
            &file,
            &format!("{ends}found {found} at example {example}"),
        );
        assert_matches!(error, DataError::IdxLabel { .. });
    }
}
