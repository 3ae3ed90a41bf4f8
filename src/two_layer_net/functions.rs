//! The book's five functions. Each blocks until the GPU has computed its result; a browser's main thread must not
//! block.

use ndarray::{Array2, ArrayView2};

use super::TwoLayerNet;
use crate::confusion::correct;
use crate::data::Labels;
use crate::error::Error;
use crate::fit::{check_columns, check_rows};
use crate::network::Parameters;
use crate::ops::SoftmaxCrossEntropy;
use crate::reference::Targets;

impl TwoLayerNet {
    /// Computes the logits (rows, classes) for `x` (rows, inputs): see [`Model::predict`](crate::Model::predict).
    ///
    /// # Errors
    /// The errors of [`Model::predict`](crate::Model::predict).
    pub fn predict(&self, x: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        self.model.predict(x)
    }

    /// Computes the mean softmax cross-entropy of `x` with its labels: see [`Model::loss`](crate::Model::loss).
    ///
    /// # Errors
    /// The errors of [`Model::loss`](crate::Model::loss), and [`Error::Shape`] when the labels do not fit `x` or the
    /// network.
    pub fn loss(&self, x: ArrayView2<'_, f32>, labels: &Labels) -> Result<f32, Error> {
        self.check(x, labels)?;
        let targets = Targets::Classes(labels.indices());
        self.model.loss(&SoftmaxCrossEntropy, x, targets)
    }

    /// Computes the fraction of rows whose largest logit is that of their label, 0 to 1. NaN is never the largest; of
    /// equal logits, the first counts.
    ///
    /// # Errors
    /// The errors of [`loss`](Self::loss).
    pub fn accuracy(&self, x: ArrayView2<'_, f32>, labels: &Labels) -> Result<f64, Error> {
        self.check(x, labels)?;
        let logits = self.predict(x)?;
        let hits = correct(logits.view(), labels.indices());
        Ok(hits as f64 / labels.len() as f64)
    }

    /// Computes the gradients of the loss with respect to all parameters, by backpropagation on the GPU: see
    /// [`Model::gradient`](crate::Model::gradient).
    ///
    /// # Errors
    /// The errors of [`Model::gradient`](crate::Model::gradient), and [`Error::Shape`] when the labels do not fit `x`
    /// or the network.
    pub fn gradient(&self, x: ArrayView2<'_, f32>, labels: &Labels) -> Result<Parameters, Error> {
        self.check(x, labels)?;
        let targets = Targets::Classes(labels.indices());
        self.model.gradient(&SoftmaxCrossEntropy, x, targets)
    }

    /// Computes the same gradients as [`gradient`](Self::gradient), but by central differences through the `f64`
    /// reference: slow and accurate.
    ///
    /// # Errors
    /// The errors of [`loss`](Self::loss).
    pub fn numerical_gradient(
        &self,
        x: ArrayView2<'_, f32>,
        labels: &Labels,
    ) -> Result<Parameters<f64>, Error> {
        self.check(x, labels)?;
        let mut network = self.model.to_reference()?;
        let targets = Targets::Classes(labels.indices());
        network.numerical_gradient(&SoftmaxCrossEntropy, x.mapv(f64::from).view(), targets)
    }

    /// Checks that there is at least one row, that each row has a label, and that the labels have as many classes as
    /// the network has outputs.
    fn check(&self, x: ArrayView2<'_, f32>, labels: &Labels) -> Result<(), Error> {
        let graph = self.model.graph();
        check_columns(graph, x.dim().into())?;
        check_rows(x.nrows())?;
        let expected = [x.nrows(), graph.outputs()];
        let found = [labels.len(), labels.classes()];
        if expected == found {
            Ok(())
        } else {
            Err(Error::shape(
                "labels (examples, classes)",
                expected,
                found,
                "Give one label for each row, with as many classes as the network has outputs",
            ))
        }
    }
}
