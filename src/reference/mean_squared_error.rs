use ndarray::Zip;

use super::{Float, Loss, LossPass, Targets};

/// `loss = mean((y − t)²)`, `dy = 2·(y − t) / (rows · outputs)`.
#[derive(Debug, Clone, Copy)]
pub struct MeanSquaredError;

impl<F: Float> Loss<F> for MeanSquaredError {
    fn forward_backward(&self, pass: LossPass<'_, F>) -> F {
        let LossPass {
            outputs,
            targets,
            mut doutputs,
        } = pass;
        let Targets::Values(targets) = targets else {
            unreachable!("checked before the first step");
        };
        let [rows, columns] =
            [outputs.nrows(), outputs.ncols()].map(|size| F::from_f64(size as f64));
        let scale = F::from_f64(2.0 / outputs.len() as f64);
        let mut loss = F::zero();
        // Row by row, so that what overflows does so on a GPU, too.
        Zip::from(doutputs.rows_mut())
            .and(outputs.rows())
            .and(targets.rows())
            .for_each(|dy, y, t| {
                let mut sum = F::zero();
                Zip::from(dy).and(y).and(t).for_each(|dy, &y, &t| {
                    sum += (y - t) * (y - t);
                    *dy = scale * (y - t);
                });
                loss += sum / columns;
            });
        loss / rows
    }
}
