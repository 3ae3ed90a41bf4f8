use ndarray::{ArrayView2, ArrayViewMut2};

use super::{Float, Loss, LossPass, Targets};

/// Returns the mean cross-entropy of softmax(logits). Writes its gradient with respect to the logits,
/// `(softmax(logits) − onehot(label)) / rows`, into `dlogits`.
///
/// A row with an infinite or NaN logit has a NaN loss, as on a GPU; its gradient is meaningless.
///
/// # Panics
/// If the numbers of rows and labels differ, or a label is not below the number of classes.
#[must_use]
pub fn softmax_cross_entropy<F: Float>(
    logits: ArrayView2<'_, F>,
    labels: &[u32],
    mut dlogits: ArrayViewMut2<'_, F>,
) -> F {
    assert_eq!(logits.nrows(), labels.len(), "rows and labels");
    let rows = F::from_f64(logits.nrows() as f64);
    let mut loss = F::zero();
    for ((z, mut dz), &label) in logits
        .outer_iter()
        .zip(dlogits.outer_iter_mut())
        .zip(labels)
    {
        let label = label as usize;
        let largest = z.fold(F::neg_infinity(), |a, &b| a.max(b));
        let is_finite = z.iter().all(|z| z.is_finite());
        dz.assign(&z);
        dz.mapv_inplace(|z| (z - largest).exp());
        let sum = dz.sum();
        loss += if is_finite {
            sum.ln() - (z[label] - largest)
        } else {
            F::nan()
        };
        dz.mapv_inplace(|e| e / sum / rows);
        dz[label] -= F::one() / rows;
    }
    loss / rows
}

/// [`softmax_cross_entropy`] as a [`Loss`].
#[derive(Debug, Clone, Copy)]
pub struct SoftmaxCrossEntropy;

impl<F: Float> Loss<F> for SoftmaxCrossEntropy {
    fn forward_backward(&self, pass: LossPass<'_, F>) -> F {
        let Targets::Classes(labels) = pass.targets else {
            unreachable!("checked before the first step");
        };
        softmax_cross_entropy(pass.outputs, labels, pass.doutputs)
    }
}
