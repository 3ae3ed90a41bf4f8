use ndarray::Zip;

use super::{Float, Loss, LossPass, Targets};

/// Mean over all outputs of `−t·log σ(z) − (1−t)·log(1 − σ(z))`, with `σ(z) = 1/(1 + e^−z)`, written so that no power
/// of e overflows: `max(z, 0) − z·t + log(1 + e^−|z|)`; `dz = (σ(z) − t) / (rows · outputs)`.
///
/// A row with an infinite or NaN logit, or with a target that is not 0 to 1, has a NaN loss, as on a GPU; its gradient
/// is of no use.
#[derive(Debug, Clone, Copy)]
pub struct BinaryCrossEntropy;

impl<F: Float> Loss<F> for BinaryCrossEntropy {
    fn forward_backward(&self, pass: LossPass<'_, F>) -> F {
        let LossPass {
            outputs,
            targets,
            mut doutputs,
        } = pass;
        let Targets::Values(targets) = targets else {
            unreachable!("checked before the first step");
        };
        let (zero, one) = (F::zero(), F::one());
        let [rows, columns, all] =
            [outputs.nrows(), outputs.ncols(), outputs.len()].map(|size| F::from_f64(size as f64));
        let mut loss = zero;
        Zip::from(doutputs.rows_mut())
            .and(outputs.rows())
            .and(targets.rows())
            .for_each(|dz, z, t| {
                let is_sound =
                    z.iter().all(|z| z.is_finite()) && t.iter().all(|t| (zero..=one).contains(t));
                let mut sum = zero;
                Zip::from(dz).and(z).and(t).for_each(|dz, &z, &t| {
                    let e = (-z.abs()).exp();
                    sum += z.max(zero) - z * t + e.ln_1p();
                    let sigmoid = if z < zero { e } else { one } / (one + e);
                    *dz = (sigmoid - t) / all;
                });
                loss += match is_sound {
                    true => sum / columns,
                    false => F::nan(),
                };
            });
        loss / rows
    }
}
