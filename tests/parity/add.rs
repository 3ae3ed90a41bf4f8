use wgrad::plumbing::values::{accumulate, add, copy, scale};

use crate::gpu::{Bench, FLUSHED, FOLDED, Fill, Numbers, ROUNDING, assert_close, folding_gpu, gpu};

/// Sizes around 256 (the invocations of a workgroup) and 1,024 (the elements that a workgroup takes). The last size is
/// for the device that folds dispatches into two dimensions.
const SIZES: [usize; 10] = [1, 2, 255, 256, 257, 997, 1023, 1024, 1025, FOLDED];

const THIRD: f32 = 1.0 / 3.0;

/// The results have the error of one rounded addition, of one rounded product, or no error.
#[test]
fn sums_and_copies_are_their_formulas() {
    for size in SIZES {
        for fill in Fill::ALL {
            let case = format!("add of {size}, {fill:?}");
            let mut numbers = Numbers::new(size as u64);
            let [a, b] = [(); 2].map(|()| numbers.fill(size, fill));
            let bench = Bench::new(if size == FOLDED { folding_gpu() } else { gpu() });
            let [a_in, b_in] =
                [("a", &a), ("b", &b)].map(|(label, values)| bench.input(label, [1, size], values));
            let y = bench.output("y", [1, size]);
            let copied = bench.output("copied", [1, size]);
            let total = bench.changed("total", [1, size], &a);
            let third = bench.changed("third", [1, size], &a);
            bench.run(&case, 1, |recorder| {
                add(recorder, [&a_in, &b_in], &y);
                copy(recorder, &b_in, &copied);
                accumulate(recorder, &b_in, &total);
                scale(recorder, &third, THIRD);
            });
            for found in [&y, &total] {
                let sums = a.iter().zip(&b).map(|(&a, &b)| f64::from(a) + f64::from(b));
                let tolerance = sums.clone().map(|sum| ROUNDING * sum.abs() + FLUSHED);
                let case = format!("{case}: {}", found.label());
                assert_close(&case, &bench.read(found), sums, tolerance);
            }
            let thirds = a.iter().map(|&a| f64::from(THIRD) * f64::from(a));
            let tolerance = thirds.clone().map(|third| ROUNDING * third.abs() + FLUSHED);
            assert_close(&case, &bench.read(&third), thirds, tolerance);
            let bits =
                |values: &[f32]| -> Vec<u32> { values.iter().map(|x| x.to_bits()).collect() };
            assert_eq!(bits(&bench.read(&copied)), bits(&b), "{case}: copied");
        }
    }
}

/// A value may be added to itself.
#[test]
fn both_operands_may_be_one_tensor() {
    let bench = Bench::new(gpu());
    let a = bench.input("a", [2, 2], &[1.0, -2.0, 0.5, 0.0]);
    let y = bench.output("y", [2, 2]);
    bench.run("twice", 1, |recorder| add(recorder, [&a, &a], &y));
    assert_eq!(bench.read(&y), [2.0, -4.0, 1.0, 0.0]);
}
