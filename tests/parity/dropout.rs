use wgrad::ndarray::Array2;
use wgrad::ops::{Backward, Draw, Dropout, Forward, Layer, Mode};
use wgrad::reference::{self, Float};

use crate::gpu::{self, Bench, FLUSHED, Fill, Numbers, ROUNDING, assert_close, folding_gpu, gpu};

/// Around the 256 invocations and the 1,024 elements of a workgroup.
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

/// Run where it folds a dispatch into two dimensions.
const FOLDED: [usize; 2] = [1, gpu::FOLDED];

const KEY: [u32; 2] = [0x1234_5678, 0x9abc_def0];

/// What is run: the key and the step of a training, or none.
type At = Option<([u32; 2], u32)>;

fn check(dropout: Dropout, shape: [usize; 2], at: At, fill: Fill) {
    let case = format!("{} {shape:?} {at:?}", dropout.name());
    let [rows, columns] = shape;
    let mut numbers = Numbers::new(11);
    let x = numbers.fill(rows * columns, fill);
    let unread = vec![f32::NAN; x.len()];
    let bench = Bench::new(if shape == FOLDED {
        folding_gpu()
    } else {
        gpu()
    });
    let [x_in, dy] = ["x", "dy"].map(|label| bench.input(label, shape, &x));
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
    let (twin, unread) = (
        dropout.reference(),
        Array2::from_elem(x.raw_dim(), f64::NAN),
    );
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
    for (found, expected) in [&y, &dx].into_iter().zip(expected) {
        // The scale and the product are rounded.
        let tolerance = expected.iter().map(|value| match at {
            Some(_) => 2.0 * ROUNDING * value.abs() + FLUSHED,
            None => 0.0,
        });
        let case = format!("{case}: {}", found.label());
        let values = expected.iter().copied();
        assert_close(&case, &bench.read(found), values, tolerance);
    }
}

#[test]
fn dropout_drops_what_the_reference_drops() {
    for shape in SHAPES {
        for p in [0.0, 0.1, 0.5, 1.0 - f32::EPSILON / 2.0] {
            for fill in Fill::ALL {
                // Scaled by 2²⁴, the extreme would overflow.
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

#[test]
fn outside_of_training_dropout_is_the_identity() {
    for shape in SHAPES {
        check(Dropout::new(0.5), shape, None, Fill::Extreme);
    }
    check(Dropout::new(0.5), FOLDED, None, Fill::Moderate);
}
