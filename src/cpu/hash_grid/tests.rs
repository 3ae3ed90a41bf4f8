#![allow(clippy::unwrap_used)]

use ndarray::Array2;

use super::HashGrid;
use crate::cpu::cores::with_threads;
use crate::ops;
use crate::ops::Layer as _;
use crate::reference::{Backward, Float, Forward, Layer, Mode};
use crate::shape::Shape;

/// Returns pseudorandom values in a range, the same on every machine.
fn spread(dims: [usize; 2], seed: usize, range: [f64; 2]) -> Array2<f32> {
    Array2::from_shape_fn(dims, |(row, column)| {
        let word = (row * dims[1] + column + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let share = word as f64 / (1u64 << 24) as f64;
        f32::from_f64(range[0] + share * (range[1] - range[0]))
    })
}

/// Returns `y`, `dx` and `dtable` of a forward and a backward pass.
fn passes<F: Float>(layer: &dyn Layer<F>, [x, dy, table]: [&Array2<f32>; 3]) -> [Array2<F>; 3] {
    let [x, dy, table] = [x, dy, table].map(|of| of.mapv(|of| F::from_f64(of.into())));
    let unwritten = |like: &Array2<F>| Array2::from_elem(like.raw_dim(), F::nan());
    let mut y = unwritten(&dy);
    let mut dx = unwritten(&x);
    let dtable = unwritten(&table);
    let parameters = [table];
    let mut gradients = [dtable];
    let input = (x.view(), Shape::from(x.ncols()));
    layer.forward(Forward::new(
        input,
        &parameters,
        y.view_mut(),
        Mode::Evaluation,
    ));
    let outputs = [y.view(), dy.view()];
    let pass = Backward::new(input, outputs, Some(dx.view_mut()), Mode::Evaluation);
    layer.backward(pass.with_parameters(&parameters, &mut gradients));
    let [dtable] = gradients;
    [y, dx, dtable]
}

fn grid(features: usize) -> ops::HashGrid {
    let grid = ops::HashGrid::new().levels(6).features_per_level(features);
    grid.table_size(1 << 7).base_resolution(4).growth(1.7)
}

/// The tolerances cover the rounding in `f32`: 2⁻²⁰ of the largest value. For `dx`, this error is multiplied by the
/// number of cells per axis.
#[test]
fn it_is_its_definition() {
    for dimensions in [2, 3] {
        for features in [1, 2, 4, 8] {
            let layer = grid(features);
            let rows = 300;
            let spec = layer.spec(&dimensions.into()).unwrap();
            let mut x = spread([rows, dimensions], 1, [-0.25, 1.25]);
            x[[7, 1]] = f32::NAN;
            (x[[8, 0]], x[[9, 0]], x[[10, 1]]) = (0.0, 1.0, f32::INFINITY);
            let dy = spread([rows, spec.output.len()], 2, [-1.0, 1.0]);
            let table = spread(spec.parameters[0].tensor_shape().dims(), 3, [-1.0, 1.0]);
            let fast = HashGrid::of(&layer, dimensions).unwrap();
            let found = passes::<f32>(&fast, [&x, &dy, &table]);
            let exact = passes::<f64>(&fast, [&x, &dy, &table]);
            let twin = layer.reference();
            let expected = passes::<f64>(f64::of(&twin), [&x, &dy, &table]);
            for (at, tolerance) in [1e-5, 3e-3, 1e-4].into_iter().enumerate() {
                for (found, expected) in found[at].iter().zip(&expected[at]) {
                    let is_close = (f64::from(*found) - expected).abs() < tolerance;
                    let are_nan = found.is_nan() && expected.is_nan();
                    assert!(
                        is_close || are_nan,
                        "{dimensions}, {features}, {at}: {found} {expected}"
                    );
                }
                let bits = |of: &Array2<f64>| of.mapv(f64::to_bits);
                assert!(bits(&exact[at]) == bits(&expected[at]), "{at}");
            }
            assert_eq!(
                found[0].iter().filter(|y| y.is_nan()).count(),
                spec.output.len()
            );
            assert_eq!(found[1].iter().filter(|dx| dx.is_nan()).count(), dimensions);
        }
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let layer = grid(2);
    let spec = layer.spec(&3.into()).unwrap();
    let x = spread([2000, 3], 1, [0.0, 1.0]);
    let dy = spread([2000, spec.output.len()], 2, [-1.0, 1.0]);
    let table = spread(spec.parameters[0].tensor_shape().dims(), 3, [-1.0, 1.0]);
    let fast = HashGrid::of(&layer, 3).unwrap();
    let run = |threads| {
        let all = with_threads(threads, || passes::<f32>(&fast, [&x, &dy, &table]));
        all.map(|values| values.mapv(f32::to_bits))
    };
    let expected = run(1);
    for threads in [2, 3, 8] {
        assert!(run(threads) == expected, "{threads} threads");
    }
}

/// Measures the time of passes: `cargo test --release hash_grid -- --ignored --nocapture`.
#[test]
#[ignore = "it measures"]
fn time_of_a_pass() {
    for (dimensions, rows) in [(2, 1 << 16), (3, 1 << 16)] {
        let layer = ops::HashGrid::new();
        let spec = layer.spec(&dimensions.into()).unwrap();
        let x = spread([rows, dimensions], 1, [0.0, 1.0]);
        let dy = spread([rows, spec.output.len()], 2, [-1.0, 1.0]);
        let parameters = [spread(
            spec.parameters[0].tensor_shape().dims(),
            3,
            [-1.0, 1.0],
        )];
        let fast = HashGrid::of(&layer, dimensions).unwrap();
        let mut y = dy.clone();
        let mut dx = x.clone();
        let mut gradients = parameters.clone();
        let input = (x.view(), Shape::from(dimensions));
        let mut best = [f64::INFINITY; 3];
        for _ in 0..10 {
            let start = std::time::Instant::now();
            let pass = Forward::new(input, &parameters, y.view_mut(), Mode::Evaluation);
            Layer::<f32>::forward(&fast, pass);
            let forward = start.elapsed().as_secs_f64();
            let mut back = |dx| {
                let start = std::time::Instant::now();
                let outputs = [y.view(), dy.view()];
                let pass = Backward::new(input, outputs, dx, Mode::Evaluation);
                let pass = pass.with_parameters(&parameters, &mut gradients);
                Layer::<f32>::backward(&fast, pass);
                start.elapsed().as_secs_f64()
            };
            let times = [forward, back(None), back(Some(dx.view_mut()))];
            best = std::array::from_fn(|at| best[at].min(times[at]));
        }
        let [forward, table, all] = best.map(|seconds| seconds * 1e3);
        println!(
            "{dimensions}D, {rows} rows: forward {forward:.1} ms, table {table:.1}, table and x {all:.1}"
        );
    }
}
