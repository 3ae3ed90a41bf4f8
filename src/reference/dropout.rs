use ndarray::{ArrayView2, ArrayViewMut2, Zip};

use super::{Backward, Draw, Float, Forward, Layer, Mode};
use crate::random::threefry;

/// Dropout: `y = x / (1 − p)` for the elements that are not dropped, and `y = 0` for the others. `dx` follows from `dy`
/// in the same way. Outside of training, `y = x` and `dx = dy`. Element `i` of step `t` is dropped if the first word of
/// `threefry(key, (t, i))` is below `p·2³²`.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    /// Probability that an element is dropped, 0 ≤ p < 1.
    pub p: f64,
}

impl Dropout {
    fn apply<F: Float>(self, mode: Mode, x: ArrayView2<'_, F>, mut y: ArrayViewMut2<'_, F>) {
        let Mode::Training(Draw { key, step }) = mode else {
            return y.assign(&x);
        };
        let threshold = self.p * 2.0f64.powi(32);
        let scale = F::from_f64(1.0 / (1.0 - self.p));
        let width = x.ncols();
        Zip::indexed(&mut y)
            .and(&x)
            .for_each(|(row, column), y, &x| {
                #[expect(clippy::cast_possible_truncation, reason = "what a GPU buffer holds")]
                let element = (row * width + column) as u32;
                let [random, _] = threefry(key, [step, element]);
                *y = if f64::from(random) >= threshold {
                    x * scale
                } else {
                    F::zero()
                };
            });
    }
}

impl<F: Float> Layer<F> for Dropout {
    fn forward(&self, pass: Forward<'_, F>) {
        self.apply(pass.mode, pass.x, pass.y);
    }

    fn backward(&self, pass: Backward<'_, F>) {
        if let Some(dx) = pass.dx {
            self.apply(pass.mode, pass.dy, dx);
        }
    }
}
