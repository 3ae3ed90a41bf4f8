//! Evaluations and predictions over a whole data set, without a trainer.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
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

/// Sums over the examples of one forward pass.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
pub(super) struct Total {
    /// Sum of the examples' losses, each times the weight of its class.
    loss: f64,
    hits: u64,
}

pub(super) fn evaluation(loss: &dyn Loss, examples: &Examples, totals: &[Total]) -> Evaluation {
    let labels = examples.labels().map(Labels::indices);
    let weight = weight_of_rows(loss, examples.len(), labels);
    let sum = totals.iter().map(|total| total.loss).sum();
    let hits: u64 = totals.iter().map(|total| total.hits).sum();
    let hits = usize::try_from(hits).unwrap_or(usize::MAX);
    let of = judged(loss.targets(), examples);
    Evaluation::new((sum, weight), of.map(|of| (hits, of)))
}

fn all(passes: usize) -> Range<usize> {
    0..passes
}

impl<F: Float> Network<F> {
    /// Computes the mean loss and the accuracy over a whole data set. After a divergence, the loss may be infinite or
    /// NaN; that is not an error here.
    ///
    /// # Errors
    /// [`Error::Targets`] when the loss compares classes and the data set has values, or the loss compares values and
    /// the data set has classes; [`Error::Shape`] when the data set does not fit the network; [`Error::Memory`] when
    /// the host has too little memory for a pass.
    pub fn evaluate(
        &self,
        loss: &dyn Loss,
        examples: impl Into<Examples>,
    ) -> Result<Evaluation, Error> {
        let examples = examples.into();
        let totals = self.totals(loss, &examples, all)?;
        Ok(evaluation(loss, &examples, &totals))
    }

    /// Computes the sum of losses and the number of correct predictions of each forward pass. An evaluation of a data
    /// set takes several passes, each over some of its rows. `own` gets the number of passes and returns the range of
    /// passes to run; the totals of all other passes stay 0.
    pub(super) fn totals(
        &self,
        loss: &dyn Loss,
        examples: &Examples,
        own: impl Fn(usize) -> Range<usize>,
    ) -> Result<Vec<Total>, Error> {
        check_fit(self.graph(), loss, examples)?;
        let criterion = self.passes.criterion(loss);
        let criterion = F::criterion(&criterion);
        let outputs = examples.outputs();
        let mut values: Vec<F> = Vec::new();
        let is_probabilities = loss.targets() == TargetKind::Probabilities;
        let mut seen = Vec::new();
        let passes = self.for_each_pass_of(examples, &own, |rows, logits, unread| {
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
            let hits = match targets {
                Targets::Classes(labels) => correct(logits, labels),
                Targets::Values(values) if is_probabilities => correct_labels(logits, values),
                Targets::Values(_) => 0,
            };
            seen.push(Total {
                loss: mean.into_f64() * weight_of_rows(loss, rows.len(), labels),
                hits: hits as u64,
            });
        })?;
        let mut totals = vec![Total::default(); passes];
        totals[own(passes)].copy_from_slice(&seen);
        Ok(totals)
    }

    /// Returns, for every example, the class that the network predicts and the probability of this class.
    /// [`Confusion`](crate::Confusion) counts the predictions per class.
    ///
    /// # Errors
    /// [`Error::Targets`] when the data set has values instead of classes; [`Error::Shape`] when it does not fit the
    /// network; [`Error::Memory`] when the host has too little memory for a pass.
    pub fn predictions(&self, examples: impl Into<Examples>) -> Result<Vec<Prediction>, Error> {
        let examples = examples.into();
        check_classes(&examples)?;
        check_widths(self.graph(), &examples)?;
        let mut predictions = Vec::with_capacity(examples.len());
        self.for_each_pass_of(&examples, all, |_, logits, _| {
            predictions.extend(logits.outer_iter().map(Prediction::of));
        })?;
        Ok(predictions)
    }

    /// Returns the network's outputs for every example, (examples, outputs). [`softmax`](crate::softmax) turns them
    /// into probabilities of classes, [`sigmoid`](crate::sigmoid) into probabilities of independent labels.
    ///
    /// # Errors
    /// [`Error::Shape`] when the data set does not fit the network, [`Error::Memory`] when the host has too little
    /// memory for the outputs.
    pub fn outputs(&self, examples: impl Into<Examples>) -> Result<Array2<F>, Error> {
        let examples = examples.into();
        check_widths(self.graph(), &examples)?;
        let shape = [examples.len(), self.graph().outputs()];
        check_outputs::<F>(shape)?;
        let mut outputs = Array2::zeros(shape);
        self.for_each_pass_of(&examples, all, |rows, of_rows, _| {
            outputs.slice_mut(s![rows, ..]).assign(&of_rows);
        })?;
        Ok(outputs)
    }

    /// Runs [`for_some_passes`](Self::for_some_passes) over the rows of a data set.
    fn for_each_pass_of(
        &self,
        examples: &Examples,
        own: impl FnOnce(usize) -> Range<usize>,
        see: impl FnMut(Range<usize>, ArrayView2<'_, F>, ArrayViewMut2<'_, F>),
    ) -> Result<usize, Error> {
        let unit = unit();
        let copy = |rows: Range<usize>, first: usize, mut to: ArrayViewMut2<'_, F>| {
            for (example, x) in rows.zip(to.outer_iter_mut()) {
                copy_features(x, examples, (example, first), &unit);
            }
        };
        self.for_some_passes(examples.len(), own, copy, see)
    }
}
