use ndarray::{ArrayView2, ArrayViewMut2, Zip};

use super::{Float, Optimizer, UpdateStep};

/// Stochastic gradient descent for a parameter `p`, with the learning rate η: `p ← p − η·g`, where
/// `g = gradient + λ·p`. With momentum μ, `v ← μ·v + g` and `p ← p − η·v`. With Nesterov's momentum,
/// `p ← p − η·(g + μ·v)` instead.
#[derive(Debug, Clone, Copy)]
pub struct Sgd {
    /// μ, the momentum.
    pub momentum: f64,
    /// Whether to use Nesterov's momentum.
    pub is_nesterov: bool,
    /// λ, the weight decay.
    pub weight_decay: f64,
}

impl<F: Float> Optimizer<F> for Sgd {
    fn update(
        &self,
        at: UpdateStep<F>,
        mut parameter: ArrayViewMut2<'_, F>,
        gradient: ArrayView2<'_, F>,
        state: &mut [ArrayViewMut2<'_, F>],
    ) {
        let momentum = F::from_f64(self.momentum);
        let decay = at.decay(self.weight_decay);
        let Some(velocity) = state.first_mut() else {
            if decay != F::zero() {
                parameter *= F::one() - at.learning_rate * decay;
            }
            parameter.scaled_add(-at.learning_rate, &gradient);
            return;
        };
        Zip::from(parameter)
            .and(gradient)
            .and(velocity)
            .for_each(|p, &gradient, v| {
                let g = gradient + decay * *p;
                *v = momentum * *v + g;
                let step = if self.is_nesterov {
                    g + momentum * *v
                } else {
                    *v
                };
                *p -= at.learning_rate * step;
            });
    }
}
