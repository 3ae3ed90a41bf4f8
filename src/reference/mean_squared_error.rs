use super::loss_of_values::{OfElement, mean_of_elements};
use super::{Float, Loss, LossPass};

/// Mean squared error: `loss = mean((y − t)²)`, `dy = 2·(y − t) / (rows · outputs)`.
#[derive(Debug, Clone, Copy)]
pub struct MeanSquaredError;

impl<F: Float> Loss<F> for MeanSquaredError {
    fn forward_backward(&self, pass: LossPass<'_, F>) -> F {
        let scale = F::from_f64(2.0 / pass.outputs.len() as f64);
        mean_of_elements(pass, |y, t| OfElement {
            loss: (y - t) * (y - t),
            gradient: scale * (y - t),
            is_sound: true,
        })
    }
}
