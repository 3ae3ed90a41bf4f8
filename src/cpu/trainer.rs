mod advancing;
mod best;
mod evaluation;
mod given;
mod minibatches;
#[cfg(not(target_arch = "wasm32"))]
mod replica;
mod saving;
mod steering;
#[cfg(not(target_arch = "wasm32"))]
mod streamed;

use std::collections::VecDeque;
use std::sync::Arc;

use ndarray::ArrayViewD;

use super::sharing::Sharing;
use super::workspace::Workspace;
use super::{Network, Updater};
use crate::best::Best;
use crate::data::{Examples, Sampling};
#[cfg(not(target_arch = "wasm32"))]
use crate::distributed::{DataParallel, distributed_steps};
use crate::error::Error;
use crate::fit::check_fit;
use crate::latest::Latest;
use crate::network::Parameters;
use crate::ops::metrics::HISTORY;
use crate::ops::{Loss, Optimizer};
use crate::reference::{Criterion, Float};
use crate::soundness::Soundness;
use minibatches::Minibatches;

/// The training loop on the CPU. It draws the same minibatches in the same order as [`crate::Trainer`].
///
/// ```
/// use wgrad::data::{Sampling, synthetic};
/// use wgrad::ops::{Sgd, SoftmaxCrossEntropy};
/// use wgrad::{TwoLayerNet, cpu};
///
/// let digits = synthetic::digits_of(1, 1000, 100)?;
/// let sampling = Sampling::WithReplacement { seed: 1 };
/// let network = TwoLayerNet::spec(784, 50, 10).seed(1).on_cpu()?;
/// let (loss, optimizer) = (SoftmaxCrossEntropy, Sgd::new(0.1));
/// let mut trainer =
///     cpu::Trainer::new(network, loss, optimizer, &digits.train, 100, sampling)?;
/// let losses = trainer.steps(100)?;
/// assert!(losses[99] < losses[0]);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug)]
pub struct Trainer<F = f32> {
    network: Network<F>,
    updater: Updater<F>,
    soundness: Soundness,
    loss: Box<dyn Loss>,
    criterion: Criterion,
    /// Draws the minibatches from the data set or the stream. `None` for a trainer made by [`online`](Self::online).
    minibatches: Option<Minibatches<F>>,
    /// Workspaces (activations and gradients) for the most recent row counts passed to `step_on`.
    given: Latest<Workspace<F>>,
    /// Losses of the latest steps, at most `HISTORY`.
    losses: VecDeque<F>,
    best: Best<best::Values<F>>,
    /// Chooses the number of cores that compute a step.
    sharing: Sharing,
    /// This process's part of a distributed training.
    #[cfg(not(target_arch = "wasm32"))]
    data_parallel: Option<Box<DataParallel>>,
}

impl<F: Float> Trainer<F> {
    /// Makes a trainer of `network` on the data set `examples`, with minibatches of `batch` rows.
    ///
    /// # Errors
    /// [`Error::Setting`] when the batch size, the sampling, or a setting of the loss or of the optimizer is invalid,
    /// [`Error::Shape`] when the data set does not fit the network, [`Error::Memory`] when the host has too little
    /// memory for the training.
    pub fn new(
        network: Network<F>,
        loss: impl Loss + 'static,
        optimizer: impl Optimizer + 'static,
        examples: impl Into<Examples>,
        batch: usize,
        sampling: Sampling,
    ) -> Result<Self, Error> {
        let examples = examples.into();
        optimizer.check()?;
        sampling.check(examples.len(), batch)?;
        check_fit(network.graph(), &loss, &examples)?;
        let kept = optimizer.state().len();
        let minibatches = Minibatches::new(&network, kept, examples, batch, sampling)?;
        Self::with(network, loss, optimizer, Some(minibatches))
    }

    /// Makes a trainer without a data set: each call of [`step_on`](Self::step_on) passes the rows of one step.
    ///
    /// # Errors
    /// [`Error::Setting`] when a setting of the loss or the optimizer is invalid, [`Error::Memory`] when the host has
    /// too little memory for the optimizer's state.
    pub fn online(
        network: Network<F>,
        loss: impl Loss + 'static,
        optimizer: impl Optimizer + 'static,
    ) -> Result<Self, Error> {
        loss.check(network.graph().outputs())?;
        Self::with(network, loss, optimizer, None)
    }

    fn with(
        network: Network<F>,
        loss: impl Loss + 'static,
        optimizer: impl Optimizer + 'static,
        minibatches: Option<Minibatches<F>>,
    ) -> Result<Self, Error> {
        let updater = Updater::new(&network, optimizer)?;
        let examples = minibatches.as_ref().and_then(|of| of.rows.examples());
        let examples = examples.map(|(examples, _)| examples.clone());
        let optimizer = Arc::clone(updater.optimizer());
        Ok(Self {
            soundness: Soundness::new(optimizer, loss.targets(), examples),
            criterion: network.passes.criterion(&loss),
            loss: Box::new(loss),
            network,
            updater,
            minibatches,
            given: Latest::default(),
            losses: VecDeque::new(),
            best: Best::default(),
            sharing: Sharing::default(),
            #[cfg(not(target_arch = "wasm32"))]
            data_parallel: None,
        })
    }

    /// The network with its present parameters and layer state.
    #[must_use]
    pub fn network(&self) -> &Network<F> {
        &self.network
    }

    /// Consumes the trainer and returns the network with its present parameters and layer state.
    #[must_use]
    pub fn into_network(self) -> Network<F> {
        self.network
    }

    /// Replaces all parameters. The order of `values` does not matter. [`crate::Trainer::set_parameters`] says what
    /// happens to the optimizer's state, the layers' state and a moving average.
    ///
    /// # Errors
    /// The errors of [`Network::set_parameters`].
    pub fn set_parameters(&mut self, values: &Parameters<F>) -> Result<(), Error> {
        self.network.set_parameters(values)?;
        if self.begin_anew() {
            self.network.reset_state();
        }
        Ok(())
    }

    /// Replaces the parameter with this name, and restarts its moving average. After a divergence, replace all
    /// parameters instead, by [`set_parameters`](Self::set_parameters).
    ///
    /// # Errors
    /// The errors of [`Network::set_parameter`], and [`Error::Diverged`] after a divergence.
    pub fn set_parameter(&mut self, name: &str, value: ArrayViewD<'_, F>) -> Result<(), Error> {
        self.soundness.check()?;
        self.network.set_parameter(name, value)?;
        self.updater.begin_average(&self.network, Some(name));
        Ok(())
    }

    /// Replaces the state of all layers, for example running means. After a divergence, replace the parameters first.
    ///
    /// # Errors
    /// The errors of [`Network::set_state`], and [`Error::Diverged`] after a divergence.
    pub fn set_state(&mut self, values: &Parameters<F>) -> Result<(), Error> {
        self.soundness.check()?;
        self.network.set_state(values)
    }

    /// Called after the parameters were replaced: restarts the moving average, and after a divergence also the
    /// optimizer's state. Returns whether the training had diverged.
    fn begin_anew(&mut self) -> bool {
        let had_diverged = self.soundness.has_diverged();
        if had_diverged {
            self.updater.forget(&self.network);
        } else {
            self.updater.begin_average(&self.network, None);
        }
        self.soundness.begin_anew(self.steps_taken());
        had_diverged
    }

    /// Number of steps taken, including the steps before a [`resume`](Trainer::resume).
    #[must_use]
    pub fn steps_taken(&self) -> u64 {
        self.updater.steps_taken()
    }

    /// Takes `count` steps. Returns one loss per step: the mean over the minibatch, before the update.
    ///
    /// The calling thread and a team of worker threads compute the steps. The trainer measures which number of cores is
    /// fastest at the moment: if another program keeps a core busy, the training uses the others. The results have the
    /// same bits on any number of threads. The environment variable `WGRAD_THREADS` sets the maximum number of threads,
    /// up to 1,024.
    ///
    /// # Errors
    /// [`Error::Setting`] when the learning rate schedule gives a rate that is negative or not a number. On a data set,
    /// the rates are checked for 16,384 steps at a time, before the first of these steps is taken. On a stream, the
    /// steps before the invalid rate are taken, and [`losses`](Self::losses) returns their losses.
    ///
    /// [`Error::Diverged`] at the first loss that is NaN or at least 2²⁴ (for a loss that compares values: not finite).
    /// From then on, the trainer neither takes steps nor saves, until [`resume`](Trainer::resume),
    /// [`set_weights`](Trainer::set_weights) or [`set_parameters`](Self::set_parameters) replaces all parameters.
    ///
    /// [`Error::Setting`] for a trainer without a data set or a stream: call [`step_on`](Self::step_on) instead.
    pub fn steps(&mut self, count: usize) -> Result<Vec<F>, Error> {
        self.soundness.check()?;
        #[cfg(not(target_arch = "wasm32"))]
        if self.data_parallel.is_some() {
            return Ok(replica::in_numbers(distributed_steps(self, count)?));
        }
        let first = self.steps_taken();
        let mut losses = Vec::with_capacity(count.min(HISTORY));
        let mut taken = match self.minibatches {
            Some(_) => Ok(true),
            None => Err(no_data()),
        };
        while matches!(taken, Ok(true)) && losses.len() < count {
            // Read the stream on this thread: its iterator may wait for a lock or a job that needs the worker threads.
            let ready = self.minibatches.as_mut().map(Minibatches::ready);
            let steps = ready.ok_or_else(no_data)?.min(count - losses.len());
            if steps == 0 {
                break;
            }
            let before = losses.len();
            let mut sharing = std::mem::take(&mut self.sharing);
            taken = self.take_steps(steps, &mut sharing, &mut losses);
            self.sharing = sharing;
            // Store the losses before more of the stream is read, because its iterator may panic.
            self.remember(&losses[before..]);
        }
        if !taken? {
            self.soundness.judge(first, &in_f32(&losses))?;
        }
        #[cfg(not(target_arch = "wasm32"))]
        if losses.len() < count {
            self.fault_of_stream(&losses)?;
        }
        Ok(losses)
    }

    /// Takes up to `count` steps and stops after the first unsound loss. Returns whether all losses are sound.
    fn take_steps(
        &mut self,
        count: usize,
        sharing: &mut Sharing,
        losses: &mut Vec<F>,
    ) -> Result<bool, Error> {
        let of_data_set = self.minibatches.as_ref().and_then(|of| of.rows.examples());
        let is_of_data_set = of_data_set.is_some();
        for at in 0..count {
            // Check the learning rates of as many steps at once as the GPU engine does. Do not check ahead for a
            // stream, because it may end before the step with the invalid rate.
            if is_of_data_set && at % HISTORY == 0 {
                self.updater.check_rates(HISTORY.min(count - at))?;
            }
            let loss = sharing.take(|| self.take_step())?;
            losses.push(loss);
            if !self.soundness.is_sound(as_f32(loss)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn take_step(&mut self) -> Result<F, Error> {
        let step = self.step_in_u32();
        let coefficients = self.updater.coefficients()?;
        let minibatches = self.minibatches.as_mut().ok_or_else(no_data)?;
        let loss = F::criterion(&self.criterion);
        let loss = minibatches.forward_backward(&mut self.network, loss, step);
        let gradients = &mut minibatches.work.gradients;
        self.updater
            .apply(coefficients, &mut self.network, gradients);
        Ok(loss)
    }

    /// Number of steps taken, modulo 2³², as on a GPU.
    fn step_in_u32(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "wraps, as on a GPU")]
        let step = self.steps_taken() as u32;
        step
    }

    fn remember(&mut self, losses: &[F]) {
        let kept = &losses[losses.len().saturating_sub(HISTORY)..];
        let surplus = (self.losses.len() + kept.len()).saturating_sub(HISTORY);
        self.losses.drain(..surplus);
        self.losses.extend(kept);
    }

    /// Returns the losses of the latest `count` steps. The trainer stores at most 16,384 losses.
    ///
    /// # Errors
    /// [`Error::Setting`] when `count` exceeds the number of stored losses, [`Error::Diverged`] when the training
    /// diverged at one of these steps.
    pub fn losses(&self, count: usize) -> Result<Vec<F>, Error> {
        let Some(before) = self.losses.len().checked_sub(count) else {
            let expected = format!(
                "at most {}, the number of losses that are kept",
                self.losses.len()
            );
            return Err(Error::setting("number of losses", expected, count));
        };
        let losses: Vec<F> = self.losses.range(before..).copied().collect();
        let first = self.steps_taken() - count as u64;
        self.soundness.judge(first, &in_f32(&losses))?;
        Ok(losses)
    }
}

fn no_data() -> Error {
    let expected = "a trainer made by Trainer::new: this one takes rows by step_on";
    Error::setting("data set of the trainer", expected, "none")
}

#[expect(clippy::cast_possible_truncation, reason = "infinite stays infinite")]
fn as_f32<F: Float>(loss: F) -> f32 {
    loss.into_f64() as f32
}

fn in_f32<F: Float>(losses: &[F]) -> Vec<f32> {
    losses.iter().map(|&loss| as_f32(loss)).collect()
}

#[cfg(test)]
mod tests;
