use super::loss_of_values::{OfElement, mean_of_elements};
use super::{Float, Loss, LossPass};

/// Binary cross-entropy: the mean of `−t·log σ(z) − (1−t)·log(1 − σ(z))` over all outputs of all rows, with
/// `σ(z) = 1/(1 + e^−z)`. It is computed as `max(z, 0) − z·t + log(1 + e^−|z|)`, in which no power of e overflows.
/// `dz = (σ(z) − t) / (rows · outputs)`.
///
/// A row with an infinite or NaN logit, or with a target outside of 0 to 1, has a NaN loss, as on a GPU; its gradient
/// is meaningless.
#[derive(Debug, Clone, Copy)]
pub struct BinaryCrossEntropy;

impl<F: Float> Loss<F> for BinaryCrossEntropy {
    fn forward_backward(&self, pass: LossPass<'_, F>) -> F {
        let zero = F::zero();
        let one = F::one();
        let all = F::from_f64(pass.outputs.len() as f64);
        mean_of_elements(pass, |z, t| {
            let e = (-z.abs()).exp();
            let sigmoid = if z < zero { e } else { one } / (one + e);
            OfElement {
                loss: z.max(zero) - z * t + e.ln_1p(),
                gradient: (sigmoid - t) / all,
                is_sound: z.is_finite() && (zero..=one).contains(&t),
            }
        })
    }
}
