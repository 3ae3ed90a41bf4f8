//! What is said of a whole data set, without a training.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};

use super::Network;
use super::features::{copy_features, unit};
use super::workspace::matrix;
use crate::confusion::{Prediction, correct, correct_labels};
use crate::data::{Examples, Labels};
use crate::error::Error;
use crate::evaluation::{Evaluation, judged};
use crate::fit::{check_classes, check_fit, check_outputs, check_widths};
use crate::ops::{Loss, TargetKind, weight_of_rows};
use crate::reference::{Float, LossPass, Targets};

impl<F: Float> Network<F> {
    /// Mean loss and accuracy over a whole data set. Of parameters that have diverged the loss may be infinite or
    /// NaN, which is no error here.
    ///
    /// # Errors
    /// [`Error::Targets`] when the loss compares classes and the data set has values, or the other way round,
    /// [`Error::Shape`] when it does not fit the network, [`Error::Memory`] without room for a pass.
    pub fn evaluate(
        &self,
        loss: &dyn Loss,
        examples: impl Into<Examples>,
    ) -> Result<Evaluation, Error> {
        let examples = examples.into();
        check_fit(self.graph(), loss, &examples)?;
        let criterion = self.passes.criterion(loss);
        let criterion = F::criterion(&criterion);
        let outputs = examples.outputs();
        let mut values: Vec<F> = Vec::new();
        let is_probabilities = loss.targets() == TargetKind::Probabilities;
        let (mut sum, mut hits) = (0.0, 0);
        self.for_each_pass_of(&examples, |rows, logits, unread| {
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
            sum += mean.into_f64() * weight_of_rows(loss, rows.len(), labels);
            hits += match targets {
                Targets::Classes(labels) => correct(logits, labels),
                Targets::Values(values) if is_probabilities => correct_labels(logits, values),
                Targets::Values(_) => 0,
            };
        })?;
        let labels = examples.labels().map(Labels::indices);
        let weight = weight_of_rows(loss, examples.len(), labels);
        let of = judged(loss.targets(), &examples);
        Ok(Evaluation::new((sum, weight), of.map(|of| (hits, of))))
    }

    /// The class that the network takes every example for, and its probability; a
    /// [`Confusion`](crate::Confusion) counts them.
    ///
    /// # Errors
    /// [`Error::Targets`] when the data set has values, no classes; [`Error::Shape`] when it does not fit
    /// the network, [`Error::Memory`] without room for a pass.
    pub fn predictions(&self, examples: impl Into<Examples>) -> Result<Vec<Prediction>, Error> {
        let examples = examples.into();
        check_classes(&examples)?;
        check_widths(self.graph(), &examples)?;
        let mut predictions = Vec::with_capacity(examples.len());
        self.for_each_pass_of(&examples, |_, logits, _| {
            predictions.extend(logits.outer_iter().map(Prediction::of));
        })?;
        Ok(predictions)
    }

    /// What the network gives for every example, (examples, outputs): [`softmax`](crate::softmax) makes probabilities of
    /// classes of it, [`sigmoid`](crate::sigmoid) those of labels that do not depend on each other.
    ///
    /// # Errors
    /// [`Error::Shape`] when the data set does not fit the network, [`Error::Memory`] without room for the outputs.
    pub fn outputs(&self, examples: impl Into<Examples>) -> Result<Array2<F>, Error> {
        let examples = examples.into();
        check_widths(self.graph(), &examples)?;
        let shape = [examples.len(), self.graph().outputs()];
        check_outputs::<F>(shape)?;
        let mut outputs = Array2::zeros(shape);
        self.for_each_pass_of(&examples, |rows, of_rows, _| {
            outputs.slice_mut(s![rows, ..]).assign(&of_rows);
        })?;
        Ok(outputs)
    }

    /// [`for_each_pass`](Self::for_each_pass) over examples.
    fn for_each_pass_of(
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
        self.for_each_pass(examples.len(), copy, see)
    }
}
