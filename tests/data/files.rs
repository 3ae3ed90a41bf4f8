//! Valid files, and every way in which a file can be invalid.

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
    let error = mnist::open(&file).unwrap_err();
    assert_matches!(error, DataError::OneOfFour { data_set, .. } if data_set == digits.path);
    digits.write("one-train-images-idx3-ubyte.gz", b"");
    let error = mnist::open(digits.file("one-train-images-idx3-ubyte.gz")).unwrap_err();
    assert_matches!(error, DataError::OneOfFour { data_set, .. } if data_set == digits.file("one"));
    digits.write("notes.txt", b"");
    let error = mnist::open(digits.file("notes.txt")).unwrap_err();
    assert_matches!(error, DataError::Directory { .. });
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
fn a_file_that_has_another_spelling_is_told_by_it() {
    for spelled in [
        "train_images_idx3_ubyte",
        "TRAIN-IMAGES-IDX3-UBYTE",
        "Train-Images.idx3-ubyte.GZ",
        "MNIST_train-images-idx3-ubyte",
    ] {
        let digits = Digits::new();
        fs::rename(digits.file(TRAIN_IMAGES), digits.file(spelled)).unwrap();
        let error = digits.error(TRAIN_IMAGES, spelled);
        assert_matches!(error, DataError::MisspelledFile { found, .. } if found == digits.file(spelled));
    }
}

#[test]
fn files_in_a_subdirectory_are_told_by_it() {
    for place in ["raw", "MNIST/raw", "gzip"] {
        let digits = Digits::new();
        let below = digits.file(place);
        fs::create_dir_all(&below).unwrap();
        for name in NAMES {
            fs::rename(digits.file(name), below.join(name)).unwrap();
        }
        let error = digits.error(TRAIN_IMAGES, place);
        assert_matches!(&error, DataError::InSubdirectory { subdirectory, .. } if *subdirectory == below);
        mnist::open_unverified(below).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_link_to_nowhere_is_told_by_where_it_leads() {
    use std::os::unix::fs::symlink;

    let digits = Digits::new();
    fs::remove_file(digits.file(TEST_LABELS)).unwrap();
    symlink("elsewhere/labels", digits.file(TEST_LABELS)).unwrap();
    let error = digits.error(TEST_LABELS, "elsewhere/labels");
    assert_matches!(error, DataError::DeadLink { .. });
    // The broken link is ignored, because the file also exists as `.gz`.
    digits.write(&format!("{TEST_LABELS}.gz"), &gzip(&labels(2)));
    digits.open().unwrap();
    symlink("/no/such/directory", digits.file("all")).unwrap();
    let error = mnist::open(digits.file("all")).unwrap_err();
    assert_matches!(error, DataError::DeadLink { link, .. } if link == digits.file("all"));
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
fn contents_tell_whether_a_file_is_gzip_not_its_name() {
    assert_digits(
        &Digits::with(TRAIN_IMAGES, &gzip(&images(3)))
            .open()
            .unwrap(),
    );
    assert_digits(&Digits::with_gz(TRAIN_IMAGES, &images(3)).open().unwrap());
    let name = format!("{TRAIN_IMAGES}.gz");
    for (contents, found) in [
        (&b"<html>log in"[..], "a web page"),
        (b"\x1f", "[1f]"),
        (b"\x1f\x8c\x08", "[1f, 8c, 08]"),
    ] {
        let error = Digits::with_gz(TRAIN_IMAGES, contents).error(&name, found);
        assert_matches!(error, DataError::NotIdx { .. });
    }
}

#[test]
fn a_gzip_file_may_be_padded_with_zeros() {
    for zeros in [1, 512, 3 << 20] {
        let contents = [gzip(&images(3)), vec![0; zeros]].concat();
        assert_digits(&Digits::with_gz(TRAIN_IMAGES, &contents).open().unwrap());
    }
    let whole = images(3);
    let (first, second) = whole.split_at(1000);
    let members = [&gzip(first)[..], &[0; 512], &gzip(second), &[0; 512]].concat();
    assert_digits(&Digits::with_gz(TRAIN_IMAGES, &members).open().unwrap());
}

#[test]
fn a_gzip_file_with_a_tail_is_told_as_one() {
    for tail in [&b"garbage"[..], b"\0\0\0garbage", b"\x1fno member"] {
        let contents = [&gzip(&labels(3))[..], tail].concat();
        let name = format!("{TRAIN_LABELS}.gz");
        let error = Digits::with_gz(TRAIN_LABELS, &contents).error(&name, "other bytes");
        assert!(!error.to_string().contains("damaged"), "{error}");
        assert_matches!(error, DataError::GzipTail { .. });
    }
}

#[test]
fn a_gz_file_that_is_truncated_or_damaged() {
    let whole = gzip(&labels(3));
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let first = gzip(&labels(3)[..9]);
    let second = gzip(&labels(3)[9..]);
    let second = [&first[..], &second[..second.len() - 1]].concat();
    for contents in [&whole[..2], &whole[..whole.len() - 1], &damaged, &second] {
        let digits = Digits::with_gz(TRAIN_LABELS, contents);
        let name = format!("{TRAIN_LABELS}.gz");
        let error = digits.error(&name, "found: ");
        assert!(std::error::Error::source(&error).is_some());
        assert_matches!(error, DataError::Gzip { file, .. } if file == digits.file(&name));
    }
}

#[test]
fn images_and_labels_that_are_swapped() {
    let digits = Digits::with(TRAIN_IMAGES, &labels(3));
    let error = digits.error(TRAIN_IMAGES, "found labels (unsigned bytes in 1 dimension)");
    assert!(error.to_string().contains("expected images"), "{error}");
    assert!(error.to_string().contains("swapped"), "{error}");
    assert_matches!(error, DataError::NotIdx { .. });
    let name = format!("{TEST_LABELS}.gz");
    let error = Digits::with_gz(TEST_LABELS, &gzip(&images(2))).error(&name, "found images");
    assert_matches!(error, DataError::NotIdx { .. });
}

#[test]
fn files_of_other_kinds_are_called_what_they_are() {
    let floats = idx(0xd03, &[3, 28, 28], &[0; 3 * 784 * 4]);
    let words = idx(0xc02, &[3, 8], &[0; 96]);
    let reversed: Vec<u8> = images(3)[..16]
        .chunks(4)
        .flat_map(|word| word.iter().rev())
        .copied()
        .collect();
    let mut sizes = reversed.clone();
    sizes[..4].copy_from_slice(&[0, 0, 8, 3]);
    for (name, contents, found) in [
        (TRAIN_IMAGES, &floats[..], "32-bit floats in 3 dimensions"),
        (TRAIN_LABELS, &words, "32-bit integers in 2 dimensions"),
        (TRAIN_IMAGES, &reversed, "bytes of its header reversed"),
        (TRAIN_IMAGES, &sizes, "bytes of its sizes reversed"),
        (
            TEST_IMAGES,
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
            "a PNG picture",
        ),
        (TEST_LABELS, b"label,pixel\n5,0", "CSV"),
        (TEST_LABELS, &gzip(&labels(2)), "gzip within gzip"),
        (TEST_LABELS, b"\x01\x02\x03", "[01, 02, 03]"),
    ] {
        for contents in [contents, &gzip(contents)] {
            if contents == gzip(&labels(2)) {
                continue;
            }
            let error = Digits::with(name, contents).error(name, found);
            assert_matches!(error, DataError::NotIdx { .. });
        }
    }
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
fn zeros_behind_the_values_are_padding() {
    for zeros in [1, 512, 1 << 20] {
        let contents = [images(3), vec![0; zeros]].concat();
        assert_digits(&Digits::with(TRAIN_IMAGES, &contents).open().unwrap());
        assert_digits(
            &Digits::with_gz(TRAIN_IMAGES, &gzip(&contents))
                .open()
                .unwrap(),
        );
    }
}

#[test]
fn trailing_bytes() {
    let far = [&[0; 9000][..], &[1]].concat();
    let many = vec![0; (1 << 20) + 1];
    for more in [&[1][..], &[0, 0, 1], &far, &many] {
        let contents = [&images(2)[..], more].concat();
        let error = Digits::with(TEST_IMAGES, &contents).error(TEST_IMAGES, "found more");
        assert_matches!(error, DataError::IdxTrailing { expected: 1584, .. });
        let error = Digits::with_gz(TEST_IMAGES, &gzip(&contents))
            .error(&format!("{TEST_IMAGES}.gz"), "found more");
        assert_matches!(error, DataError::IdxTrailing { expected: 1584, .. });
    }
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
    // The file is truncated, so reading it to its end would give another error.
    bomb.pop();
    let digits = Digits::with_gz(TRAIN_LABELS, &bomb);
    let error = digits.error(&format!("{TRAIN_LABELS}.gz"), "found more");
    assert_matches!(error, DataError::IdxTrailing { expected: 11, .. });
}

#[test]
fn a_gzip_file_that_announces_more_than_pictures_unpack_to() {
    // The file unpacks to 1 GB of zeros. Only its header may be read.
    let bomb = gzip(&idx(0x803, &[1_300_000, 28, 28], &[0; 100_000]));
    let name = format!("{TRAIN_IMAGES}.gz");
    let error = Digits::with_gz(TRAIN_IMAGES, &bomb).error(&name, "1019200016 bytes");
    assert!(error.to_string().contains("gunzip"), "{error}");
    assert_matches!(error, DataError::GzipRatio { zipped, announced: 1_019_200_016, .. }
        if zipped == bomb.len() as u64);
    // Without compression, a file with such a header is truncated.
    let plain = idx(0x803, &[1_300_000, 28, 28], &[0; 100_000]);
    let error = Digits::with(TRAIN_IMAGES, &plain).error(TRAIN_IMAGES, "found 100016");
    assert_matches!(error, DataError::IdxTruncated { .. });
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
fn another_data_set_than_the_original() {
    let digits = Digits::new();
    let error = mnist::open(&digits.path).unwrap_err();
    assert_tells(&error, &digits.file(TRAIN_IMAGES), "open_unverified");
    assert_matches!(error, DataError::Checksum { expected, found, .. }
        if expected.starts_with("ba891046") && found.len() == 64 && found != expected);
}
