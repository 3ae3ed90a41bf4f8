//! Evaluation of a network on a whole data set, without a trainer.

use ndarray::Array2;

use super::{Evaluator, Totals};
use crate::confusion::Prediction;
use crate::data::Examples;
use crate::error::Error;
use crate::evaluation::Evaluation;
use crate::fit::{check_classes, check_fit, check_widths};
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::block_on;
use crate::model::Model;
#[cfg(not(target_arch = "wasm32"))]
use crate::model::probe_loss;
use crate::ops::Loss;
use crate::ops::gather::Resident;

impl Model {
    /// Computes the mean loss and the accuracy over a whole data set. This call uploads the data set and frees it
    /// afterwards; [`Trainer::evaluate`](crate::Trainer::evaluate) keeps it on the GPU for the next call.
    ///
    /// ```
    /// use wgrad::data::synthetic;
    /// use wgrad::ops::SoftmaxCrossEntropy;
    /// use wgrad::{Confusion, Gpu, TwoLayerNet};
    ///
    /// let digits = synthetic::digits_of(1, 1000, 500)?;
    /// let model = TwoLayerNet::spec(784, 50, 10).build(&Gpu::new()?)?;
    /// // model.load_weights("digits.safetensors")?;
    /// let test = model.evaluate(&SoftmaxCrossEntropy, &digits.test)?;
    /// let predictions = model.predictions(&digits.test)?;
    /// let confusion = Confusion::new(digits.test.labels(), &predictions)?;
    /// assert_eq!(test.accuracy, Some(confusion.accuracy()));
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Targets`] when the loss needs classes and the data set has values, or the other way round;
    /// [`Error::Shape`] when the data set does not fit the network; or an error of the device.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn evaluate(
        &self,
        loss: &dyn Loss,
        examples: impl Into<Examples>,
    ) -> Result<Evaluation, Error> {
        // `evaluate_async` is called inside the future, where a submit may block.
        block_on(async { self.evaluate_async(loss, examples).await })
    }

    /// [`evaluate`](Self::evaluate) without blocking a browser's main thread. Uses the parameters at the time of this
    /// call.
    ///
    /// # Errors
    /// The errors of [`evaluate`](Self::evaluate).
    pub fn evaluate_async<E: Into<Examples>>(
        &self,
        loss: &dyn Loss,
        examples: E,
    ) -> impl Future<Output = Result<Evaluation, Error>> + use<E> {
        let submitted = self.submit_evaluation(loss, &examples.into());
        async move {
            let (resident, totals) = submitted?;
            let totals = totals.await;
            resident.destroy();
            Ok(totals?.evaluation())
        }
    }

    fn submit_evaluation(
        &self,
        loss: &dyn Loss,
        examples: &Examples,
    ) -> Result<
        (
            Resident,
            impl Future<Output = Result<Totals, Error>> + use<>,
        ),
        Error,
    > {
        check_fit(self.graph(), loss, examples)?;
        #[cfg(not(target_arch = "wasm32"))]
        probe_loss(self.gpu(), loss, self.output())?;
        let resident = Resident::upload(self.gpu(), examples)?;
        let totals =
            Evaluator::new(self, loss, examples, (&resident, |chunks| 0..chunks))?.run(self.gpu());
        Ok((resident, totals))
    }

    /// Returns the predicted class of every example, and its probability. [`Confusion`](crate::Confusion) counts the
    /// predictions per class.
    ///
    /// # Errors
    /// [`Error::Targets`] when the data set has values instead of classes; [`Error::Shape`] when the data set does not
    /// fit the network; or an error of the device.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn predictions(&self, examples: impl Into<Examples>) -> Result<Vec<Prediction>, Error> {
        block_on(self.predictions_async(examples))
    }

    /// [`predictions`](Self::predictions) without blocking a browser's main thread.
    ///
    /// # Errors
    /// The errors of [`predictions`](Self::predictions).
    pub async fn predictions_async(
        &self,
        examples: impl Into<Examples>,
    ) -> Result<Vec<Prediction>, Error> {
        let examples = examples.into();
        check_classes(&examples)?;
        check_widths(self.graph(), &examples)?;
        let resident = Resident::upload(self.gpu(), &examples)?;
        let predictions = super::predictions(self, &resident).await;
        resident.destroy();
        predictions
    }

    /// Computes the outputs for every example, of shape (examples, outputs). [`softmax`](crate::softmax) turns them
    /// into probabilities of classes, [`sigmoid`](crate::sigmoid) into probabilities of independent labels.
    ///
    /// ```
    /// use wgrad::data::synthetic;
    /// use wgrad::{Gpu, TwoLayerNet, softmax};
    ///
    /// let digits = synthetic::digits_of(1, 1000, 500)?;
    /// let model = TwoLayerNet::spec(784, 50, 10).build(&Gpu::new()?)?;
    /// let probabilities = softmax(model.outputs(&digits.test)?.view());
    /// assert_eq!(probabilities.dim(), (500, 10));
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when the data set does not fit the network; [`Error::Memory`] when the host has no memory for
    /// the outputs; or an error of the device.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn outputs(&self, examples: impl Into<Examples>) -> Result<Array2<f32>, Error> {
        // `outputs_async` is called inside the future, where a submit may block.
        block_on(async { self.outputs_async(examples).await })
    }

    /// [`outputs`](Self::outputs) without blocking a browser's main thread. Uses the parameters at the time of this
    /// call.
    ///
    /// # Errors
    /// The errors of [`outputs`](Self::outputs).
    pub fn outputs_async<E: Into<Examples>>(
        &self,
        examples: E,
    ) -> impl Future<Output = Result<Array2<f32>, Error>> + use<E> {
        let submitted = self.submit_outputs(&examples.into());
        async move {
            let (resident, outputs) = submitted?;
            let outputs = outputs.await;
            resident.destroy();
            outputs
        }
    }

    fn submit_outputs(
        &self,
        examples: &Examples,
    ) -> Result<
        (
            Resident,
            impl Future<Output = Result<Array2<f32>, Error>> + use<>,
        ),
        Error,
    > {
        check_widths(self.graph(), examples)?;
        let resident = Resident::upload(self.gpu(), examples)?;
        let outputs = super::outputs(self, examples, &resident)?;
        Ok((resident, outputs))
    }
}
