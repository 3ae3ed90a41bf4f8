//! Helpers for the tests of losses whose targets are values.

use wgrad::ops::{Loss, LossPass};

use crate::gpu::{Bench, folding_gpu, gpu};

/// A shape with seven workgroups of 64 rows, for the device that folds dispatches into two dimensions.
const FOLDED: [usize; 2] = [6 * 64 + 1, 2];

pub(crate) const SHAPES: [[usize; 2]; 13] = [
    [1, 1],
    [1, 2],
    [2, 1],
    [63, 1],
    [64, 3],
    [65, 1],
    [127, 2],
    [128, 1],
    [129, 7],
    [100, 10],
    [3, 997],
    [1_037, 3],
    FOLDED,
];

/// Computes the losses of the rows, and the gradient, on the GPU.
pub(crate) fn run(loss: &dyn Loss, shape: [usize; 2], [y, t]: [&[f32]; 2]) -> [Vec<f32>; 2] {
    let bench = Bench::new(if shape == FOLDED {
        folding_gpu()
    } else {
        gpu()
    });
    let outputs = bench.input("outputs", shape, y);
    let targets = bench.input("targets", shape, t);
    let losses = bench.output("losses", [1, shape[0]]);
    let doutputs = bench.output("doutputs", shape);
    bench.run(&format!("{} {shape:?}", loss.describe()), 1, |recorder| {
        let pass = LossPass::new([&outputs, &targets], [&losses, &doutputs]);
        loss.forward_backward(recorder, pass).unwrap();
    });
    [bench.read(&losses), bench.read(&doutputs)]
}
