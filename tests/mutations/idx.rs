//! Reads data sets in MNIST's format, with random changes.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::{Compression, write::GzEncoder};
use wgrad::data::{DataError, Split, mnist};

use crate::mutator::{Mutator, alone, count, within_bounds};

/// The unchanged files that are read together with the changed one: three images and their labels, for training and for
/// testing.
const SOUND: [(&str, &str); 4] = [
    ("train-images-idx3-ubyte", "images"),
    ("train-labels-idx1-ubyte", "labels"),
    ("test-images-idx3-ubyte", "images.gz"),
    ("test-labels-idx1-ubyte", "labels.gz"),
];

fn sound() -> [Vec<u8>; 4] {
    SOUND.map(|(_, file)| fs::read(format!("tests/corpus/idx/{file}")).unwrap())
}

/// Returns all contents that a changed file could affect.
fn contents(split: &Split) -> impl PartialEq {
    [&split.train, &split.test].map(|part| (part.features().to_vec(), part.labels().clone()))
}

/// Reads the data set with a changed file in place of file number `at`, from memory and from disk. Returns whether it
/// was accepted.
fn read(case: &str, directory: &Path, at: usize, bytes: &[u8]) -> bool {
    let mut files = sound();
    let name = SOUND[at].0;
    fs::write(directory.join(name), bytes).unwrap();
    files[at] = bytes.to_vec();
    let named: Vec<_> = SOUND.iter().map(|(name, _)| *name).zip(files).collect();
    let case = format!("{case}, {name}");
    let in_memory = within_bounds(&format!("{case} in memory"), bytes.len(), || {
        mnist::from_files("some", named.clone())
    });
    let on_disk = within_bounds(&format!("{case} on disk"), bytes.len(), || {
        mnist::open_unverified(directory)
    });
    let sound = fs::read(format!("tests/corpus/idx/{}", SOUND[at].1)).unwrap();
    fs::write(directory.join(name), sound).unwrap();
    match (in_memory, on_disk) {
        (Ok(in_memory), Ok(on_disk)) => {
            assert!(
                contents(&in_memory) == contents(&on_disk),
                "{case}: read differently"
            );
            true
        }
        (Err(in_memory), Err(on_disk)) => {
            assert_eq!(
                message(&in_memory, directory),
                message(&on_disk, directory),
                "{case}"
            );
            false
        }
        (in_memory, on_disk) => panic!("{case}: {in_memory:?} in memory, {on_disk:?} on disk"),
    }
}

/// Returns the error message without the file's directory.
fn message(error: &DataError, directory: &Path) -> String {
    error
        .to_string()
        .replace(directory.join("").to_str().unwrap(), "")
}

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for ((name, _), bytes) in SOUND.iter().zip(sound()) {
        fs::write(directory.path().join(name), bytes).unwrap();
    }
    directory
}

#[test]
fn mutated_idx_files_are_read_or_refused() {
    let _alone = alone();
    let directory = directory();
    let mut mutator = Mutator::new(2, "idx", vec![]);
    let mut taken = 0;
    for (name, bytes) in mutator.corpus().to_vec() {
        for at in 0..4 {
            taken += usize::from(read(&name, directory.path(), at, &bytes));
        }
    }
    // The accepted files are images in four forms (plain, gzipped, padded, or in several gzip members), and labels in
    // the same four forms. Data sets of letters are refused because they have too many classes.
    assert_eq!(taken, 2 * (4 + 4));
    for at in 0..count() {
        let mut bytes = mutator.original();
        for _ in 0..mutator.numbers.below(4) {
            mutator.change_bytes(&mut bytes);
        }
        let file = mutator.numbers.below(4);
        read(&format!("mutation {at}"), directory.path(), file, &bytes);
    }
}

/// A small gzip file that contains 85,500 blank images. Its header declares 85,600 images, which the limit for such a
/// small file allows, or more images than the limit allows.
#[test]
fn a_file_that_unpacks_to_much_stays_within_bounds() {
    let _alone = alone();
    let directory = directory();
    for images in [85_600, 110_000, 1_300_000u32] {
        let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
        for word in [0x803, images, 28, 28] {
            bomb.write_all(&word.to_be_bytes()).unwrap();
        }
        for _ in 0..85_500 {
            bomb.write_all(&[0; 784]).unwrap();
        }
        let bomb = bomb.finish().unwrap();
        assert!(!read(
            &format!("{images} images"),
            directory.path(),
            0,
            &bomb
        ));
    }
}
