//! Evaluations and predictions over a whole data set.

use ndarray::Array2;

use super::Trainer;
use crate::confusion::Prediction;
use crate::data::Examples;
#[cfg(not(target_arch = "wasm32"))]
use crate::distributed::check_averaged;
use crate::error::Error;
use crate::evaluation::Evaluation;
use crate::evaluator;
use crate::fit::{check_classes, check_fit};
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::block_on;
use crate::metric::Metric;
use crate::probability::probabilities_of;

impl Trainer {
    /// Computes the mean loss and the accuracy over a whole data set.
    ///
    /// The data set stays on the GPU for the next call as long as the program holds it or a clone of it. After the
    /// program has dropped it, the next evaluation frees it on the GPU. If the parameters have diverged, the loss may
    /// be infinite or NaN; this is not an error here.
    ///
    /// # Errors
    /// [`Error::Shape`] when the data set does not fit the network, or an error of the device.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn evaluate(&mut self, examples: impl Into<Examples>) -> Result<Evaluation, Error> {
        // `evaluate_async` is called inside the future, where `may_block` is true.
        block_on(async { self.evaluate_async(examples).await })
    }

    /// [`evaluate`](Self::evaluate) without blocking a browser's main thread. Uses the parameters at the time of this
    /// call; the training may continue while the future waits.
    ///
    /// # Errors
    /// The errors of [`evaluate`](Self::evaluate).
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
        let model = &self.model;
        let loss = &*self.loss;
        check_fit(model.graph(), loss, examples)?;
        #[cfg(not(target_arch = "wasm32"))]
        check_averaged(self.data_parallel.as_deref())?;
        #[cfg(not(target_arch = "wasm32"))]
        let partition = self.data_parallel.as_ref().map(|shared| shared.partition());
        let own = |chunks: usize| {
            #[cfg(not(target_arch = "wasm32"))]
            if let Some(partition) = &partition {
                return partition.own(chunks);
            }
            0..chunks
        };
        let evaluator = self.data_sets.evaluator(model, loss, examples, own)?;
        let totals = evaluator.run(model.gpu());
        Ok(async move {
            #[cfg_attr(target_arch = "wasm32", expect(unused_mut, reason = "of one process"))]
            let mut totals = totals.await?;
            #[cfg(not(target_arch = "wasm32"))]
            if let Some(partition) = partition {
                partition.gather(bytemuck::cast_slice_mut(&mut totals.values), 2)?;
            }
            Ok(totals.evaluation())
        })
    }

    /// Returns the class that the network predicts for every example, and its probability.
    /// [`Confusion`](crate::Confusion) counts the predictions per class. The data set stays on the GPU as described in
    /// [`evaluate`](Self::evaluate).
    ///
    /// # Errors
    /// [`Error::Targets`] when the data set has values instead of classes; otherwise the errors of
    /// [`evaluate`](Self::evaluate).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn predictions(&mut self, examples: impl Into<Examples>) -> Result<Vec<Prediction>, Error> {
        block_on(self.predictions_async(examples))
    }

    /// [`predictions`](Self::predictions) without blocking a browser's main thread.
    ///
    /// # Errors
    /// The errors of [`predictions`](Self::predictions).
    pub async fn predictions_async(
        &mut self,
        examples: impl Into<Examples>,
    ) -> Result<Vec<Prediction>, Error> {
        let model = &self.model;
        let examples = examples.into();
        check_classes(&examples)?;
        check_fit(model.graph(), &*self.loss, &examples)?;
        let resident = self.data_sets.resident(model.gpu(), &examples)?;
        evaluator::predictions(model, resident).await
    }

    /// Returns the network's outputs for every example, of shape (examples, outputs). The data set stays on the GPU as
    /// described in [`evaluate`](Self::evaluate).
    ///
    /// # Errors
    /// [`Error::Memory`] when the host has no memory for the outputs; otherwise the errors of
    /// [`evaluate`](Self::evaluate).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn outputs(&mut self, examples: impl Into<Examples>) -> Result<Array2<f32>, Error> {
        // `outputs_async` is called inside the future, where `may_block` is true.
        block_on(async { self.outputs_async(examples).await })
    }

    /// [`outputs`](Self::outputs) without blocking a browser's main thread. Uses the parameters at the time of this
    /// call.
    ///
    /// # Errors
    /// The errors of [`outputs`](Self::outputs).
    pub fn outputs_async<E: Into<Examples>>(
        &mut self,
        examples: E,
    ) -> impl Future<Output = Result<Array2<f32>, Error>> + use<E> {
        let submitted = self.submit_outputs(&examples.into());
        async move { submitted?.await }
    }

    fn submit_outputs(
        &mut self,
        examples: &Examples,
    ) -> Result<impl Future<Output = Result<Array2<f32>, Error>> + use<>, Error> {
        let model = &self.model;
        check_fit(model.graph(), &*self.loss, examples)?;
        let resident = self.data_sets.resident(model.gpu(), examples)?;
        evaluator::outputs(model, examples, resident)
    }

    /// Returns the probability of every class for every example, of shape (examples, classes). If a logit of an example
    /// is infinite or NaN, all probabilities of its row are NaN.
    ///
    /// # Errors
    /// [`Error::Setting`] when the loss compares values instead of classes; otherwise the errors of
    /// [`outputs`](Self::outputs).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn probabilities(&mut self, examples: impl Into<Examples>) -> Result<Array2<f32>, Error> {
        block_on(async { self.probabilities_async(examples).await })
    }

    /// [`probabilities`](Self::probabilities) without blocking a browser's main thread. Uses the parameters at the time
    /// of this call.
    ///
    /// # Errors
    /// The errors of [`probabilities`](Self::probabilities).
    pub fn probabilities_async<E: Into<Examples>>(
        &mut self,
        examples: E,
    ) -> impl Future<Output = Result<Array2<f32>, Error>> + use<E> {
        let of_outputs = probabilities_of(self.loss.targets());
        let outputs = self.outputs_async(examples);
        async move { Ok(of_outputs?(outputs.await?.view())) }
    }

    /// Computes a [`Metric`] from the network's outputs for a data set.
    ///
    /// ```
    /// use wgrad::data::{Sampling, synthetic};
    /// use wgrad::ops::{Sgd, SoftmaxCrossEntropy};
    /// use wgrad::{Gpu, Metric, Trainer, TwoLayerNet};
    ///
    /// let digits = synthetic::digits_of(1, 1000, 100)?;
    /// let model = TwoLayerNet::spec(784, 50, 10).build(&Gpu::new()?)?;
    /// let sampling = Sampling::Shuffled { seed: 1 };
    /// let (loss, optimizer) = (SoftmaxCrossEntropy, Sgd::new(0.1));
    /// let mut trainer = Trainer::new(model, loss, optimizer, &digits.train, 100, sampling)?;
    /// trainer.steps(50)?;
    /// println!("area under the curve: {}", trainer.metric(Metric::RocAuc, &digits.test)?);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`Metric::of`] and of [`outputs`](Self::outputs).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn metric(&mut self, metric: Metric, examples: impl Into<Examples>) -> Result<f64, Error> {
        block_on(async { self.metric_async(metric, examples).await })
    }

    /// [`metric`](Self::metric) without blocking a browser's main thread. Uses the parameters at the time of this call.
    ///
    /// # Errors
    /// The errors of [`metric`](Self::metric).
    pub fn metric_async<E: Into<Examples>>(
        &mut self,
        metric: Metric,
        examples: E,
    ) -> impl Future<Output = Result<f64, Error>> + use<E> {
        let examples = examples.into();
        let is_loss = metric == Metric::Loss;
        let evaluation = is_loss.then(|| self.evaluate_async(examples.clone()));
        let outputs = (!is_loss).then(|| self.outputs_async(examples.clone()));
        async move {
            if let Some(evaluation) = evaluation {
                return Ok(evaluation.await?.loss);
            }
            let outputs = match outputs {
                Some(outputs) => outputs.await?,
                None => unreachable!("one of both is asked for"),
            };
            metric.of_examples(outputs.view(), &examples)
        }
    }
}
