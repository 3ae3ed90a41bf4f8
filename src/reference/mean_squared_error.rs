use ndarray::{ArrayView2, ArrayViewMut2, Zip};

use super::{Float, Loss, Targets};

/// `loss = mean((y − t)²)`, `dy = 2·(y − t) / (rows · outputs)`.
#[derive(Debug, Clone, Copy)]
pub struct MeanSquaredError;

impl<F: Float> Loss<F> for MeanSquaredError {
    fn forward_backward(
        &self,
        outputs: ArrayView2<'_, F>,
        targets: Targets<'_, F>,
        mut doutputs: ArrayViewMut2<'_, F>,
    ) -> F {
        let Targets::Values(targets) = targets else {
            unreachable!("checked before the first step");
        };
        let count = F::from_f64(outputs.len() as f64);
        let mut sum = F::zero();
        Zip::from(&mut doutputs)
            .and(&outputs)
            .and(&targets)
            .for_each(|dy, &y, &t| {
                sum += (y - t) * (y - t);
                *dy = F::from_f64(2.0) * (y - t) / count;
            });
        sum / count
    }
}
