use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use super::{Float, Optimizer, Rule, UpdateStep};

/// Scales all gradients by `min(1, max_norm / (n + 10⁻⁶))`, where `n` is their global norm, the root of the sum of all
/// their squares. Then applies another rule. If one gradient is NaN, all become NaN.
#[derive(Debug, Clone)]
pub struct Clipped {
    /// The rule that changes the parameters.
    pub rule: Rule,
    /// The largest global norm.
    pub max_norm: f64,
}

impl<F: Float> Optimizer<F> for Clipped {
    fn prepare(&self, gradients: &mut [Array2<F>]) {
        // In `f64`, because an `f32` sum of millions of squares would lose the last squares to rounding.
        let squares = gradients.iter().flatten();
        let squares: f64 = squares.map(|value| value.into_f64().powi(2)).sum();
        let factor = self.max_norm / (squares.sqrt() + 1e-6);
        let is_within = factor >= 1.0;
        if !is_within {
            let factor = F::from_f64(factor);
            let scale = |gradient: &mut Array2<F>| *gradient *= factor;
            gradients.iter_mut().for_each(scale);
        }
        F::rule(&self.rule).prepare(gradients);
    }

    fn update(
        &self,
        at: UpdateStep<F>,
        parameter: ArrayViewMut2<'_, F>,
        gradient: ArrayView2<'_, F>,
        state: &mut [ArrayViewMut2<'_, F>],
    ) {
        F::rule(&self.rule).update(at, parameter, gradient, state);
    }
}
