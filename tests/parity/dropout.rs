use wgrad::ndarray::Array2;
use wgrad::ops::{Backward, Draw, Dropout, Forward, Layer, Mode};
use wgrad::random::threefry;
use wgrad::reference::{self, Float};

use crate::gpu::{self, Bench, FLUSHED, Fill, Numbers, ROUNDING, assert_close, folding_gpu, gpu};

/// Shapes with about 256 elements (the invocations of a workgroup) and about 1,024 elements (as many as one workgroup
/// computes).
const SHAPES: [[usize; 2]; 9] = [
    [1, 1],
    [3, 7],
    [1, 255],
    [256, 1],
    [1, 257],
    [3, 341],
    [32, 32],
    [1, 1025],
    [100, 50],
];

/// A shape for the device that folds dispatches into two dimensions.
const FOLDED: [usize; 2] = [1, gpu::FOLDED];

const KEY: [u32; 2] = [0x1234_5678, 0x9abc_def0];

/// The random key and the step of a training. `None` for an evaluation.
type At = Option<([u32; 2], u32)>;

fn check(dropout: Dropout, shape: [usize; 2], at: At, fill: Fill) {
    let [rows, columns] = shape;
    let x = Numbers::new(11).fill(rows * columns, fill);
    outputs(dropout, shape, at, &x);
}

/// Runs both passes on the GPU and by the reference, and compares them. Returns `y` of both.
fn outputs(dropout: Dropout, shape: [usize; 2], at: At, x: &[f32]) -> (Vec<f32>, Array2<f64>) {
    let case = format!("{} {shape:?} {at:?}", dropout.name());
    let [rows, columns] = shape;
    let unread = vec![f32::NAN; x.len()];
    let bench = Bench::new(if shape == FOLDED {
        folding_gpu()
    } else {
        gpu()
    });
    let [x_in, dy] = ["x", "dy"].map(|label| bench.input(label, shape, x));
    let [x_unread, y_unread] = ["x unread", "y unread"].map(|l| bench.input(l, shape, &unread));
    let [y, dx] = ["y", "dx"].map(|label| bench.output(label, shape));
    let step_count = bench.input_u32("step_count", [1, 1], &[at.map_or(0, |(_, step)| step)]);
    let training = |(key, _)| Mode::Training(Draw::new(key, &step_count));
    let mode = at.map_or(Mode::Evaluation, training);
    bench.run(&case, 1, |recorder| {
        let forward = Forward::new(&x_in, &[], &y, mode);
        dropout.forward(recorder, forward).unwrap();
        let backward = Backward::new([&x_unread, &y_unread, &dy], Some(&dx), mode);
        dropout.backward(recorder, backward).unwrap();
    });

    let x = Array2::from_shape_fn((rows, columns), |(r, c)| f64::from(x[r * columns + c]));
    let training = |(key, step)| reference::Mode::Training(reference::Draw::new(key, step));
    let mode = at.map_or(reference::Mode::Evaluation, training);
    let twin = dropout.reference();
    let unread = Array2::from_elem(x.raw_dim(), f64::NAN);
    let twin = f64::of(&twin);
    let mut expected = [unread.clone(), unread.clone()];
    let [y_expected, dx_expected] = expected.each_mut().map(|values| values.view_mut());
    let input = columns.into();
    twin.forward(reference::Forward::new(
        (x.view(), input),
        &[],
        y_expected,
        mode,
    ));
    twin.backward(reference::Backward::new(
        (unread.view(), input),
        [unread.view(), x.view()],
        Some(dx_expected),
        mode,
    ));
    for (found, expected) in [&y, &dx].into_iter().zip(&expected) {
        // The scale is rounded, and so is its product with x.
        let tolerance = expected.iter().map(|value| match at {
            Some(_) => 2.0 * ROUNDING * value.abs() + FLUSHED,
            None => 0.0,
        });
        let case = format!("{case}: {}", found.label());
        let values = expected.iter().copied();
        assert_close(&case, &bench.read(found), values, tolerance);
    }
    let [expected, _] = expected;
    (bench.read(&y), expected)
}

#[test]
fn dropout_drops_what_the_reference_drops() {
    for shape in SHAPES {
        for p in [0.0, 0.1, 0.5, 1.0 - f32::EPSILON / 2.0] {
            for fill in Fill::ALL {
                // With a scale of 2²⁴, extreme values would overflow.
                if p <= 0.5 || fill != Fill::Extreme {
                    for step in [0, 1, u32::MAX] {
                        check(Dropout::new(p), shape, Some((KEY, step)), fill);
                    }
                }
            }
        }
    }
    check(Dropout::new(0.25), FOLDED, Some((KEY, 3)), Fill::Moderate);
}

/// An element is dropped if its random word is below the threshold. If the word equals the threshold, the element is
/// kept.
#[test]
fn dropout_drops_what_is_below_its_threshold_and_no_more() {
    const COLUMNS: u32 = 1025;
    let step = 1;
    // `p` has only 24 bits, so the test takes the first element whose random word can be represented as `p`.
    let words = (0..COLUMNS).map(|element| threefry(KEY, [step, element])[0]);
    let is_threshold = |&(_, word): &(usize, u32)| word % 256 == 0;
    let (element, word) = (0..).zip(words).find(is_threshold).unwrap();
    let p = word as f32 / 2f32.powi(32);
    assert_eq!(f64::from(p) * 2f64.powi(32), f64::from(word));
    let ones = [1.0; COLUMNS as usize];
    let (found, expected) = outputs(Dropout::new(p), [1, ones.len()], Some((KEY, step)), &ones);
    // A kept element is scaled to more than 1. A dropped element is 0.
    assert!(found[element] > 1.0, "{}", found[element]);
    assert!(expected[[0, element]] > 1.0, "{}", expected[[0, element]]);
}

#[test]
fn outside_of_training_dropout_is_the_identity() {
    for shape in SHAPES {
        check(Dropout::new(0.5), shape, None, Fill::Extreme);
    }
    check(Dropout::new(0.5), FOLDED, None, Fill::Moderate);
}
