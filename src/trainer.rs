//! The training loop: recorded once, then run on the GPU for hundreds of steps at a time.

mod advancing;
mod best;
mod budget;
mod evaluation;
mod given;
mod losses;
mod outside;
mod predicting;
mod recorded;
#[cfg(not(target_arch = "wasm32"))]
mod replica;
mod saving;
mod source;
mod steering;
#[cfg(not(target_arch = "wasm32"))]
mod streamed;

use std::sync::Arc;

use crate::best::Best;
use crate::data::{Examples, Sampling};
#[cfg(not(target_arch = "wasm32"))]
use crate::distributed::{DataParallel, distributed_steps};
use crate::error::Error;
use crate::evaluator::DataSets;
use crate::fit::check_fit;
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::block_on;
use crate::kernel::Element;
use crate::latest::Latest;
use crate::model::Model;
#[cfg(not(target_arch = "wasm32"))]
use crate::model::probe_loss;
use crate::network::summary::Summary;
use crate::ops::gather::{PIECE, PIECES, Resident};
use crate::ops::metrics::HISTORY;
use crate::ops::{Loss, Optimizer};
use crate::predictor::Passes;
use crate::soundness::Soundness;
use crate::steps::{Batch, Fusion, Minibatches, Parts, Rows, Steps, Training};
use crate::tensor::{Arena, Tensor};
use crate::updater::Updater;
use budget::Budget;
use given::GivenStep;
use source::{Source, Work, check_host};

/// Trains a [`Model`] by minibatch gradient descent.
///
/// Weights, data set, sampling, step counter and losses stay on the GPU. The CPU writes nothing per step and reads
/// only on request.
///
/// ```no_run
/// use wgrad::data::{Sampling, synthetic};
/// use wgrad::ops::{Sgd, SoftmaxCrossEntropy};
/// use wgrad::{Gpu, Trainer, TwoLayerNet};
///
/// let digits = synthetic::digits(1);
/// let model = TwoLayerNet::spec(784, 50, 10).seed(42).build(&Gpu::new()?)?;
/// let sampling = Sampling::WithReplacement { seed: 42 };
/// let optimizer = Sgd::new(0.1);
/// let mut trainer =
///     Trainer::new(model, SoftmaxCrossEntropy, optimizer, &digits.train, 100, sampling)?;
/// for _epoch in 0..16 {
///     let losses = trainer.steps(600)?;
///     println!("loss {}, test: {}", losses[599], trainer.evaluate(&digits.test)?);
/// }
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug)]
pub struct Trainer {
    model: Model,
    loss: Box<dyn Loss>,
    updater: Updater,
    source: Source,
    /// The work of this process in a training that several processes share; `None` for a single process.
    #[cfg(not(target_arch = "wasm32"))]
    data_parallel: Option<Box<DataParallel>>,
    history: Tensor,
    /// Tensors and recorded steps for the four row counts used last: see [`Trainer::step_on`].
    given: Latest<GivenStep>,
    /// The step count of the checkpoint that this trainer resumed from. `history` does not contain the losses of those
    /// steps.
    steps_before_resume: u64,
    soundness: Soundness,
    data_sets: DataSets,
    /// The best parameters so far, and the layers' state that belongs to them.
    best: Best<[Arena; 2]>,
    budget: Budget,
    /// Recorded forward passes for the four row counts predicted last.
    passes: Passes,
}

impl Trainer {
    /// Records the training of `model` on `examples` with minibatches of `batch` rows.
    ///
    /// # Errors
    /// [`Error::Setting`] when the batch, the sampling or a setting of the loss or the optimizer is invalid;
    /// [`Error::Shape`] when the data set does not fit the network; [`Error::Limit`] or [`Error::OutOfMemory`] when the
    /// GPU cannot hold the training.
    pub fn new(
        model: Model,
        loss: impl Loss + 'static,
        optimizer: impl Optimizer + 'static,
        examples: impl Into<Examples>,
        batch: usize,
        sampling: Sampling,
    ) -> Result<Self, Error> {
        let fusion = Fusion::Auto;
        Self::with_fusion(model, loss, optimizer, examples, batch, sampling, fusion)
    }

    /// [`new`](Self::new), where `fusion` chooses the dispatches of a step: one or more per layer, or fused ones.
    ///
    /// # Errors
    /// The errors of [`new`](Self::new), and [`Error::Plan`] when `fusion` asks for fused steps that are not possible.
    pub fn with_fusion(
        model: Model,
        loss: impl Loss + 'static,
        optimizer: impl Optimizer + 'static,
        examples: impl Into<Examples>,
        batch: usize,
        sampling: Sampling,
        fusion: Fusion,
    ) -> Result<Self, Error> {
        optimizer.check()?;
        let examples = examples.into();
        sampling.check(examples.len(), batch)?;
        check_fit(model.graph(), &loss, &examples)?;
        let gpu = model.gpu().clone();
        #[cfg(not(target_arch = "wasm32"))]
        probe_loss(&gpu, &loss, model.output())?;
        if gpu.is_software() {
            let summary = Summary::of(model.graph());
            // The data set, and wgpu's copies of the pieces that are being uploaded.
            let of_examples = examples.bytes().saturating_add(PIECES * PIECE);
            check_host(&summary, optimizer.state().len(), batch, (of_examples, ""))?;
        }
        let resident = Resident::upload(&gpu, &examples)?;
        let mut trainer = Self::with(model, loss, optimizer, Some(&examples))?;
        let steps = trainer.record(
            Rows::Minibatches(Minibatches {
                resident: &resident,
                batch,
                parts: Parts::all(1),
                sampling: &sampling,
            }),
            fusion,
        )?;
        trainer.data_sets = DataSets::with(&examples, resident);
        trainer.source = Source::Examples {
            examples,
            batch,
            accumulated: 1,
            sampling,
            fusion,
            work: Work::Steps(steps),
        };
        Ok(trainer)
    }

    /// Records the training of `model` on tensors that the program owns. Each step reads the contents that these
    /// tensors have when the step runs, so the program's kernels may change them between steps of the same queue.
    /// [`advance`](Self::advance) submits steps. [`encode`](Self::encode) adds steps to the program's own compute pass.
    ///
    /// ```
    /// use wgrad::kernel::Element;
    /// use wgrad::ops::{Adam, Linear, MeanSquaredError};
    /// use wgrad::tensor::Tensor;
    /// use wgrad::{Batch, Gpu, Sequential, Trainer};
    ///
    /// let gpu = Gpu::new()?; // or Gpu::from_wgpu(device, queue)
    /// let x = Tensor::zeros(&gpu, "x", [64, 2], Element::F32)?; // or Tensor::in_buffer
    /// let y = Tensor::zeros(&gpu, "y", [64, 1], Element::F32)?;
    /// let model = Sequential::input(2).layer(Linear::new(1)).build(&gpu)?;
    /// let batch = Batch::new(&x, &y);
    /// let mut trainer = Trainer::external(model, MeanSquaredError, Adam::new(0.05), batch)?;
    /// for frame in 0..100 {
    ///     gpu.write(&x, &[frame as f32 / 100.0; 128])?; // or a kernel
    ///     gpu.write(&y, &[1.0f32; 64])?;
    ///     trainer.advance(4)?;
    /// }
    /// assert!(trainer.steps(1)?[0] < 0.1);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] when a setting of the loss or the optimizer is invalid or a tensor has the wrong element
    /// type; [`Error::Shape`] when a tensor does not fit the network; [`Error::OtherGpu`] when a tensor belongs to
    /// another device; [`Error::Limit`] or [`Error::OutOfMemory`] when the GPU cannot hold the training.
    pub fn external(
        model: Model,
        loss: impl Loss + 'static,
        optimizer: impl Optimizer + 'static,
        batch: Batch,
    ) -> Result<Self, Error> {
        optimizer.check()?;
        loss.check(model.graph().outputs())?;
        batch.check(&model, &loss)?;
        #[cfg(not(target_arch = "wasm32"))]
        probe_loss(model.gpu(), &loss, model.output())?;
        let mut trainer = Self::with(model, loss, optimizer, None)?;
        let steps = trainer.record(Rows::Tensors(&batch), Fusion::Auto)?;
        let batch = Box::new(batch);
        trainer.source = Source::External { batch, steps };
        Ok(trainer)
    }

    /// Prepares the training of `model` on rows that the program passes to each step, by `step_on` or
    /// [`advance_on`](Self::advance_on).
    ///
    /// # Errors
    /// [`Error::Setting`] when a setting of the loss or the optimizer is invalid; [`Error::Limit`] or
    /// [`Error::OutOfMemory`] when the GPU cannot hold the training.
    pub fn online(
        model: Model,
        loss: impl Loss + 'static,
        optimizer: impl Optimizer + 'static,
    ) -> Result<Self, Error> {
        loss.check(model.graph().outputs())?;
        #[cfg(not(target_arch = "wasm32"))]
        probe_loss(model.gpu(), &loss, model.output())?;
        Self::with(model, loss, optimizer, None)
    }

    fn with(
        model: Model,
        loss: impl Loss + 'static,
        optimizer: impl Optimizer + 'static,
        examples: Option<&Examples>,
    ) -> Result<Self, Error> {
        let updater = Updater::new(&model, optimizer)?;
        let gpu = model.gpu();
        let label = "history of losses";
        let optimizer = Arc::clone(updater.optimizer());
        Ok(Self {
            history: Tensor::zeros(gpu, label, [1, HISTORY], Element::F32)?,
            soundness: Soundness::new(optimizer, loss.targets(), examples.cloned()),
            loss: Box::new(loss),
            updater,
            source: Source::Given,
            #[cfg(not(target_arch = "wasm32"))]
            data_parallel: None,
            given: Latest::default(),
            steps_before_resume: 0,
            data_sets: DataSets::default(),
            best: Best::default(),
            budget: Budget::default(),
            passes: Passes::default(),
            model,
        })
    }

    fn training<'a>(&'a self, rows: Rows<'a>) -> Training<'a> {
        Training {
            model: &self.model,
            loss: &*self.loss,
            updater: &self.updater,
            rows,
            history: &self.history,
        }
    }

    fn record(&self, rows: Rows<'_>, fusion: Fusion) -> Result<Steps, Error> {
        Steps::record(&self.training(rows), fusion)
    }

    /// The model with its current parameters.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Returns the model with its current parameters, and drops everything else.
    #[must_use]
    pub fn into_model(self) -> Model {
        self.model
    }

    /// Takes `count` steps. Returns one loss per step: the mean over its minibatch, before the update.
    ///
    /// # Errors
    /// - [`Error::Setting`] when a schedule gives a step a learning rate that is negative or not a number. The rates of
    ///   up to 16,384 steps are checked before these steps are submitted; if one of the rates is invalid, none of these
    ///   steps is taken. On a stream, whose length is unknown, the steps before the invalid rate are taken, and
    ///   [`losses`](Self::losses) returns their losses.
    /// - [`Error::Diverged`] when a loss is NaN or at least 2²⁴ (for a loss that compares values: not finite). The
    ///   trainer then takes no more steps and saves nothing until [`resume`](Self::resume),
    ///   [`set_weights`](Self::set_weights) or [`set_parameters`](Self::set_parameters) replaces the parameters of all
    ///   layers.
    /// - [`Error::Timeout`], [`Error::DeviceLost`], [`Error::OutOfMemory`] or [`Error::Gpu`] when the GPU fails.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn steps(&mut self, count: usize) -> Result<Vec<f32>, Error> {
        block_on(self.steps_async(count))
    }

    /// [`steps`](Self::steps) without blocking a browser's main thread.
    ///
    /// # Errors
    /// The errors of [`steps`](Self::steps).
    pub async fn steps_async(&mut self, count: usize) -> Result<Vec<f32>, Error> {
        self.soundness.check()?;
        #[cfg(not(target_arch = "wasm32"))]
        if self.data_parallel.is_some() {
            return distributed_steps(self, count);
        }
        self.source.expect_steps()?;
        let first = self.steps_taken();
        let mut losses = Vec::with_capacity(count.min(HISTORY));
        while losses.len() < count {
            let from = self.steps_taken();
            let steps = (count - losses.len()).min(HISTORY);
            let behind = count - losses.len() - steps;
            let taken = self.submit_two_in_flight(steps, behind).await?;
            let read = self.read_losses(from, taken).await?;
            let is_sound = self.soundness.judge(from, &read).is_ok();
            losses.extend(read);
            if !is_sound {
                // Judged from the call's first step on, so that the error contains all losses of the call.
                self.soundness.judge(first, &losses)?;
            }
            #[cfg(not(target_arch = "wasm32"))]
            if taken < steps {
                self.end_of_stream(&losses)?;
                break;
            }
        }
        Ok(losses)
    }

    /// Writes the optimizer's coefficients for the next steps, if the steps read them.
    fn announce(&mut self, steps: usize) -> Result<(), Error> {
        if self.source.expect_steps()?.reads_coefficients() {
            self.updater.announce(steps)
        } else {
            Ok(())
        }
    }

    /// Submits at most `most` steps at once; returns their number. A step counts as taken once it is submitted, even if
    /// waiting for it fails, because the GPU counts it as well.
    fn submit(&mut self, most: usize) -> Result<(wgpu::SubmissionIndex, usize), Error> {
        let steps = self.source.expect_steps()?;
        let (submitted, steps) = steps.submit(self.model.gpu(), most)?;
        self.updater.advance(steps);
        Ok((submitted, steps))
    }

    /// Submits `steps` steps in a few long submits. At most two submits are in flight, so that the device stays busy
    /// and the queue stays short. Returns the number of steps taken, which is lower only when a stream ends. A stream
    /// also reads ahead for `behind` more steps, which the caller will request next.
    #[cfg_attr(
        target_arch = "wasm32",
        expect(unused_variables, reason = "a stream reads ahead by it")
    )]
    async fn submit_two_in_flight(&mut self, steps: usize, behind: usize) -> Result<usize, Error> {
        #[cfg(not(target_arch = "wasm32"))]
        if let Source::Stream { .. } = self.source {
            return self.submit_streamed(steps, behind).await;
        }
        self.announce(steps)?;
        let gpu = self.model.gpu().clone();
        let mut before = None;
        let mut done_before = None;
        let mut left = steps;
        while left > 0 {
            let (submitted, now) = self.submit(left)?;
            left -= now;
            let finished = gpu.finished(submitted)?;
            if let Some((finished, steps)) = before.replace((finished, now)) {
                let done = finished.end().await?;
                // The start of the first submit is unknown; every other one starts when the one before it ends.
                if let (Some(done), Some(began)) = (done, done_before) {
                    let took = done.duration_since(began);
                    self.source.expect_steps()?.learn(steps, took);
                }
                done_before = done;
            }
        }
        Ok(steps)
    }

    /// Number of steps taken, including those before a [`resume`](Self::resume).
    #[must_use]
    pub fn steps_taken(&self) -> u64 {
        self.updater.steps_taken()
    }

    /// Frees the data sets on the GPU at once; the trainer cannot be used afterwards. In a browser, dropping the
    /// trainer would leave them allocated until garbage is collected.
    pub fn destroy(&self) {
        self.data_sets.destroy();
    }
}

#[cfg(test)]
mod tests;
