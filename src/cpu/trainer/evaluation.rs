//! Evaluations and predictions over a whole data set.

use ndarray::Array2;

#[cfg(not(target_arch = "wasm32"))]
use super::super::evaluation::{Total, evaluation};
use super::Trainer;
use crate::confusion::Prediction;
use crate::data::Examples;
#[cfg(not(target_arch = "wasm32"))]
use crate::distributed::check_averaged;
use crate::error::Error;
use crate::evaluation::Evaluation;
use crate::fit::{check_classes, check_fit};
use crate::metric::Metric;
use crate::probability::probabilities_of;
use crate::reference::Float;

impl<F: Float> Trainer<F> {
    /// Computes the mean loss and the accuracy over a whole data set. After a divergence, the loss may be infinite or
    /// NaN; that is not an error here.
    ///
    /// # Errors
    /// The errors of [`Network::evaluate`](crate::cpu::Network::evaluate), and [`Error::Setting`] when the processes
    /// have not averaged their latest [local steps](crate::distributed::Distribution::local_steps) yet.
    pub fn evaluate(&self, examples: impl Into<Examples>) -> Result<Evaluation, Error> {
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(shared) = &self.data_parallel {
            check_averaged(self.data_parallel.as_deref())?;
            let partition = shared.partition();
            let examples = examples.into();
            let own = |passes| partition.own(passes);
            let mut totals = self.network.totals(&*self.loss, &examples, own)?;
            let numbers = bytemuck::cast_slice_mut(&mut totals);
            partition.gather(numbers, size_of::<Total>() / 4)?;
            return Ok(evaluation(&*self.loss, &examples, &totals));
        }
        self.network.evaluate(&*self.loss, examples)
    }

    /// Returns, for every example, the class that the network predicts and the probability of this class.
    /// [`Confusion`](crate::Confusion) counts the predictions per class.
    ///
    /// # Errors
    /// [`Error::Targets`] when the data set has values instead of classes; [`Error::Shape`] when it does not fit the
    /// network.
    pub fn predictions(&self, examples: impl Into<Examples>) -> Result<Vec<Prediction>, Error> {
        let examples = examples.into();
        check_classes(&examples)?;
        check_fit(self.network.graph(), &*self.loss, &examples)?;
        self.network.predictions(examples)
    }

    /// Returns the network's outputs for every example, (examples, outputs).
    ///
    /// # Errors
    /// The errors of [`evaluate`](Self::evaluate), and [`Error::Memory`] when the host has too little memory for the
    /// outputs.
    pub fn outputs(&self, examples: impl Into<Examples>) -> Result<Array2<F>, Error> {
        let examples = examples.into();
        check_fit(self.network.graph(), &*self.loss, &examples)?;
        self.network.outputs(examples)
    }

    /// Returns the probability of every class for every example, (examples, classes): see
    /// [`crate::Trainer::probabilities`].
    ///
    /// # Errors
    /// The errors of [`outputs`](Self::outputs), and [`Error::Setting`] when the loss compares values instead of
    /// classes or labels.
    pub fn probabilities(&self, examples: impl Into<Examples>) -> Result<Array2<F>, Error> {
        let of_outputs = probabilities_of(self.loss.targets())?;
        Ok(of_outputs(self.outputs(examples)?.view()))
    }

    /// Computes a [`Metric`] of the network's outputs over a whole data set.
    ///
    /// # Errors
    /// The errors of [`Metric::of`] and [`outputs`](Self::outputs).
    pub fn metric(&self, metric: Metric, examples: impl Into<Examples>) -> Result<f64, Error> {
        let examples = examples.into();
        match metric {
            Metric::Loss => Ok(self.evaluate(examples)?.loss),
            _ => metric.of_examples(self.outputs(examples.clone())?.view(), &examples),
        }
    }
}
