use super::{Backward, Float, Forward, Layer};

/// Lookup table: `y[i] = weight[x[i]]`; `dweight[e]` is the sum of `dy[i]` over all `i` with `x[i] = e`, in ascending
/// order; `dx = 0`. If `x[i]` is not an integer from 0 to `rows of weight − 1`, `y[i]` is NaN and `dy[i]` is ignored.
#[derive(Debug, Clone, Copy)]
pub struct Embedding;

/// Returns a number as an index, or `None` if it is not an integer from 0 to `count − 1`.
fn index_of<F: Float>(x: F, count: usize) -> Option<usize> {
    let value = x.into_f64();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "just found to be an index"
    )]
    let index = || value as usize;
    let is_index = value >= 0.0 && value < count as f64 && value.fract() == 0.0;
    is_index.then(index)
}

impl<F: Float> Layer<F> for Embedding {
    fn forward(&self, mut pass: Forward<'_, F>) {
        let [count, width] = pass.parameters[0].dim().into();
        for (x, mut y) in pass.x.outer_iter().zip(pass.y.outer_iter_mut()) {
            for (&x, mut y) in x.iter().zip(y.exact_chunks_mut(width)) {
                match index_of(x, count) {
                    Some(index) => y.assign(&pass.parameters[0].row(index)),
                    None => y.fill(F::nan()),
                }
            }
        }
    }

    fn backward(&self, pass: Backward<'_, F>) {
        let [count, width] = pass.parameters[0].dim().into();
        let dweight = &mut pass.gradients[0];
        dweight.fill(F::zero());
        for (x, dy) in pass.x.outer_iter().zip(pass.dy.outer_iter()) {
            for (&x, dy) in x.iter().zip(dy.exact_chunks(width)) {
                if let Some(index) = index_of(x, count) {
                    let mut sum = dweight.row_mut(index);
                    sum += &dy;
                }
            }
        }
        if let Some(mut dx) = pass.dx {
            dx.fill(F::zero());
        }
    }
}
