use ndarray::Array1;

use super::{Float, Loss, LossPass, Targets};

/// Cross-entropy of softmax(logits) with class weights `w` and label smoothing `ε`, as PyTorch defines them. With
/// `l = −log softmax(logits)` and `q_c = w_c·(ε/classes + (1−ε)·onehot(label)_c)`, the term of a row is `Σ_c q_c·l_c`.
/// The loss is the sum of all rows' terms divided by the sum of all rows' `w_label`, or by the number of rows if that
/// sum is 0.
///
/// A row with an infinite or NaN logit has a NaN loss, as on a GPU; its gradient is meaningless.
#[derive(Debug, Clone)]
pub struct AdjustedCrossEntropy {
    /// `w`, the weight of each class. `None`: all weights are 1.
    pub class_weights: Option<Vec<f64>>,
    /// `ε`, the fraction of each label that is spread evenly over all classes.
    pub label_smoothing: f64,
}

impl<F: Float> Loss<F> for AdjustedCrossEntropy {
    fn forward_backward(&self, pass: LossPass<'_, F>) -> F {
        let LossPass {
            outputs: logits,
            targets,
            mut doutputs,
        } = pass;
        let Targets::Classes(labels) = targets else {
            unreachable!("checked before the first step");
        };
        let [rows, classes] = [logits.nrows(), logits.ncols()];
        let weights: Array1<F> = match &self.class_weights {
            Some(weights) => weights.iter().copied().map(F::from_f64).collect(),
            None => Array1::ones(classes),
        };
        let sum: F = labels
            .iter()
            .fold(F::zero(), |sum, &label| sum + weights[label as usize]);
        let divisor = if sum > F::zero() {
            sum
        } else {
            F::from_f64(rows as f64)
        };
        let shared = F::from_f64(self.label_smoothing / classes as f64);
        let of_label = F::from_f64(1.0 - self.label_smoothing);
        let mut loss = F::zero();
        for ((z, mut dz), &label) in logits
            .outer_iter()
            .zip(doutputs.outer_iter_mut())
            .zip(labels)
        {
            let label = label as usize;
            let mut q = weights.mapv(|weight| weight * shared);
            q[label] += weights[label] * of_label;
            let largest = z.fold(F::neg_infinity(), |a, &b| a.max(b));
            let e = z.mapv(|z| (z - largest).exp());
            let log_sum = e.sum().ln();
            // A class of weight 0 must not count, even if its loss is infinite.
            let terms = q.iter().zip(&z).filter(|(q, _)| **q > F::zero());
            let term = terms.fold(F::zero(), |sum, (&q, &z)| {
                sum + q * (log_sum - (z - largest))
            });
            loss += if z.iter().all(|z| z.is_finite()) {
                term
            } else {
                F::nan()
            };
            let all = q.sum() / e.sum();
            dz.assign(&((e * all - q) / divisor));
        }
        loss / divisor
    }
}
