use ndarray::{ArrayView2, ArrayViewMut2, Zip};

use super::{Float, Optimizer, UpdateStep};

/// `RMSProp` for a parameter `p`, with the learning rate η: `s ← α·s + (1 − α)·g²`, `p ← p − η·g/(√s + ε)`, where
/// `g = gradient + λ·p`.
#[derive(Debug, Clone, Copy)]
pub struct RmsProp {
    /// α, the smoothing constant.
    pub alpha: f64,
    /// ε, added to the denominator.
    pub epsilon: f64,
    /// λ, the weight decay.
    pub weight_decay: f64,
}

impl<F: Float> Optimizer<F> for RmsProp {
    fn update(
        &self,
        at: UpdateStep<F>,
        parameter: ArrayViewMut2<'_, F>,
        gradient: ArrayView2<'_, F>,
        state: &mut [ArrayViewMut2<'_, F>],
    ) {
        let epsilon = F::from_f64(self.epsilon);
        let decay = at.decay(self.weight_decay);
        let alpha = F::from_f64(self.alpha);
        Zip::from(parameter)
            .and(gradient)
            .and(&mut state[0])
            .for_each(|p, &gradient, s| {
                let g = gradient + decay * *p;
                *s = alpha * *s + (F::one() - alpha) * g * g;
                *p -= at.learning_rate * g / (s.sqrt() + epsilon);
            });
    }
}
