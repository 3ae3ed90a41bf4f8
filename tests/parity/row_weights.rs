use wgrad::plumbing::values::weigh;

use crate::gpu::{Bench, FOLDED, Fill, Numbers, ROUNDING, assert_close, folding_gpu, gpu};

/// Shapes (rows, columns) with about 1,024 elements, as many as one workgroup computes. The last shape is for the
/// device that folds dispatches into two dimensions.
const SHAPES: [[usize; 2]; 7] = [
    [1, 1],
    [1, 1025],
    [1023, 1],
    [3, 341],
    [7, 147],
    [64, 10],
    [FOLDED, 1],
];

/// Each result is the product of a loss or gradient and the weight of its row, rounded once.
#[test]
fn losses_and_gradients_of_rows_are_weighed() {
    for [rows, columns] in SHAPES {
        for fill in [Fill::Integers, Fill::Moderate] {
            let case = format!("weigh {rows}×{columns}, {fill:?}");
            let mut numbers = Numbers::new((rows * 7 + columns) as u64);
            let weights = numbers.fill(rows, fill);
            let losses = numbers.fill(rows, fill);
            let dy = numbers.fill(rows * columns, fill);
            let bench = Bench::new(if rows == FOLDED { folding_gpu() } else { gpu() });
            let by = bench.input("weights", [1, rows], &weights);
            let of_rows = bench.changed("losses", [1, rows], &losses);
            let gradient = bench.changed("dy", [rows, columns], &dy);
            bench.run(&case, 1, |recorder| {
                weigh(recorder, &by, &of_rows, &gradient);
            });
            let product = |at: usize, value: f32| f64::from(weights[at]) * f64::from(value);
            let expected: Vec<f64> = (0..rows).map(|row| product(row, losses[row])).collect();
            let tolerance = expected.iter().map(|value| ROUNDING * value.abs());
            let tolerance: Vec<f64> = tolerance.collect();
            assert_close(&case, &bench.read(&of_rows), expected, tolerance);
            let all = dy.iter().enumerate();
            let expected: Vec<f64> = all.map(|(at, &dy)| product(at / columns, dy)).collect();
            let tolerance = expected.iter().map(|value| ROUNDING * value.abs());
            let tolerance: Vec<f64> = tolerance.collect();
            assert_close(&case, &bench.read(&gradient), expected, tolerance);
        }
    }
}
