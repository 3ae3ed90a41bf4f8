//! What is said of a whole data set.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2};

use super::super::workspace::matrix;
use super::Trainer;
use super::minibatches::{copy_features, unit};
use crate::confusion::{Prediction, correct, correct_labels};
use crate::data::{Examples, Labels};
use crate::error::Error;
use crate::evaluation::Evaluation;
use crate::fit::{check_classes, check_fit};
use crate::ops::{TargetKind, weight_of_rows};
use crate::reference::{Float, LossPass, Targets};

impl<F: Float> Trainer<F> {
    /// Mean loss and accuracy over a whole data set. Of parameters that have diverged the loss may be infinite or
    /// NaN, which is no error here.
    ///
    /// # Errors
    /// [`Error::Shape`] when the data set does not fit the network.
    pub fn evaluate(&self, examples: impl Into<Examples>) -> Result<Evaluation, Error> {
        let examples = examples.into();
        check_fit(self.network.graph(), &*self.loss, &examples)?;
        let criterion = F::criterion(&self.criterion);
        let outputs = examples.outputs();
        let mut values: Vec<F> = Vec::new();
        let is_probabilities = self.loss.targets() == TargetKind::Probabilities;
        let (mut loss, mut hits) = (0.0, 0);
        self.for_each_pass(&examples, |rows, logits, unread| {
            let labels = examples
                .labels()
                .map(|labels| &labels.indices()[rows.clone()]);
            values.clear();
            if let Some(of_all) = examples.values() {
                let of_rows = &of_all[rows.start * outputs..rows.end * outputs];
                values.extend(of_rows.iter().map(|&value| F::from_f64(value.into())));
            }
            let targets = match labels {
                Some(labels) => Targets::Classes(labels),
                None => Targets::Values(matrix(&values, [rows.len(), outputs])),
            };
            let mean = criterion.forward_backward(LossPass::new(logits, targets, unread));
            loss += mean.into_f64() * weight_of_rows(&*self.loss, rows.len(), labels);
            hits += match targets {
                Targets::Classes(labels) => correct(logits, labels),
                Targets::Values(values) if is_probabilities => correct_labels(logits, values),
                Targets::Values(_) => 0,
            };
        })?;
        let labels = examples.labels().map(Labels::indices);
        let weight = weight_of_rows(&*self.loss, examples.len(), labels);
        let of = match self.loss.targets() {
            TargetKind::Classes => Some(examples.len()),
            TargetKind::Values => None,
            TargetKind::Probabilities => Some(examples.len() * outputs),
        };
        Ok(Evaluation::new((loss, weight), of.map(|of| (hits, of))))
    }

    /// The class that the network takes every example for, and its probability; a
    /// [`Confusion`](crate::Confusion) counts them.
    ///
    /// # Errors
    /// [`Error::Targets`] when the data set has values, no classes; [`Error::Shape`] when it does not fit
    /// the network.
    pub fn predictions(&self, examples: impl Into<Examples>) -> Result<Vec<Prediction>, Error> {
        let examples = examples.into();
        check_classes(&examples)?;
        check_fit(self.network.graph(), &*self.loss, &examples)?;
        let mut predictions = Vec::with_capacity(examples.len());
        self.for_each_pass(&examples, |_, logits, _| {
            predictions.extend(logits.outer_iter().map(Prediction::of));
        })?;
        Ok(predictions)
    }

    /// [`Network::for_each_pass`] over examples.
    fn for_each_pass(
        &self,
        examples: &Examples,
        see: impl FnMut(Range<usize>, ArrayView2<'_, F>, ArrayViewMut2<'_, F>),
    ) -> Result<(), Error> {
        let unit = unit();
        let copy = |rows: Range<usize>, first: usize, mut to: ArrayViewMut2<'_, F>| {
            for (example, x) in rows.zip(to.outer_iter_mut()) {
                copy_features(x, examples, (example, first), &unit);
            }
        };
        self.network.for_each_pass(examples.len(), copy, see)
    }
}
