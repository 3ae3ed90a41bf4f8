use ndarray::{ArrayView2, ArrayViewMut2, Zip};

use super::{Float, Optimizer, UpdateStep};

/// Adam for a parameter `p`, with the learning rate η. In step t, counted from 1: `m ← β₁·m + (1 − β₁)·g`,
/// `v ← β₂·v + (1 − β₂)·g²`, then `p ← p − η·m̂/(√v̂ + ε)`, where `m̂ = m/(1 − β₁ᵗ)` and `v̂ = v/(1 − β₂ᵗ)`. Here `g`
/// is the gradient plus the weight decay, `λ·p`. If the weight decay is decoupled, `g` is the gradient alone, and
/// `η·λ·p` is subtracted from `p` first. If the rule is lazy, an element whose gradient is 0 keeps its `m`, `v` and
/// `p`.
#[derive(Debug, Clone, Copy)]
pub struct Adam {
    /// β₁ and β₂, the decay rates of `m` and `v`.
    pub betas: [f64; 2],
    /// ε, added to the denominator.
    pub epsilon: f64,
    /// λ, the weight decay.
    pub weight_decay: f64,
    /// Whether the weight decay is decoupled, as in `AdamW`.
    pub is_decoupled: bool,
    /// Whether elements whose gradient is 0 stay unchanged.
    pub is_lazy: bool,
}

impl<F: Float> Optimizer<F> for Adam {
    fn update(
        &self,
        at: UpdateStep<F>,
        parameter: ArrayViewMut2<'_, F>,
        gradient: ArrayView2<'_, F>,
        state: &mut [ArrayViewMut2<'_, F>],
    ) {
        let [mean, square] = state else {
            unreachable!("Adam keeps two numbers for each parameter");
        };
        let steps = (at.step + 1) as f64;
        let [beta1, beta2] = self.betas.map(F::from_f64);
        let [first, second] = self.betas.map(|beta| 1.0 - beta.powf(steps));
        // Divides `√v` by the root of `1 − β₂ᵗ`, because `v` may be so large that `v̂` would be infinite.
        let [first, root] = [first, second.sqrt()].map(F::from_f64);
        let epsilon = F::from_f64(self.epsilon);
        let decay = at.decay(self.weight_decay);
        let rate = at.learning_rate;
        Zip::from(parameter)
            .and(gradient)
            .and(mean)
            .and(square)
            .for_each(|p, &gradient, m, v| {
                if self.is_lazy && gradient.is_zero() {
                    return;
                }
                let mut g = gradient;
                if self.is_decoupled {
                    *p -= rate * decay * *p;
                } else {
                    g += decay * *p;
                }
                *m = beta1 * *m + (F::one() - beta1) * g;
                *v = beta2 * *v + (F::one() - beta2) * g * g;
                *p -= rate * (*m / first) / (v.sqrt() / root + epsilon);
            });
    }
}
