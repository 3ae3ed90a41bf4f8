use ndarray::Array2;

use super::{Float, Moment, Optimizer, Rule};

/// Scales the gradients by `min(1, max_norm / (n + 10⁻⁶))`, `n` the root of the sum of all their squares,
/// and goes on by another rule.
#[derive(Debug, Clone)]
pub struct Clipped {
    /// What changes the parameters.
    pub rule: Rule,
    /// The largest norm.
    pub max_norm: f64,
}

impl<F: Float> Optimizer<F> for Clipped {
    fn prepare(&self, gradients: &mut [Vec<Array2<F>>]) {
        let squares = gradients.iter().flatten().map(|gradient| {
            let squares = gradient.iter().map(|&value| value * value);
            squares.fold(F::zero(), |sum, square| sum + square)
        });
        let norm = squares.fold(F::zero(), |sum, square| sum + square).sqrt();
        let factor = F::from_f64(self.max_norm) / (norm + F::from_f64(1e-6));
        if factor < F::one() {
            let scale = |gradient: &mut Array2<F>| *gradient *= factor;
            gradients.iter_mut().flatten().for_each(scale);
        }
        F::rule(&self.rule).prepare(gradients);
    }

    fn update(
        &self,
        at: Moment<F>,
        parameter: &mut Array2<F>,
        gradient: &Array2<F>,
        state: &mut [Array2<F>],
    ) {
        F::rule(&self.rule).update(at, parameter, gradient, state);
    }
}
