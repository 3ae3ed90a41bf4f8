use wgrad::TensorShape;
use wgrad::ndarray::Array2;
use wgrad::ops::{BatchNorm, Layer};

use crate::gpu::{self, FLUSHED, Numbers, ROUNDING, assert_close, folding_gpu, gpu};
use crate::norm_bounds::{self, Rounding};
use crate::passes::Operands;

const SINGLE: Rounding = Rounding {
    unit: ROUNDING,
    tiny: FLUSHED,
};

/// Returns shapes of minibatches. A kernel splits the values of a channel into at most 64 pieces. A workgroup sums one
/// piece of up to 16 channels. Among the shapes are: numbers of features around 16, numbers of values around the size
/// of a piece, images with fewer and with more than 16 positions, and pieces that end inside a row. In the last shape,
/// a channel has so many values that each invocation must sum more than the usual 16 values.
fn shapes() -> Vec<TensorShape> {
    vec![
        (2, 1).into(),
        (3, 7).into(),
        (5, 16).into(),
        (17, 17).into(),
        (255, 2).into(),
        (4097, 1).into(),
        (300, 33).into(),
        (2, [3, 1]).into(),
        (3, [5, 15]).into(),
        (3, [5, 16]).into(),
        (7, [3, 5, 3]).into(),
        (9, [2, 31, 33]).into(),
        (100, [20, 2, 2]).into(),
        (1, [2, 300]).into(),
        (1, [1, 512, 513]).into(),
    ]
}

/// Checks a training step, an evaluation, and an evaluation after the training step. The numbers in `x` are around
/// `center`.
fn check(layer: BatchNorm, [eps, momentum]: [f32; 2], minibatch: TensorShape, center: f32) {
    let case = format!("{}, {minibatch}, around {center}", layer.name());
    let layer = &layer.eps(eps).momentum(momentum);
    let gpu = match minibatch.dims() {
        FOLDED => folding_gpu(),
        _ => gpu(),
    };
    let operands = Operands::new(layer, minibatch, |numbers: &mut Numbers| {
        center + numbers.uniform()
    });
    let bounds = norm_bounds::batch_norm(
        SINGLE,
        norm_bounds::Operands {
            x: &operands.x,
            dy: &operands.dy,
            parameters: &operands.parameters,
            state: &operands.state,
        },
        eps.into(),
        momentum.into(),
    );
    let found = operands.on_gpu(&case, gpu, layer, true);
    let expected = operands.by_reference(layer, true);
    assert_eq!((found.len(), bounds.len()), (6, 7), "{case}");
    for (((name, found), expected), bounds) in found.iter().zip(&expected).zip(&bounds) {
        let case = format!("{case}, training, {name}");
        assert_close(
            &case,
            found,
            expected.iter().copied(),
            bounds.iter().copied(),
        );
    }

    // In an evaluation, the statistics are given, so they have no error.
    let state: Vec<Vec<f32>> = found[4..]
        .iter()
        .map(|(_, values)| values.clone())
        .collect();
    let operands = operands.with_state(&state);
    let found = operands.on_gpu(&case, gpu, layer, false);
    let expected = operands.by_reference(layer, false);
    let bounds = of_evaluation(&operands, eps.into());
    assert_eq!((found.len(), bounds.len()), (4, 4), "{case}");
    for (((name, found), expected), bounds) in found.iter().zip(&expected).zip(&bounds) {
        let case = format!("{case}, evaluation, {name}");
        assert_close(
            &case,
            found,
            expected.iter().copied(),
            bounds.iter().copied(),
        );
    }
}

/// Returns the error bounds of an evaluation. `x̂ = (x − mean)·inverse` takes a difference, the `inverseSqrt` of a sum
/// (2 ULP, and half of the sum's rounding), and a product. Then follow a product and a sum for `y`, two products for
/// `dx`, and sums over the channel for the gradients of the parameters.
fn of_evaluation(operands: &Operands, eps: f64) -> [Vec<f64>; 4] {
    let f = |values: &Array2<f32>, c: usize| f64::from(values[[0, c]]);
    let channels = operands.parameters[0].len();
    let positions = operands.x.ncols() / channels;
    let [mut y, mut dx] = [Vec::new(), Vec::new()];
    let [mut sums, mut products] = [vec![0.0; channels], vec![0.0; channels]];
    for ((_, column), (&x, &dy)) in operands
        .x
        .indexed_iter()
        .map(|(at, x)| (at, (x, &operands.dy[at])))
    {
        let c = column / positions;
        let [mean, variance] = [0, 1].map(|i| f(&operands.state[i], c));
        let [weight, bias] = [0, 1].map(|i| f(&operands.parameters[i], c));
        let x = f64::from(x);
        let dy = f64::from(dy);
        let inverse = 1.0 / (variance + eps).sqrt();
        let normal = ((x - mean) * inverse).abs();
        let product = (weight * normal).abs();
        y.push(ROUNDING * (9.0 * product + bias.abs()) + FLUSHED);
        dx.push(ROUNDING * 9.0 * (weight * inverse * dy).abs() + FLUSHED);
        sums[c] += dy.abs();
        products[c] += (dy * normal).abs();
    }
    let n = operands.x.len() / channels;
    let of_sum = |sum: &f64| gpu::sum_error(n, *sum);
    let dbias = sums.iter().map(of_sum).collect();
    let dweight = products
        .iter()
        .map(|sum| of_sum(sum) + 8.0 * ROUNDING * sum);
    [y, dx, dweight.collect(), dbias]
}

/// A shape with seven workgroups of elements, and seven workgroups of channels.
const FOLDED: [usize; 2] = [57, 109];

#[test]
fn batch_norm_is_its_formula() {
    for minibatch in shapes() {
        check(BatchNorm::new(), [1e-5, 0.1], minibatch, 0.0);
    }
    check(BatchNorm::new(), [1e-5, 0.1], FOLDED.into(), 0.0);
}

#[test]
fn settings_of_batch_norm_count() {
    for settings in [[1e-6, 0.1], [0.5, 0.25], [1e-5, 0.0], [1e-5, 1.0]] {
        check(BatchNorm::new(), settings, (7, [3, 5, 3]).into(), 0.5);
    }
}

/// For values far from 0, a variance that is computed from a plain sum of squares would have no correct digits.
#[test]
fn batch_norm_of_values_far_from_0_is_as_good_as_their_bits() {
    for center in [100.0, -1e4, 1e5] {
        for minibatch in [(32, 5).into(), (9, [2, 31, 33]).into()] {
            check(BatchNorm::new(), [1e-5, 0.1], minibatch, center);
        }
    }
}

/// With a single value per channel, `y` is the bias. PyTorch's layer refuses such a minibatch. In all other cases the
/// running variance follows PyTorch's formula.
#[test]
fn batch_norm_of_one_value_is_its_bias() {
    let layer = &BatchNorm::new();
    let operands = Operands::new(layer, [1, 3], Numbers::uniform);
    let found = operands.on_gpu("one value", gpu(), layer, true);
    let bias: Vec<f32> = operands.parameters[1].iter().copied().collect();
    assert_eq!(found[0].1, bias);
    for (&variance, &old) in found[5].1.iter().zip(&operands.state[1]) {
        assert!((variance - 0.9 * old).abs() <= 1e-6, "{variance} {old}");
    }
}
