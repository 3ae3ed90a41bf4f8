use super::loss_of_values::{OfElement, mean_of_elements};
use super::{Float, Loss, LossPass};

/// Huber loss: `loss = mean(h(y − t))`, with `h(d) = d²/2` for `|d| ≤ delta` and `delta·(|d| − delta/2)` elsewhere;
/// `dy = h′(y − t) / (rows · outputs)`, where `h′(d)` is `d` clamped to `−delta` and `delta`.
///
/// A row with an infinite or NaN output has a NaN loss, as on a GPU; its gradient is meaningless.
#[derive(Debug, Clone, Copy)]
pub struct Huber {
    /// Largest difference for which the loss is quadratic.
    pub delta: f64,
}

impl<F: Float> Loss<F> for Huber {
    fn forward_backward(&self, pass: LossPass<'_, F>) -> F {
        let delta = F::from_f64(self.delta);
        let half = F::from_f64(0.5);
        let all = F::from_f64(pass.outputs.len() as f64);
        mean_of_elements(pass, |y, t| {
            let difference = y - t;
            let distance = difference.abs();
            let (loss, gradient) = if distance <= delta {
                (half * difference * difference, difference)
            } else {
                (
                    delta * (distance - half * delta),
                    delta * difference.signum(),
                )
            };
            OfElement {
                loss,
                gradient: gradient / all,
                is_sound: y.is_finite() && t.is_finite(),
            }
        })
    }
}
