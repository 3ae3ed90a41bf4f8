//! Reads the four files of a data set from memory, as a web page does when the user drops files on it.

use std::path::Path;

use wgrad::data::{DataError, Dataset, mnist};

use super::common;
use super::digits::*;

fn sound() -> Vec<(String, Vec<u8>)> {
    let contents = [images(3), labels(3), images(2), labels(2)];
    NAMES.map(str::to_owned).into_iter().zip(contents).collect()
}

#[test]
fn files_are_taken_in_any_order_and_spelling() {
    let mut files = sound();
    files.rotate_left(1);
    files[0].0 = "train-labels.idx1-ubyte".to_owned();
    files[2] = (format!("{TEST_LABELS}.gz"), gzip(&labels(2)));
    let split = mnist::from_files("dropped", files).unwrap();
    assert_eq!((split.train.name(), split.test.len()), ("dropped train", 2));
    assert_eq!(split.train.features(), &images(3)[16..]);
    assert_eq!(split.test.labels().indices(), [0, 1]);
}

#[test]
fn a_file_of_no_data_set_is_told_first() {
    let error = mnist::from_files("dropped", [("photo.png", vec![1, 2, 3])]).unwrap_err();
    assert_tells(&error, Path::new("photo.png"), TRAIN_IMAGES);
    assert_matches!(error, DataError::UnknownFile { file } if file == Path::new("photo.png"));
}

#[test]
fn files_that_are_missing_are_all_named() {
    let error = mnist::from_files("dropped", sound().drain(..2)).unwrap_err();
    assert_matches!(error, DataError::MissingFiles { missing } if missing == [TEST_IMAGES, TEST_LABELS]);
}

#[test]
fn files_are_checked_as_those_on_a_disk() {
    let spoiled = |at: usize, contents: Vec<u8>| {
        let mut files = sound();
        files[at].1 = contents;
        mnist::from_files("dropped", files).unwrap_err()
    };
    assert_matches!(spoiled(0, labels(3)), DataError::NotIdx { .. });
    assert_matches!(
        spoiled(0, images(3)[..99].to_vec()),
        DataError::IdxTruncated { .. }
    );
    assert_matches!(spoiled(1, labels(2)), DataError::IdxCount { .. });
    assert_matches!(
        spoiled(3, idx(0x801, &[2], &[0, 10])),
        DataError::IdxClasses { .. }
    );
    let mut files = sound();
    files[0].0.push_str(".gz");
    assert!(mnist::from_files("dropped", files).is_ok());
}

#[test]
fn a_prefix_names_the_data_set() {
    let named = |prefix: &str| {
        let mut files = sound();
        for (name, _) in &mut files {
            *name = format!("{prefix}-{}.gz", name.replace("t10k", "test"));
        }
        files
    };
    let split = mnist::from_files("dropped", named("emnist-letters")).unwrap();
    assert_eq!(split.test.name(), "emnist-letters test");
    let missing = mnist::from_files("dropped", named("a").drain(..3)).unwrap_err();
    assert_matches!(missing, DataError::MissingFiles { missing } if missing == ["a-t10k-labels-idx1-ubyte"]);

    let mixed = [named("a"), sound()].concat();
    let error = mnist::from_files("dropped", mixed).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("files of a and one without a prefix;"),
        "{error}"
    );
    assert_matches!(error, DataError::MixedFiles { names } if names == ["a", ""]);
}

#[test]
fn a_file_given_twice_is_taken_once_and_best_plain() {
    let other = (
        format!("{TRAIN_LABELS}.gz"),
        gzip(&idx(0x801, &[3], &[7, 7, 7])),
    );
    let mut files = sound();
    files.push(other.clone());
    let mut reversed = files.clone();
    reversed.reverse();
    for files in [files, reversed] {
        let split = mnist::from_files("dropped", files).unwrap();
        assert_eq!(split.train.labels().indices(), [0, 1, 2]);
    }
}

#[test]
fn the_original_is_called_by_its_name() {
    let Some(mnist) = common::mnist() else {
        return;
    };
    let files_of = |part: &Dataset, examples: u32| {
        let labels = part.labels().indices().iter();
        let labels: Vec<u8> = labels.map(|&label| label.to_le_bytes()[0]).collect();
        let images = idx(0x803, &[examples, 28, 28], part.features());
        [images, idx(0x801, &[examples], &labels)]
    };
    let parts = [
        files_of(&mnist.train, 60_000),
        files_of(&mnist.test, 10_000),
    ];
    let files = NAMES.into_iter().zip(parts.concat());
    let split = mnist::from_files("dropped", files).unwrap();
    assert_eq!(split.train.name(), "MNIST train");
    assert_eq!(split.test.features(), mnist.test.features());
}
