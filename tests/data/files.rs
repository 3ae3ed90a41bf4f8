//! Files that are sound, and each way in which one may not be.

use std::fs;
use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use wgrad::data::{DataError, mnist};

use super::digits::*;

#[test]
fn plain_and_gzipped_files_are_read_alike() {
    let digits = Digits::new();
    assert_digits(&digits.open().unwrap());
    for name in NAMES {
        let contents = fs::read(digits.file(name)).unwrap();
        fs::remove_file(digits.file(name)).unwrap();
        digits.write(&format!("{name}.gz"), &gzip(&contents));
    }
    assert_digits(&digits.open().unwrap());
}

#[test]
fn each_spelling_is_read_and_the_plain_file_wins() {
    let digits = Digits::new();
    for name in NAMES {
        digits.write(&format!("{name}.gz"), b"not looked at");
        let dotted = name.replace("-idx", ".idx");
        fs::rename(digits.file(name), digits.file(&dotted)).unwrap();
    }
    assert_digits(&digits.open().unwrap());
    for name in NAMES {
        let dotted = name.replace("-idx", ".idx");
        let contents = fs::read(digits.file(&dotted)).unwrap();
        fs::remove_file(digits.file(&dotted)).unwrap();
        fs::remove_file(digits.file(&format!("{name}.gz"))).unwrap();
        digits.write(&format!("{dotted}.gz"), &gzip(&contents));
    }
    assert_digits(&digits.open().unwrap());
}

#[test]
fn a_gzip_file_of_several_members_is_read_whole() {
    let whole = images(3);
    let members = [gzip(&whole[..1000]), gzip(&whole[1000..])].concat();
    assert_digits(&Digits::with_gz(TRAIN_IMAGES, &members).open().unwrap());
}

#[test]
fn as_many_examples_as_the_original_has_are_read_through_the_other_parser() {
    let digits = Digits::new();
    digits.write(TRAIN_IMAGES, &images(60_000));
    digits.write(TRAIN_LABELS, &labels(60_000));
    digits.write(TEST_IMAGES, &images(10_000));
    digits.write(TEST_LABELS, &labels(10_000));
    let split = digits.open().unwrap();
    assert_eq!(split.train.features(), &images(60_000)[16..]);
    assert_eq!(split.test.features(), &images(10_000)[16..]);
    assert_eq!(split.train.labels().indices()[59_999], 9);
    assert_eq!(split.test.labels().len(), 10_000);
}

#[test]
fn a_directory_that_is_none() {
    let digits = Digits::new();
    let missing = digits.file("missing");
    let error = mnist::open_unverified(&missing).unwrap_err();
    assert_tells(&error, &missing, "No such file");
    assert_matches!(&error, DataError::Directory { directory, .. } if *directory == missing);
    assert!(std::error::Error::source(&error).is_some());
    let file = digits.file(TRAIN_IMAGES);
    assert_matches!(mnist::open(&file).unwrap_err(), DataError::Directory { directory, .. } if directory == file);
}

#[test]
fn a_file_that_is_missing() {
    for name in NAMES {
        let digits = Digits::new();
        fs::remove_file(digits.file(name)).unwrap();
        let error = digits.error(name, "found none of these");
        assert_matches!(error, DataError::MissingFile { file } if file == digits.file(name));
    }
}

#[test]
fn a_missing_file_is_told_before_a_damaged_one() {
    let digits = Digits::with(TRAIN_IMAGES, b"damaged");
    fs::remove_file(digits.file(TEST_LABELS)).unwrap();
    assert_matches!(
        digits.error(TEST_LABELS, "found none"),
        DataError::MissingFile { .. }
    );
}

#[test]
fn a_directory_in_place_of_a_file() {
    let digits = Digits::new();
    fs::remove_file(digits.file(TEST_IMAGES)).unwrap();
    fs::create_dir(digits.file(TEST_IMAGES)).unwrap();
    let error = digits.error(TEST_IMAGES, "found a directory");
    assert_matches!(error, DataError::NotAFile { file } if file == digits.file(TEST_IMAGES));
    digits.write(&format!("{TEST_IMAGES}.gz"), &gzip(&images(2)));
    assert_digits(&digits.open().unwrap());
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_cannot_be_looked_up() {
    let digits = Digits::new();
    fs::remove_file(digits.file(TRAIN_LABELS)).unwrap();
    std::os::unix::fs::symlink(TRAIN_LABELS, digits.file(TRAIN_LABELS)).unwrap();
    let error = digits.error(TRAIN_LABELS, "symbolic links");
    assert_matches!(error, DataError::Read { file, .. } if file == digits.file(TRAIN_LABELS));
}

#[test]
fn a_gz_file_that_is_not_gzip() {
    for contents in [&images(3)[..], b"", b"\x1f"] {
        let start = &contents[..contents.len().min(2)];
        let digits = Digits::with_gz(TRAIN_IMAGES, contents);
        let name = format!("{TRAIN_IMAGES}.gz");
        let error = digits.error(&name, &format!("{start:02x?}"));
        assert_matches!(error, DataError::NotGzip { file, found }
            if file == digits.file(&name) && found == start);
    }
}

#[test]
fn a_gz_file_that_is_truncated_or_damaged() {
    let whole = gzip(&labels(3));
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let garbage = [&whole[..], b"garbage"].concat();
    for contents in [&whole[..2], &whole[..whole.len() - 1], &damaged, &garbage] {
        let digits = Digits::with_gz(TRAIN_LABELS, contents);
        let name = format!("{TRAIN_LABELS}.gz");
        let error = digits.error(&name, "found: ");
        assert!(std::error::Error::source(&error).is_some());
        assert_matches!(error, DataError::Gzip { file, .. } if file == digits.file(&name));
    }
}

#[test]
fn a_wrong_magic_number() {
    let error = Digits::with(TRAIN_IMAGES, &labels(3)).error(TRAIN_IMAGES, "0x00000801");
    assert_matches!(
        error,
        DataError::IdxMagic {
            expected: 0x803,
            found: 0x801,
            ..
        }
    );
    let error = Digits::with_gz(TEST_LABELS, &gzip(&images(2)))
        .error(&format!("{TEST_LABELS}.gz"), "0x00000803");
    assert_matches!(
        error,
        DataError::IdxMagic {
            expected: 0x801,
            found: 0x803,
            ..
        }
    );
    let error = Digits::with(TEST_IMAGES, &gzip(&images(2))).error(TEST_IMAGES, "0x1f8b08");
    assert_matches!(
        error,
        DataError::IdxMagic {
            expected: 0x803,
            ..
        }
    );
}

#[test]
fn images_of_another_size() {
    let file = idx(0x803, &[3, 32, 28], &[0; 3 * 32 * 28]);
    let error = Digits::with(TRAIN_IMAGES, &file).error(TRAIN_IMAGES, "32×28");
    assert_matches!(
        error,
        DataError::IdxDimensions {
            expected: (28, 28),
            found: (32, 28),
            ..
        }
    );
    let transposed = idx(0x803, &[3, 28, 32], &[0; 3 * 28 * 32]);
    let error = Digits::with(TRAIN_IMAGES, &transposed).error(TRAIN_IMAGES, "28×32");
    assert_matches!(
        error,
        DataError::IdxDimensions {
            found: (28, 32),
            ..
        }
    );
}

#[test]
fn no_examples() {
    let error = Digits::with(TRAIN_LABELS, &labels(0)).error(TRAIN_LABELS, "announces 0");
    assert_matches!(error, DataError::IdxEmpty { .. });
}

#[test]
fn more_than_fits_in_memory() {
    for contents in [
        idx(0x803, &[u32::MAX, 28, 28], &[]),
        idx(0x803, &[1_500_000, 28, 28], &[]),
    ] {
        let error = Digits::with(TRAIN_IMAGES, &contents).error(TRAIN_IMAGES, "announces");
        assert_matches!(error, DataError::IdxTooLarge { maximum: 0x4000_0000, found, .. }
            if found > 1_000_000_000);
    }
}

#[test]
fn truncated_files() {
    let whole = images(3);
    for length in [0, 3, 15, 16, 17, whole.len() - 1] {
        let (expected, found) = if length < 16 {
            (16, length)
        } else {
            (whole.len(), length)
        };
        let found_bytes = format!("expected {expected} bytes unpacked, found {found}");
        let contents = &whole[..length];
        for (digits, name) in [
            (
                Digits::with(TRAIN_IMAGES, contents),
                TRAIN_IMAGES.to_owned(),
            ),
            (
                Digits::with_gz(TRAIN_IMAGES, &gzip(contents)),
                format!("{TRAIN_IMAGES}.gz"),
            ),
        ] {
            let error = digits.error(&name, &found_bytes);
            assert_matches!(error, DataError::IdxTruncated { file, expected: e, found: f }
                if (file == digits.file(&name)) && (e, f) == (expected as u64, found as u64));
        }
    }
}

#[test]
fn trailing_bytes() {
    let contents = [&images(2)[..], &[0]].concat();
    let error = Digits::with(TEST_IMAGES, &contents).error(TEST_IMAGES, "found more");
    assert_matches!(error, DataError::IdxTrailing { expected: 1584, .. });
    let error = Digits::with_gz(TEST_IMAGES, &gzip(&contents))
        .error(&format!("{TEST_IMAGES}.gz"), "found more");
    assert_matches!(error, DataError::IdxTrailing { expected: 1584, .. });
}

#[test]
fn a_decompression_bomb_is_not_unpacked() {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
    bomb.write_all(&idx(0x801, &[3], &[])).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..256 {
        bomb.write_all(&zeros).unwrap();
    }
    let mut bomb = bomb.finish().unwrap();
    // Cut off, so that reaching its end would be another error.
    bomb.pop();
    let digits = Digits::with_gz(TRAIN_LABELS, &bomb);
    let error = digits.error(&format!("{TRAIN_LABELS}.gz"), "found more");
    assert_matches!(error, DataError::IdxTrailing { expected: 11, .. });
}

#[test]
fn labels_of_another_count() {
    let digits = Digits::with(TEST_LABELS, &labels(3));
    let error = digits.error(TEST_LABELS, "found 3 labels");
    assert!(error.to_string().contains(TEST_IMAGES));
    assert_matches!(
        error,
        DataError::IdxCount {
            images: 2,
            labels: 3,
            ..
        }
    );
}

#[test]
fn a_label_out_of_range() {
    let contents = idx(0x801, &[3], &[9, 0, 10]);
    let error = Digits::with(TRAIN_LABELS, &contents).error(TRAIN_LABELS, "found 10 at example 2");
    assert!(error.to_string().contains("0 to 9"));
    assert_matches!(
        error,
        DataError::IdxLabel {
            classes: 10,
            example: 2,
            found: 10,
            ..
        }
    );
}

#[test]
fn another_data_set_than_the_original() {
    let digits = Digits::new();
    let error = mnist::open(&digits.path).unwrap_err();
    assert_tells(&error, &digits.file(TRAIN_IMAGES), "open_unverified");
    assert_matches!(error, DataError::Checksum { expected, found, .. }
        if expected.starts_with("ba891046") && found.len() == 64 && found != expected);
}
