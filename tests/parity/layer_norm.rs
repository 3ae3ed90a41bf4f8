use wgrad::TensorShape;
use wgrad::ops::{Layer, LayerNorm};

use crate::gpu::{FLUSHED, Numbers, ROUNDING, assert_close, folding_gpu, gpu};
use crate::norm_bounds::{self, Rounding};
use crate::passes::Operands;

/// Returns shapes of minibatches: rows with about 4 columns (which one invocation computes), with about 1,024 (which a
/// workgroup computes, 4 per invocation), and with more; many rows; and images.
fn shapes() -> Vec<TensorShape> {
    vec![
        (1, 1).into(),
        (3, 2).into(),
        (300, 4).into(),
        (17, 5).into(),
        (33, 7).into(),
        (2, 64).into(),
        (5, 255).into(),
        (3, 1024).into(),
        (2, 1025).into(),
        (100, 50).into(),
        (3, [2, 31, 33]).into(),
        (2, 9000).into(),
    ]
}

/// A shape for the device that folds dispatches into two dimensions.
const FOLDED: [usize; 2] = [25, 200];

fn check(eps: f32, minibatch: TensorShape, center: f32) {
    let layer = &LayerNorm::new().eps(eps);
    let case = format!("{}, {minibatch}, around {center}", layer.name());
    let gpu = match minibatch.dims() {
        FOLDED => folding_gpu(),
        _ => gpu(),
    };
    let operands = Operands::new(layer, minibatch, |numbers: &mut Numbers| {
        center + numbers.uniform()
    });
    let of = norm_bounds::Operands {
        x: &operands.x,
        dy: &operands.dy,
        parameters: &operands.parameters,
        state: &operands.state,
    };
    let rounding = Rounding {
        unit: ROUNDING,
        tiny: FLUSHED,
    };
    let bounds = norm_bounds::layer_norm(rounding, of, eps.into());
    for is_training in [true, false] {
        let found = operands.on_gpu(&case, gpu, layer, is_training);
        let expected = operands.by_reference(layer, is_training);
        assert_eq!((found.len(), bounds.len()), (4, 4), "{case}");
        for (((name, found), expected), bounds) in found.iter().zip(&expected).zip(&bounds) {
            let case = format!("{case}, {name}");
            assert_close(
                &case,
                found,
                expected.iter().copied(),
                bounds.iter().copied(),
            );
        }
    }
}

#[test]
fn layer_norm_is_its_formula() {
    for minibatch in shapes() {
        check(1e-5, minibatch, 0.0);
    }
    check(1e-5, FOLDED.into(), 0.0);
    check(0.5, (5, 12).into(), 0.5);
}

#[test]
fn layer_norm_of_values_far_from_0_is_as_good_as_their_bits() {
    for center in [100.0, -1e4, 1e5] {
        for minibatch in [(5, 32).into(), (2, [2, 31, 33]).into()] {
            check(1e-5, minibatch, center);
        }
    }
}
