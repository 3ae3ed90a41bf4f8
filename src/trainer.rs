//! The training loop: recorded once, then run on the GPU for hundreds of steps at a time.

mod outside;
mod saving;

use std::sync::Arc;

use crate::confusion::Prediction;
use crate::data::{Examples, Sampling};
use crate::error::{Error, Unfused};
use crate::evaluation::Evaluation;
use crate::evaluator::{self, DataSets};
use crate::fit::{check_classes, check_fit};
use crate::kernel::Element;
use crate::memory;
use crate::model::Model;
#[cfg(not(target_arch = "wasm32"))]
use crate::model::probe_loss;
use crate::network::summary::Summary;
use crate::ops::gather::Resident;
use crate::ops::metrics::HISTORY;
use crate::ops::{Loss, Optimizer};
use crate::plan::{Listing, Plan};
use crate::soundness::Soundness;
use crate::steps::{Fusion, Steps, Training};
use crate::tensor::{Arena, Tensor};

/// Trains a [`Model`] by minibatch gradient descent. Weights, data set, sampling, step counter and
/// losses stay on the GPU; the CPU writes nothing per step and reads when asked.
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
    optimizer: Arc<dyn Optimizer>,
    steps: Steps,
    history: Tensor,
    coefficients: Tensor,
    step_count: Tensor,
    /// What the optimizer keeps, an arena for each of its names.
    state: Vec<Arena>,
    steps_taken: u64,
    /// Of those, taken elsewhere, before a resume: their losses are not here.
    steps_elsewhere: u64,
    soundness: Soundness,
    batch: usize,
    sampling: Sampling,
    examples: Examples,
    data_sets: DataSets,
}

impl Trainer {
    /// Records the training of `model` on `examples` with minibatches of `batch` rows.
    ///
    /// # Errors
    /// [`Error::Setting`] when batch, sampling or a setting of the optimizer make no sense,
    /// [`Error::Shape`] when the data set does not fit the network, [`Error::Limit`] or
    /// [`Error::OutOfMemory`] when the GPU cannot hold it.
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

    /// [`new`](Self::new) with dispatches of one's own choice.
    ///
    /// # Errors
    /// As [`new`](Self::new), or [`Error::Plan`] when the steps cannot be fused and should be.
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
            check_host(&summary, optimizer.state().len(), &examples, batch)?;
        }
        let resident = Resident::upload(&gpu, &examples)?;
        let history = Tensor::zeros(&gpu, "history of losses", [1, HISTORY], Element::F32)?;
        let shape = [HISTORY, optimizer.coefficients(0).len()];
        let coefficients = Tensor::zeros(&gpu, "coefficients of steps", shape, Element::F32)?;
        let step_count = Tensor::zeros(&gpu, "step count", [1, 1], Element::U32)?;
        let state = optimizer
            .state()
            .iter()
            .map(|role| model.like_parameters(role));
        let state = state.collect::<Result<Vec<_>, _>>()?;
        let training = Training {
            model: &model,
            loss: &loss,
            optimizer: &optimizer,
            resident: &resident,
            batch,
            sampling: &sampling,
            history: &history,
            step_count: &step_count,
            state: &state,
            coefficients: &coefficients,
        };
        let steps = Steps::record(&training, fusion)?;
        let optimizer: Arc<dyn Optimizer> = Arc::new(optimizer);
        Ok(Self {
            model,
            loss: Box::new(loss),
            soundness: Soundness::new(Arc::clone(&optimizer), examples.clone()),
            optimizer,
            steps,
            history,
            coefficients,
            step_count,
            state,
            steps_taken: 0,
            steps_elsewhere: 0,
            batch,
            sampling,
            data_sets: DataSets::with(&examples, resident),
            examples,
        })
    }

    /// The model as trained so far.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What one step does, dispatch by dispatch, to be printed.
    #[must_use]
    pub fn plan(&self) -> &Listing {
        self.steps.step().listing()
    }

    /// The same, as it runs.
    pub(crate) fn step_plan(&self) -> &Plan {
        self.steps.step()
    }

    /// All plans that are recorded: of steps, and of evaluations that were asked for.
    pub(crate) fn plans(&self) -> Vec<&Plan> {
        let mut plans = self.steps.plans();
        plans.extend(self.data_sets.plans());
        plans
    }

    /// Which dispatches make a step: [`Fusion::Layers`] or [`Fusion::Fused`].
    #[must_use]
    pub fn fusion(&self) -> Fusion {
        self.steps.fusion()
    }

    /// Why [`Fusion::Auto`] did not fuse the steps.
    #[must_use]
    pub fn unfused(&self) -> Option<&Unfused> {
        self.steps.unfused()
    }

    /// Takes `count` steps; returns the mean loss of each minibatch before its update.
    ///
    /// # Errors
    /// [`Error::Diverged`] when a loss is not a number below 2²⁴: then no more steps are taken and nothing is
    /// saved, until [`resume`](Self::resume), [`set_weights`](Self::set_weights) or
    /// [`set_parameters`](Self::set_parameters) bring other parameters: those of all layers are enough.
    /// [`Error::Timeout`], [`Error::DeviceLost`], [`Error::OutOfMemory`] or [`Error::Gpu`] when the GPU fails.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn steps(&mut self, count: usize) -> Result<Vec<f32>, Error> {
        pollster::block_on(self.steps_async(count))
    }

    /// [`steps`](Self::steps) without blocking a browser's main thread.
    ///
    /// # Errors
    /// As [`steps`](Self::steps).
    pub async fn steps_async(&mut self, count: usize) -> Result<Vec<f32>, Error> {
        self.soundness.check()?;
        let first = self.steps_taken;
        let mut losses = Vec::with_capacity(count.min(HISTORY));
        while losses.len() < count {
            let from = self.steps_taken;
            let steps = (count - losses.len()).min(HISTORY);
            self.submit(steps, true)?;
            let read = self.read_losses(from, steps).await?;
            let is_sound = read.iter().all(|&loss| self.soundness.is_sound(loss));
            losses.extend(read);
            if !is_sound {
                self.soundness.judge(first, &losses)?;
            }
        }
        Ok(losses)
    }

    /// Submits `count` steps and returns at once: for a program that draws frames, and trains a little in
    /// each. Their losses stay on the GPU: see [`losses_async`](Self::losses_async). The queue grows
    /// where more is asked for than the device does in a frame.
    ///
    /// # Errors
    /// [`Error::Setting`] for more than 16,384 steps at a time; [`Error::Diverged`] once losses that were read
    /// have shown it; [`Error::DeviceLost`], [`Error::OutOfMemory`] or [`Error::Gpu`] when the GPU fails.
    pub fn advance(&mut self, count: usize) -> Result<(), Error> {
        if count > HISTORY {
            let expected = format!("at most {HISTORY}: more losses are not kept");
            return Err(Error::setting("steps to advance by", expected, count));
        }
        self.soundness.check()?;
        self.submit(count, false)
    }

    /// Losses of the last `count` steps of this trainer before this call; of 16,384 at most. The
    /// training may go on while the future waits.
    ///
    /// # Errors
    /// [`Error::Setting`] for more steps than were taken or are kept; else as [`steps`](Self::steps).
    pub fn losses_async(
        &self,
        count: usize,
    ) -> impl Future<Output = Result<Vec<f32>, Error>> + use<> {
        let (taken, soundness) = (self.steps_taken, self.soundness.clone());
        let kept = (taken - self.steps_elsewhere).min(HISTORY as u64);
        let read = (count as u64 <= kept).then(|| self.read_losses(taken - count as u64, count));
        async move {
            let Some(read) = read else {
                let expected = format!("at most {kept}, the losses that are kept");
                return Err(Error::setting("number of losses", expected, count));
            };
            let losses = read.await?;
            soundness.judge(taken - count as u64, &losses)?;
            Ok(losses)
        }
    }

    fn read_losses(
        &self,
        first: u64,
        count: usize,
    ) -> impl Future<Output = Result<Vec<f32>, Error>> + use<> {
        let history = self.model.gpu().read_async::<f32>(&self.history);
        async move {
            let history = history.await?;
            let slots = (0..count as u64).map(|step| (first + step) % HISTORY as u64);
            #[expect(clippy::cast_possible_truncation, reason = "below HISTORY")]
            let losses = slots.map(|slot| history[slot as usize]);
            Ok(losses.collect())
        }
    }

    /// Once for many steps, and before them. What was submitted before still sees the old values.
    fn write_coefficients(&self, steps: usize) -> Result<(), Error> {
        if !self.steps.reads_coefficients() {
            return Ok(());
        }
        #[expect(clippy::cast_possible_truncation, reason = "below HISTORY")]
        let first = (self.steps_taken % HISTORY as u64) as usize;
        let before_wrap = steps.min(HISTORY - first);
        for (row, done, count) in [
            (first, 0, before_wrap),
            (0, before_wrap, steps - before_wrap),
        ] {
            let from = self.steps_taken + done as u64;
            let values: Vec<_> = (from..from + count as u64)
                .map(|step| self.optimizer.coefficients(step))
                .collect();
            if count > 0 {
                self.model
                    .gpu()
                    .write_rows(&self.coefficients, row, &values)?;
            }
        }
        Ok(())
    }

    /// Few submits of many steps each. A step counts as taken once it is submitted, whatever happens
    /// while waiting for it: the GPU counts on.
    fn submit(&mut self, steps: usize, waits: bool) -> Result<(), Error> {
        self.write_coefficients(steps)?;
        let gpu = self.model.gpu().clone();
        let (mut before, mut left) = (None, steps);
        while left > 0 {
            let (submitted, now) = self.steps.submit(&gpu, left)?;
            self.steps_taken += now as u64;
            left -= now;
            if waits {
                gpu.wait_in_turn(&mut before, submitted)?;
            }
        }
        Ok(())
    }

    /// Steps taken, of those before a [`resume`](Self::resume) too.
    #[must_use]
    pub fn steps_taken(&self) -> u64 {
        self.steps_taken
    }

    /// Mean loss and accuracy over a whole data set. It stays on the GPU for the next time, as long as the
    /// program keeps it or a clone of it: the evaluation after that frees it. Of parameters that have diverged
    /// the loss may be infinite or NaN, which is no error here.
    ///
    /// # Errors
    /// [`Error::Shape`] when the data set does not fit the network, or an error of the device.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn evaluate(&mut self, examples: impl Into<Examples>) -> Result<Evaluation, Error> {
        pollster::block_on(self.evaluate_async(examples))
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
        pollster::block_on(self.predictions_async(examples))
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

    /// Frees the data sets on the GPU at once; the trainer is of no use afterwards. In a browser, where
    /// dropping it would leave them there until garbage is collected.
    pub fn destroy(&self) {
        self.data_sets.destroy();
    }
}

/// Whether the host has room for what a training adds to its model, where the memory of a software driver is the
/// host's.
fn check_host(
    summary: &Summary,
    optimizer_state: usize,
    examples: &Examples,
    batch: usize,
) -> Result<(), Error> {
    let of_training = summary.training_bytes(batch, optimizer_state);
    let of_training = of_training.saturating_sub(summary.network_bytes());
    // With the copy that is on its way to the device.
    let of_examples = 2 * examples.bytes();
    let what = || {
        format!(
            "a training of {} parameters with minibatches of {batch} examples, in a software driver",
            summary.parameters()
        )
    };
    memory::check_in_driver(what, of_training.saturating_add(of_examples))
}

#[cfg(test)]
mod tests;
