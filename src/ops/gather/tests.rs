#![allow(clippy::unwrap_used)]

use ndarray::Array2;

use super::{Resident, batch, classes};
use crate::data::{Dataset, Examples, Labels, Table};
use crate::gpu::Gpu;
use crate::testing::{Bench, Fill, Numbers, ULP, assert_close, folding_gpu, gpu};

/// A data set of random bytes. The labels of neighboring rows differ.
fn dataset(examples: usize, width: usize) -> Dataset {
    let mut numbers = Numbers::new((examples * 10_007 + width) as u64);
    let features = (0..examples * width).map(|_| u8::try_from(numbers.below(256)).unwrap());
    let features = features.collect();
    let labels = (0..examples).map(|example| u32::try_from(example % 251).unwrap());
    let labels = Labels::from_classes(labels.collect(), 251).unwrap();
    Dataset::new("random bytes", width, features, labels).unwrap()
}

/// Number of indices before those that are gathered.
const FIRST: usize = 3;

fn behind_others(indices: &[u32]) -> Vec<u32> {
    [&[0; FIRST], indices].concat()
}

fn check(gpu: &Gpu, examples: usize, width: usize, indices: &[u32]) {
    let case = format!(
        "gather of {} out of {examples} of width {width}",
        indices.len()
    );
    let dataset = dataset(examples, width);
    let bench = Bench::new(gpu);
    // `upload` packed the words. They are copied to tensors that lie between guard bands.
    let uploaded = Resident::upload(gpu, &(&dataset).into()).unwrap();
    let guarded = |label, tensor: &crate::tensor::Tensor| {
        bench.input_u32(label, tensor.dims(), &bench.read_u32(tensor))
    };
    let resident = Resident {
        features: guarded("bytes", &uploaded.features),
        targets: guarded("labels", &uploaded.targets),
        width: uploaded.width,
    };
    let rows = indices.len();
    let chosen = bench.input_u32("indices", [1, FIRST + rows], &behind_others(indices));
    let x = bench.output("x", [rows, width]);
    let labels = bench.output_u32("batch_labels", [1, rows]);
    let words = bench.output_u32("x_words", [rows, width.div_ceil(4)]);
    let labels_beside_words = bench.output_u32("batch_labels", [1, rows]);
    bench.run(&case, 1, |recorder| {
        batch(recorder, &resident, (&chosen, FIRST), &x, &labels);
        batch(
            recorder,
            &resident,
            (&chosen, FIRST),
            &words,
            &labels_beside_words,
        );
    });

    let bytes = || {
        indices
            .iter()
            .flat_map(|&index| dataset.row(index as usize))
    };
    let expected = || bytes().map(|&byte| f64::from(byte) / 255.0);
    // `unpack4x8unorm` has an error of 3 ULP.
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
            // The indices include the last example, whose padding bytes are the last bytes of the tensor.
            indices[rows - 1] = 36;
            check(gpu(), 37, width, &indices);
        }
    }
}

#[test]
fn one_example_may_be_asked_for_again_and_again() {
    check(gpu(), 1, 3, &[0; 130]);
    check(gpu(), 5, 784, &[4, 4, 0, 4]);
}

/// The dispatch needs seven workgroups of one row each.
#[test]
fn rows_are_folded_where_a_device_takes_few_workgroups() {
    check(folding_gpu(), 5, 7, &[0, 4, 1, 3, 2, 4, 0]);
}

/// Checks rows of floats, with classes and with values as targets.
fn check_floats(gpu: &Gpu, examples: usize, [width, outputs]: [usize; 2], indices: &[u32]) {
    let rows = indices.len();
    let case = format!("gather of {rows} out of {examples}, {width} floats and {outputs}");
    let mut numbers = Numbers::new((examples * 101 + width) as u64);
    let mut matrix = |columns| numbers.fill(examples * columns, Fill::Extreme);
    let features = matrix(width);
    let values = matrix(outputs);
    let classes: Vec<u32> = (0..examples)
        .map(|example| super::to_u32(example % 251))
        .collect();
    let bench = Bench::new(gpu);
    let resident = |targets| Resident {
        features: bench.input("features", [examples, width], &features),
        targets,
        width,
    };
    let with_values = resident(bench.input("values", [examples, outputs], &values));
    let with_classes = resident(bench.input_u32("classes", [1, examples], &classes));
    let chosen = bench.input_u32("indices", [1, FIRST + rows], &behind_others(indices));
    let x = [(); 2].map(|()| bench.output("x", [rows, width]));
    let batch_values = bench.output("batch values", [rows, outputs]);
    let batch_classes = bench.output_u32("batch classes", [1, rows]);
    bench.run(&case, 1, |recorder| {
        batch(
            recorder,
            &with_values,
            (&chosen, FIRST),
            &x[0],
            &batch_values,
        );
        batch(
            recorder,
            &with_classes,
            (&chosen, FIRST),
            &x[1],
            &batch_classes,
        );
    });
    let expected = |all: &[f32], columns: usize| -> Vec<u32> {
        let row = |&index: &u32| all[index as usize * columns..][..columns].to_vec();
        indices.iter().flat_map(row).map(f32::to_bits).collect()
    };
    for x in &x {
        assert_eq!(bench.read_u32(x), expected(&features, width), "{case}: x");
    }
    assert_eq!(
        bench.read_u32(&batch_values),
        expected(&values, outputs),
        "{case}"
    );
    let expected: Vec<u32> = indices
        .iter()
        .map(|&index| classes[index as usize])
        .collect();
    assert_eq!(bench.read_u32(&batch_classes), expected, "{case}");
}

#[test]
fn rows_of_floats_are_copied_bit_by_bit() {
    for (width, outputs) in [
        (1, 1),
        (2, 3),
        (63, 64),
        (64, 65),
        (65, 1),
        (784, 10),
        (997, 2),
    ] {
        for rows in [1, 2, 63, 64, 65, 100] {
            let mut numbers = Numbers::new(rows as u64);
            let examples = 77;
            let indices: Vec<u32> = (0..rows)
                .map(|_| super::to_u32(numbers.below(examples)))
                .collect();
            check_floats(gpu(), examples, [width, outputs], &indices);
        }
    }
}

/// The dispatch needs seven workgroups of one row each.
#[test]
fn rows_of_floats_are_folded_into_two_dimensions() {
    check_floats(folding_gpu(), 5, [2, 3], &[0, 4, 1, 3, 2, 4, 0]);
}

/// The dispatch needs seven workgroups of 64 labels each.
#[test]
fn classes_are_folded_into_two_dimensions() {
    const ROWS: usize = 6 * 64 + 1;
    let indices: Vec<u32> = (0u32..).map(|row| row * 3 % 5).take(ROWS).collect();
    let labels = [7u32, 1, 9, 3, 5];
    let bench = Bench::new(folding_gpu());
    let resident = Resident {
        features: bench.input_u32("features", [5, 1], &[0; 5]),
        targets: bench.input_u32("labels", [1, 5], &labels),
        width: 4,
    };
    let chosen = bench.input_u32("indices", [1, FIRST + ROWS], &behind_others(&indices));
    let found = bench.output_u32("labels_out", [1, ROWS]);
    bench.run("classes folded", 1, |recorder| {
        classes(recorder, &resident, (&chosen, FIRST), &found);
    });
    let expected: Vec<u32> = indices.iter().map(|&at| labels[at as usize]).collect();
    assert_eq!(bench.read_u32(&found), expected);
}

/// Each upload takes several writes: of rows that fill whole words, of rows that do not, of classes, and of values.
#[test]
fn what_is_uploaded_in_pieces_is_all_there() {
    const ROWS: usize = 2_200_000;
    let gpu = gpu();
    let bytes_of = |width| -> Vec<u8> {
        let bytes = (0..ROWS * width).map(|at| (at * 7 % 251usize).to_le_bytes()[0]);
        bytes.collect()
    };
    let classes: Vec<u32> = (0u32..).map(|row| row * 3 % 1_009).take(ROWS).collect();
    for width in [1, 4] {
        let bytes = bytes_of(width);
        let labels = Labels::from_classes(classes.clone(), 1_009).unwrap();
        let dataset = Dataset::new("long", width, bytes.clone(), labels).unwrap();
        let resident = Resident::upload(gpu, &Examples::from(&dataset)).unwrap();
        let words = gpu.read::<u32>(&resident.features).unwrap();
        let expected = bytes.chunks(width).map(|row| {
            let mut word = [0; 4];
            word[..width].copy_from_slice(row);
            u32::from_le_bytes(word)
        });
        assert!(words.into_iter().eq(expected), "{width} bytes a row");
        let found = gpu.read::<u32>(&resident.targets).unwrap();
        assert!(found == classes, "{width} bytes a row: classes");
    }
    let x = Array2::from_shape_fn((ROWS / 2, 3), |(row, column)| (3 * row + column) as f32);
    let y = x.mapv(|x| -x);
    let table = Table::regression("long", x.view(), y.view()).unwrap();
    let resident = Resident::upload(gpu, &Examples::from(&table)).unwrap();
    let [features, targets] =
        [&resident.features, &resident.targets].map(|tensor| gpu.read::<f32>(tensor).unwrap());
    assert!(features == table.features(), "features");
    assert!(targets.iter().eq(y.iter()), "values");
}
