#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{minibatches, range};
use crate::data::Sampling;
use crate::gpu::Gpu;
use crate::testing::{Bench, Numbers, folding_gpu, gpu};

/// A number of indices that needs seven workgroups. [`device`] folds their dispatch into two dimensions.
const FOLDED: usize = 6 * 64 + 1;

fn device(indices: usize) -> &'static Gpu {
    if indices == FOLDED {
        folding_gpu()
    } else {
        gpu()
    }
}

/// Compares the minibatches of some steps on the GPU with `Sampling::minibatch`.
fn check(sampling: &Sampling, examples: usize, batch: usize, steps: impl IntoIterator<Item = u32>) {
    sampling.check(examples, batch).unwrap();
    for step in steps {
        let case = format!("{batch} of {examples}, step {step}");
        let bench = Bench::new(device(batch));
        let step_count = bench.input_u32("step_count", [1, 1], &[step]);
        let indices = bench.output_u32("indices", [1, batch]);
        bench.run(&case, 1, |recorder| {
            minibatches(recorder, sampling, examples, &step_count, &indices).unwrap();
        });
        let mut expected = vec![0; batch];
        sampling.minibatch(examples, step, &mut expected);
        let found = bench.read_u32(&indices);
        let differs = found.iter().zip(&expected).position(|(a, b)| a != b);
        assert_eq!(
            differs, None,
            "{case}, {sampling:?}: first row that differs"
        );
        assert!(
            found.iter().all(|&index| (index as usize) < examples),
            "{case}"
        );
    }
}

/// A dispatch draws several minibatches. Each must be in the row that belongs to its step, also where the rows or the
/// step counter wrap around.
#[test]
fn minibatches_ahead_lie_where_their_steps_say() {
    for (examples, batch) in [(1000, 100), (17, 16), (5, 1)] {
        for sampling in [
            Sampling::WithReplacement { seed: 3 },
            Sampling::Shuffled { seed: 3 },
            Sampling::Listed((0..super::to_u32(3 * batch)).map(|i| i % 5).collect()),
        ] {
            for count in [1, 2, 8, 64] {
                for first in [0, 5, 8, u32::MAX - 2] {
                    let case = format!("{count} of {batch} of {examples} from step {first}");
                    let bench = Bench::new(gpu());
                    let step_count = bench.input_u32("step_count", [1, 1], &[first]);
                    let indices = bench.output_u32("indices", [count, batch]);
                    bench.run(&case, 1, |recorder| {
                        minibatches(recorder, &sampling, examples, &step_count, &indices).unwrap();
                    });
                    let found = bench.read_u32(&indices);
                    for ahead in 0..super::to_u32(count) {
                        let step = first.wrapping_add(ahead);
                        let mut expected = vec![0; batch];
                        sampling.minibatch(examples, step, &mut expected);
                        let at = step as usize % count * batch;
                        assert_eq!(found[at..][..batch], expected, "{case}: step {step}");
                    }
                }
            }
        }
    }
}

/// (examples, rows of a minibatch): around the powers of four, where the permutation changes its size, and around the
/// workgroup's size.
const SIZES: [[usize; 2]; 16] = [
    [1, 1],
    [2, 1],
    [3, 3],
    [4, 3],
    [5, 2],
    [15, 4],
    [16, 16],
    [17, 16],
    [64, 63],
    [65, 64],
    [100, 65],
    [255, 100],
    [257, 129],
    [1000, 100],
    [60_000, 100],
    [65_537, 128],
];

const SEEDS: [u64; 4] = [0, 42, 1 << 32, u64::MAX];

/// Steps of several epochs, and the last steps before the counter wraps around.
fn steps(examples: usize, batch: usize) -> Vec<u32> {
    let epoch = super::to_u32(examples / batch);
    let mut steps = vec![
        0,
        1,
        2,
        3,
        epoch - 1,
        epoch,
        epoch + 1,
        5 * epoch - 1,
        5 * epoch,
    ];
    steps.extend([600, 9_999, 1 << 31, u32::MAX - 1, u32::MAX]);
    steps
}

#[test]
fn draws_with_replacement_are_those_of_the_cpu() {
    for [examples, batch] in SIZES {
        for seed in SEEDS {
            let sampling = Sampling::WithReplacement { seed };
            check(&sampling, examples, batch, steps(examples, batch));
        }
    }
}

#[test]
fn shuffled_minibatches_are_those_of_the_cpu() {
    for [examples, batch] in SIZES {
        for seed in SEEDS {
            let sampling = Sampling::Shuffled { seed };
            check(&sampling, examples, batch, steps(examples, batch));
        }
    }
}

#[test]
fn listed_minibatches_are_those_of_the_list() {
    for [examples, batch] in SIZES {
        for length in [1, 2, 7] {
            let mut numbers = Numbers::new(length as u64);
            let list = (0..length * batch).map(|_| super::to_u32(numbers.below(examples)));
            let sampling = Sampling::Listed(list.collect());
            check(&sampling, examples, batch, (0..10).chain([u32::MAX]));
        }
    }
}

#[test]
fn a_batch_of_several_workgroups_is_folded_into_two_dimensions() {
    let rows = FOLDED;
    check(&Sampling::WithReplacement { seed: 3 }, rows + 5, rows, [1]);
    check(&Sampling::Shuffled { seed: 3 }, rows + 5, rows, [1]);
    let reversed = (0..super::to_u32(rows)).rev().collect();
    check(&Sampling::Listed(reversed), rows, rows, [1]);
    check_range(17, rows);
}

fn check_range(first: usize, rows: usize) {
    let bench = Bench::new(device(rows));
    let indices = bench.output_u32("indices", [1, rows]);
    bench.run("range", 1, |recorder| range(recorder, first, &indices));
    let expected = first..first + rows;
    assert!(
        bench
            .read_u32(&indices)
            .into_iter()
            .map(|index| index as usize)
            .eq(expected),
        "{rows} rows from {first}"
    );
}

#[test]
fn a_range_starts_where_it_is_told_to() {
    for rows in [1, 63, 64, 65, 1000] {
        for first in [0, 1, 59_999] {
            check_range(first, rows);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_minibatch_is_that_of_the_cpu(
        examples in 1usize..200_000,
        batch in 1usize..200,
        seed: u64,
        step: u32,
        shuffled: bool,
    ) {
        let sampling = if shuffled {
            Sampling::Shuffled { seed }
        } else {
            Sampling::WithReplacement { seed }
        };
        check(&sampling, examples, batch.min(examples), [step]);
    }
}
