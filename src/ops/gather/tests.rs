#![allow(clippy::unwrap_used)]

use super::{Resident, batch};
use crate::data::{Dataset, Labels};
use crate::testing::{Bench, Numbers, ULP, assert_close, gpu};

/// A data set of random bytes, with a label to each row that tells it from its neighbours.
fn dataset(examples: usize, width: usize) -> Dataset {
    let mut numbers = Numbers::new((examples * 10_007 + width) as u64);
    let features = (0..examples * width).map(|_| u8::try_from(numbers.below(256)).unwrap());
    let features = features.collect();
    let labels = (0..examples).map(|example| u32::try_from(example % 251).unwrap());
    let labels = Labels::from_classes(labels.collect(), 251).unwrap();
    Dataset::new("random bytes", width, features, labels).unwrap()
}

fn check(examples: usize, width: usize, indices: &[u32]) {
    let case = format!(
        "gather of {} out of {examples} of width {width}",
        indices.len()
    );
    let dataset = dataset(examples, width);
    let bench = Bench::new(gpu());
    // What `upload` packs, between guard bands.
    let uploaded = Resident::upload(gpu(), &dataset).unwrap();
    let guarded = |label, tensor: &crate::tensor::Tensor| {
        bench.input_u32(label, tensor.shape(), &bench.read_u32(tensor))
    };
    let resident = Resident {
        bytes: guarded("bytes", &uploaded.bytes),
        labels: guarded("labels", &uploaded.labels),
        width: uploaded.width,
    };
    let rows = indices.len();
    let chosen = bench.input_u32("indices", [1, rows], indices);
    let x = bench.output("x", [rows, width]);
    let labels = bench.output_u32("batch_labels", [1, rows]);
    let words = bench.output_u32("x_words", [rows, width.div_ceil(4)]);
    let labels_beside_words = bench.output_u32("batch_labels", [1, rows]);
    bench.run(&case, 1, |recorder| {
        batch(recorder, &resident, &chosen, &x, &labels);
        batch(recorder, &resident, &chosen, &words, &labels_beside_words);
    });

    let bytes = || {
        indices
            .iter()
            .flat_map(|&index| dataset.row(index as usize))
    };
    let expected = || bytes().map(|&byte| f64::from(byte) / 255.0);
    // `unpack4x8unorm` has 3 ULP.
    assert_close(
        &case,
        &bench.read(&x),
        expected(),
        expected().map(|x| 3.0 * ULP * x),
    );
    let expected: Vec<u32> = indices
        .iter()
        .map(|&index| dataset.labels().indices()[index as usize])
        .collect();
    assert_eq!(bench.read_u32(&labels), expected, "{case}: labels");
    let found = bench.read_u32(&labels_beside_words);
    assert_eq!(found, expected, "{case}: labels beside words");

    let rows = indices.iter().map(|&index| dataset.row(index as usize));
    let words_of = |row: &[u8]| -> Vec<u8> {
        let mut bytes = row.to_vec();
        bytes.resize(4 * width.div_ceil(4), 0);
        bytes
    };
    let expected: Vec<u8> = rows.flat_map(words_of).collect();
    let found = bench.read_u32(&words);
    let found: Vec<u8> = found.iter().flat_map(|word| word.to_le_bytes()).collect();
    assert_eq!(found, expected, "{case}: words");
}

#[test]
fn rows_of_every_width_and_number_are_those_asked_for() {
    for width in [1, 2, 3, 4, 5, 7, 8, 63, 64, 65, 255, 256, 257, 784, 785] {
        for rows in [1, 2, 15, 16, 17, 64, 65, 100] {
            let mut numbers = Numbers::new(rows as u64);
            let mut indices: Vec<u32> = (0..rows)
                .map(|_| u32::try_from(numbers.below(37)).unwrap())
                .collect();
            // The last row is the one whose padding nothing follows.
            indices[rows - 1] = 36;
            check(37, width, &indices);
        }
    }
}

#[test]
fn one_example_may_be_asked_for_again_and_again() {
    check(1, 3, &[0; 130]);
    check(5, 784, &[4, 4, 0, 4]);
}

/// More workgroups than one dispatch dimension has.
#[test]
fn a_long_batch_is_folded_into_two_dimensions() {
    let rows = 65_535 * 64 + 1;
    let indices: Vec<u32> = (0..rows).map(|row| row % 1000).collect();
    check(1000, 1, &indices);
}
