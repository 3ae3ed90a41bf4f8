use wgrad::ops::{Embedding, Layer};

use crate::gpu::{Numbers, assert_close, dispatching, folding_gpu, gpu, sum_error};
use crate::passes::Operands;

fn index(count: usize) -> impl Fn(&mut Numbers) -> f32 {
    move |numbers| numbers.below(count) as f32
}

/// Checks both passes. Lookups must be exact. The gradient with respect to a row of the table is a sum over the
/// indices.
fn check(gpu: &wgrad::Gpu, [count, width]: [usize; 2], minibatch: [usize; 2]) {
    let layer = &Embedding::new(count, width);
    let case = format!("{}, {minibatch:?}", layer.name());
    let operands = Operands::new(layer, minibatch, index(count));
    let found = operands.on_gpu(&case, gpu, layer, true);
    let expected = operands.by_reference(layer, true);
    let mut sums = vec![(0, 0.0); count * width];
    for (&index, dy) in operands.x.iter().zip(operands.dy.exact_chunks([1, width])) {
        for (column, dy) in dy.iter().enumerate() {
            #[expect(clippy::cast_possible_truncation, reason = "it is an index")]
            let (terms, sum) = &mut sums[index as usize * width + column];
            *terms += 1;
            *sum += f64::from(dy.abs());
        }
    }
    assert_eq!(found.len(), 3, "{case}");
    for ((name, found), expected) in found.iter().zip(&expected) {
        let exact = vec![0.0; found.len()];
        let of_sums = sums.iter().map(|&(terms, sum)| sum_error(terms, sum));
        let bounds = match *name {
            "weight" => of_sums.collect(),
            _ => exact,
        };
        let case = format!("{case}, {name}");
        assert_close(&case, found, expected.iter().copied(), bounds);
    }
}

/// Sizes around the 64 columns that a workgroup computes, and around the numbers of indices that are tested at a time:
/// 32 by an invocation, 2,048 by a workgroup.
#[test]
fn embedding_is_its_formula() {
    for table in [[1, 1], [2, 3], [27, 10], [5, 64], [3, 65], [300, 7]] {
        for minibatch in [[1, 1], [3, 7], [31, 1], [4, 8], [33, 1]] {
            check(gpu(), table, minibatch);
        }
    }
    for minibatch in [[2047, 1], [256, 8], [683, 3], [4096, 1]] {
        check(gpu(), [27, 10], minibatch);
    }
    check(folding_gpu(), [5, 129], [57, 1]);
}

/// All indices are equal, so the sums are as long as possible. They take several dispatches.
#[test]
fn embedding_sums_many_gradients_of_one_row() {
    check(gpu(), [1, 2], [33_000, 1]);
    check(gpu(), [2, 2], [33_000, 2]);
}

#[test]
fn embedding_of_a_large_table_comes_apart() {
    check(&dispatching(3_000), [300, 7], [4, 8]);
}

/// A number that is not an index gives NaN, even at the limits of floats, and its gradient is dropped.
#[test]
fn embedding_of_what_is_no_index_is_nan() {
    const NONE: [f32; 12] = [
        3.0,
        -1.0,
        0.5,
        2.000_000_2,
        16_777_216.0,
        4_294_967_296.0,
        1e30,
        -1e30,
        f32::MIN_POSITIVE,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
    ];
    let layer = &Embedding::new(3, 2);
    let mut operands = Operands::new(layer, [NONE.len() + 1, 2], index(3));
    for (row, &none) in NONE.iter().enumerate() {
        operands.x[[row, 0]] = none;
    }
    // −0 counts as index 0.
    operands.x[[NONE.len(), 0]] = -0.0;
    let found = operands.on_gpu("no index", gpu(), layer, true);
    let expected = operands.by_reference(layer, true);
    for (at, (found, expected)) in found[0].1.iter().zip(&expected[0]).enumerate() {
        let row = at / 4;
        let is_first = at % 4 < 2;
        assert_eq!(
            found.is_nan(),
            row < NONE.len() && is_first,
            "{at}: {found}"
        );
        assert_eq!(found.is_nan(), expected.is_nan(), "{at}: {expected}");
    }
    let bounds = expected[2].iter().map(|_| 1e-5);
    assert_close("dweight", &found[2].1, expected[2].iter().copied(), bounds);
}
