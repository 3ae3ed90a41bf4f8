use ndarray::Zip;

use super::{Float, Loss, LossPass, Targets};

/// `loss = mean(h(y − t))`, with `h(d) = d²/2` for `|d| ≤ delta` and `delta·(|d| − delta/2)` elsewhere;
/// `dy = h′(y − t) / (rows · outputs)`, with `h′(d) = d` kept within `−delta` and `delta`.
///
/// A row with an infinite or NaN output has a NaN loss, as on a GPU; its gradient is of no use.
#[derive(Debug, Clone, Copy)]
pub struct Huber {
    /// Up to which difference the loss is squared.
    pub delta: f64,
}

impl<F: Float> Loss<F> for Huber {
    fn forward_backward(&self, pass: LossPass<'_, F>) -> F {
        let LossPass {
            outputs,
            targets,
            mut doutputs,
        } = pass;
        let Targets::Values(targets) = targets else {
            unreachable!("checked before the first step");
        };
        let (delta, half) = (F::from_f64(self.delta), F::from_f64(0.5));
        let [rows, columns, all] =
            [outputs.nrows(), outputs.ncols(), outputs.len()].map(|size| F::from_f64(size as f64));
        let mut loss = F::zero();
        Zip::from(doutputs.rows_mut())
            .and(outputs.rows())
            .and(targets.rows())
            .for_each(|dy, y, t| {
                let is_finite = y.iter().chain(t).all(|value| value.is_finite());
                let mut sum = F::zero();
                Zip::from(dy).and(y).and(t).for_each(|dy, &y, &t| {
                    let difference = y - t;
                    let distance = difference.abs();
                    if distance <= delta {
                        sum += half * difference * difference;
                        *dy = difference / all;
                    } else {
                        sum += delta * (distance - half * delta);
                        *dy = delta * difference.signum() / all;
                    }
                });
                loss += match is_finite {
                    true => sum / columns,
                    false => F::nan(),
                };
            });
        loss / rows
    }
}
