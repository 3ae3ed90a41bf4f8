//! What is said of a whole data set.

use super::Trainer;
use crate::confusion::Prediction;
use crate::data::Examples;
use crate::error::Error;
use crate::evaluation::Evaluation;
use crate::evaluator;
use crate::fit::{check_classes, check_fit};
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::block_on;

impl Trainer {
    /// Mean loss and accuracy over a whole data set. It stays on the GPU for the next time, as long as the
    /// program keeps it or a clone of it: the evaluation after that frees it. Of parameters that have diverged
    /// the loss may be infinite or NaN, which is no error here.
    ///
    /// # Errors
    /// [`Error::Shape`] when the data set does not fit the network, or an error of the device.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn evaluate(&mut self, examples: impl Into<Examples>) -> Result<Evaluation, Error> {
        // Begun by the future, which knows that it may wait.
        block_on(async { self.evaluate_async(examples).await })
    }

    /// [`evaluate`](Self::evaluate) without blocking a browser's main thread: with the parameters of the
    /// time of this call, so that the training may go on while the future waits.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn evaluate_async<E: Into<Examples>>(
        &mut self,
        examples: E,
    ) -> impl Future<Output = Result<Evaluation, Error>> + use<E> {
        let run = self.submit_evaluation(&examples.into());
        async move { run?.await }
    }

    fn submit_evaluation(
        &mut self,
        examples: &Examples,
    ) -> Result<impl Future<Output = Result<Evaluation, Error>> + use<>, Error> {
        let (model, loss) = (&self.model, &*self.loss);
        check_fit(model.graph(), loss, examples)?;
        let evaluator = self.data_sets.evaluator(model, loss, examples)?;
        Ok(evaluator.run(model.gpu()))
    }

    /// The class that the network takes every example for, and its probability; a
    /// [`Confusion`](crate::Confusion) counts them. The data set stays on the GPU as with
    /// [`evaluate`](Self::evaluate).
    ///
    /// # Errors
    /// [`Error::Targets`] when the data set has values, no classes; else as [`evaluate`](Self::evaluate).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn predictions(&mut self, examples: impl Into<Examples>) -> Result<Vec<Prediction>, Error> {
        block_on(self.predictions_async(examples))
    }

    /// [`predictions`](Self::predictions) without blocking a browser's main thread.
    ///
    /// # Errors
    /// As [`predictions`](Self::predictions).
    pub async fn predictions_async(
        &mut self,
        examples: impl Into<Examples>,
    ) -> Result<Vec<Prediction>, Error> {
        let (model, examples) = (&self.model, examples.into());
        check_classes(&examples)?;
        check_fit(model.graph(), &*self.loss, &examples)?;
        let resident = self.data_sets.resident(model.gpu(), &examples)?;
        evaluator::predictions(model, resident).await
    }
}
