#![allow(clippy::unwrap_used)]

use ndarray::{Array2, Zip};

use super::blocks::{BLOCKS, Blocks, Kernel, LEAST, MOST, ROWS, Sizes};
use super::rows::{MOST_PARTS, MOST_WEIGHTS, Nonzero, SparseBatch, SparseRows, parts};
use super::{Form, Sparse, has_blocks};
use crate::cpu::cores::with_threads;
use crate::cpu::linear::Linear;
use crate::data::{Dataset, Labels};
use crate::reference::{Backward, Float, Forward, Layer, Mode};
use crate::shape::Shape;
use crate::testing::Numbers;

const EXAMPLES: usize = 23;

/// A data set in which about one byte in four is nonzero; row 3 is all zeros, and row 5 has almost no zeros.
fn dataset(width: usize) -> Dataset {
    let mut numbers = Numbers::new(width as u64);
    let byte = |at: usize| match (at / width, numbers.below(4)) {
        (3, _) => 0,
        (5, _) | (_, 0) => numbers.bits().to_le_bytes()[0],
        _ => 0,
    };
    let features = (0..EXAMPLES * width).map(byte).collect();
    let labels = Labels::from_classes(vec![0; EXAMPLES], 1).unwrap();
    Dataset::new("sparse", width, features, labels).unwrap()
}

fn matrix<F: Float>(numbers: &mut Numbers, rows: usize, columns: usize) -> Array2<F> {
    Array2::from_shape_fn((rows, columns), |_| F::from_f64(numbers.uniform().into()))
}

/// Compares two sums of the same `terms` products in different orders. `absolute` is the sum of the products' absolute
/// values. The bound also covers the rounding of pixels and products.
fn assert_close<F: Float>(
    found: &Array2<F>,
    expected: &Array2<F>,
    absolute: &Array2<F>,
    terms: usize,
    case: &str,
) {
    let rounding = F::epsilon().into_f64() / 2.0;
    let relative = 2.0 * 8.0 * (terms as f64).sqrt() * rounding;
    Zip::from(found)
        .and(expected)
        .and(absolute)
        .for_each(|found, expected, absolute| {
            let apart = (found.into_f64() - expected.into_f64()).abs();
            let allowed = relative * absolute.into_f64();
            assert!(
                apart <= allowed,
                "{case}: {found} is not {expected} ± {allowed:e}"
            );
        });
}

/// `byte / 255` for every byte.
fn unit<F: Float>() -> [F; 256] {
    std::array::from_fn(|byte| F::from_f64(byte as f64 / 255.0))
}

fn check<F: Float>(inputs: usize, outputs: usize, examples: &[u32]) {
    let rows = examples.len();
    let dataset = dataset(inputs);
    let mut numbers = Numbers::new(7);
    let parameters = [
        matrix(&mut numbers, inputs, outputs),
        matrix(&mut numbers, 1, outputs),
    ];
    let dy = matrix(&mut numbers, rows, outputs);
    let unit = unit::<F>();
    let pixel = |(row, column)| unit[usize::from(dataset.row(examples[row] as usize)[column])];
    let x = Array2::from_shape_fn((rows, inputs), pixel);

    let of_rows = [1, 2, MOST_PARTS].map(|parts| {
        let mut nonzero = Nonzero::of(&dataset, outputs).unwrap();
        nonzero.parts = parts;
        let batch = SparseBatch::new(outputs, &nonzero);
        let form = Sparse::Rows(SparseRows::new(&dataset, &nonzero), batch);
        (format!("rows, {parts} parts"), form)
    });
    let of_blocks = Kernel::of_processor().map(|kernel| {
        let sizes = Sizes {
            examples: EXAMPLES,
            kernel,
            inputs,
            outputs,
        };
        let form = Sparse::Blocks(Blocks::new(&sizes, rows.max(8)));
        (format!("blocks, {kernel:?}"), form)
    });
    for (form, mut sparse) in of_rows.into_iter().chain(of_blocks) {
        let case = format!("{form}: {rows} rows, {inputs} inputs, {outputs} outputs");
        // Gather another minibatch first, to show that nothing of it remains.
        for examples in [&[5, 5, 5, 5, 5, 5, 5, 5][..], examples] {
            sparse.gather(&dataset, examples, &unit);
        }
        for parameters in [&parameters[..], &parameters[..1]] {
            check_passes(&mut sparse, &x, parameters, &dy, &case);
        }
    }
}

/// Checks both passes; without a second parameter, there is no bias.
fn check_passes<F: Float>(
    sparse: &mut Sparse<F>,
    x: &Array2<F>,
    parameters: &[Array2<F>],
    dy: &Array2<F>,
    case: &str,
) {
    let (rows, inputs) = x.dim();
    let nan = |shape: (usize, usize)| Array2::from_elem(shape, F::nan());
    let input = || (x.view(), Shape::from(inputs));
    let forward = |parameters: &[Array2<F>]| {
        let mut y = nan(dy.dim());
        let pass = Forward::new(input(), parameters, y.view_mut(), Mode::Evaluation);
        Layer::forward(&Linear, pass);
        y
    };
    let absolute: Vec<_> = parameters.iter().map(|p| p.mapv(F::abs)).collect();
    let expected = forward(parameters);
    let absolute = forward(&absolute);
    let mut by_columns = parameters.to_vec();
    by_columns[0] = parameters[0]
        .t()
        .as_standard_layout()
        .into_owned()
        .reversed_axes();
    for parameters in [&by_columns, parameters] {
        let mut found = nan(dy.dim());
        Linear::sparse_forward(sparse, parameters, found.view_mut(), false);
        assert_close(&found, &expected, &absolute, inputs + 1, case);
        let mut rectified = nan(dy.dim());
        Linear::sparse_forward(sparse, parameters, rectified.view_mut(), true);
        assert_eq!(rectified, found.mapv(|y| y.max(F::zero())), "{case}: relu");
    }

    let unwritten = || {
        parameters
            .iter()
            .map(|parameter| nan(parameter.dim()))
            .collect::<Vec<_>>()
    };
    let backward = |dy: &Array2<F>| {
        let mut gradients = unwritten();
        let pass = Backward::new(input(), [dy.view(), dy.view()], None, Mode::Evaluation);
        Layer::backward(&Linear, pass.with_parameters(parameters, &mut gradients));
        gradients
    };
    let expected = backward(dy);
    let absolute = backward(&dy.mapv(F::abs));
    let mut found = unwritten();
    Linear::sparse_backward(sparse, dy.view(), &mut found);
    for (found, (expected, absolute)) in found.iter().zip(expected.iter().zip(&absolute)) {
        assert_close(found, expected, absolute, rows, case);
    }
}

#[test]
fn what_is_zero_is_left_out_and_nothing_else() {
    for inputs in [1, 2, 7, 784] {
        for outputs in [
            1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 50, 63, 64, 65, 100, 129,
        ] {
            // Cases: fewer rows than parts, parts of equal size, a smaller last part.
            for examples in [&[5][..], &[0, 5], &[4, 3, 5, 0, 22, 5, 1]] {
                check::<f32>(inputs, outputs, examples);
                check::<f64>(inputs, outputs, examples);
            }
        }
    }
}

#[test]
fn parts_are_as_many_as_threads_share() {
    assert_eq!([0, 1, 2, 3, 4, 5, 16].map(parts), [1, 1, 2, 2, 4, 8, 8]);
}

#[test]
fn dense_data_and_large_layers_are_for_matrix_products() {
    let labels = Labels::from_classes(vec![0, 0], 1).unwrap();
    let with = |bytes: Vec<u8>| Dataset::new("two", 2, bytes, labels.clone()).unwrap();
    assert!(Nonzero::of(&with(vec![0, 1, 0, 1]), 10).is_some());
    assert!(Nonzero::of(&with(vec![0, 1, 1, 1]), 10).is_none());
    assert!(Nonzero::of(&with(vec![0, 1, 0, 1]), MOST_WEIGHTS).is_none());
}

/// The minibatch has more rows and more features than one piece of work for a core. The layer has more outputs than one
/// panel (a few columns of the weights).
#[test]
fn blocks_are_shared_out_whole() {
    let examples: Vec<u32> = (0..23).cycle().take(BLOCKS * ROWS + 1).collect();
    // There are enough outputs for threads to share the work.
    for threads in [1, 3] {
        with_threads(threads, || {
            check::<f32>(BLOCKS * ROWS + 7, 450, &examples);
            check::<f64>(BLOCKS * ROWS + 7, 450, &examples);
        });
    }
}

/// Blocks are used only if neighboring rows and neighboring features have many zeros in common. The total number of
/// zeros does not decide.
#[test]
fn blocks_are_for_rows_that_are_zero_in_the_same_places() {
    const INPUTS: usize = 1024;
    const COUNT: usize = 600;
    let of_width = |inputs: usize, byte: fn([usize; 2], usize) -> bool| {
        let mut numbers = Numbers::new(1);
        let byte = |at| byte([at / inputs, at % inputs], numbers.below(2));
        let bytes = (0..COUNT * inputs).map(byte).map(u8::from).collect();
        let labels = Labels::from_classes(vec![0; COUNT], 1).unwrap();
        Dataset::new("blocks", inputs, bytes, labels).unwrap()
    };
    let with = |byte| of_width(INPUTS, byte);
    let is_in_blocks = |dataset: &Dataset, batch| {
        let form = Form::of::<f32>(dataset, batch, 1024);
        matches!(form, Some(Form::Blocks(_)))
    };
    let has_kernel = has_blocks();
    if !has_kernel {
        println!("skipped in part: no kernel for this processor's instructions");
    }
    let half = with(|[_, column], _| column < INPUTS / 2);
    assert_eq!(is_in_blocks(&half, LEAST), has_kernel);
    assert_eq!(is_in_blocks(&half, MOST), has_kernel);
    assert!(!is_in_blocks(&half, LEAST - 1));
    assert!(!is_in_blocks(&half, MOST + 1));
    let wide = of_width(MOST + 1, |[_, column], _| column < INPUTS / 2);
    assert!(!is_in_blocks(&wide, LEAST));
    assert!(!is_in_blocks(&with(|_, bit| bit == 0), LEAST));
    assert!(!is_in_blocks(&with(|_, _| true), LEAST));
    // The rows of a class are adjacent in the data set, but not in a minibatch.
    let sorted = with(|[row, column], _| (row / 100 + column / ROWS) % 3 < 2);
    assert!(!is_in_blocks(&sorted, LEAST));
    // Rows have few zeros in common, and neighboring features have none.
    assert!(!is_in_blocks(&with(|[_, column], _| column % 3 < 2), LEAST));
}
