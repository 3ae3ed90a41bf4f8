//! Changes to a running training. Each call either succeeds as a whole or changes nothing.

use std::sync::Arc;

use super::source::Work;
use super::{Source, Trainer};
#[cfg(not(target_arch = "wasm32"))]
use crate::distributed::{check_alone, check_averaged};
use crate::error::{Error, Unfused};
use crate::fit::{check_accumulated, nothing_to_accumulate};
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::block_on;
use crate::network::Parameters;
use crate::ops::{Group, Optimizer, Sgd, unwrapped_optimizer};
#[cfg(not(target_arch = "wasm32"))]
use crate::steps::Shards;
use crate::steps::{Fusion, Minibatches, Parts, Rows};

impl Trainer {
    /// The current optimizer.
    #[must_use]
    pub fn optimizer(&self) -> &dyn Optimizer {
        &**self.updater.optimizer()
    }

    /// Sets the learning rate, to which a schedule still applies. Steps already submitted keep the old rate.
    ///
    /// # Errors
    /// [`Error::Setting`] when the rate is not finite or not above 0. After an error, nothing is changed.
    pub fn set_learning_rate(&mut self, learning_rate: f32) -> Result<(), Error> {
        self.steer(|trainer| {
            trainer.updater.set_learning_rate(learning_rate)?;
            // Fused steps read the rate from a uniform buffer, which is written when the steps are recorded.
            match trainer.fusion() {
                Fusion::Fused => trainer.record_again(),
                _ => Ok(()),
            }
        })
    }

    /// Replaces the optimizer.
    ///
    /// State that has the same name in both optimizers is kept, so that changing a setting of the same optimizer loses
    /// nothing. All other state of the new optimizer starts at zero. The step count continues.
    ///
    /// # Errors
    /// [`Error::Setting`] when a setting of the optimizer is invalid, [`Error::OutOfMemory`] or [`Error::Limit`] when
    /// the GPU has no memory for its state, [`Error::Plan`] when [`Fusion::Fused`] was requested and the optimizer is
    /// not plain SGD. After an error, nothing is changed.
    pub fn set_optimizer(&mut self, optimizer: impl Optimizer + 'static) -> Result<(), Error> {
        let sgd = unwrapped_optimizer(&optimizer).downcast_ref::<Sgd>();
        if !sgd.is_some_and(Sgd::is_plain) {
            self.check_unfused(Unfused::Optimizer)?;
        }
        self.steer(|trainer| {
            trainer.updater.set_optimizer(optimizer)?;
            trainer.record_again()
        })
    }

    /// Assigns parameters to a group, whose settings change how the optimizer updates them.
    ///
    /// `parameters` is a full name (`layers.0.weight`), the beginning of names up to a dot (`layers.0`), or a pattern
    /// in which `*` stands for any characters (`*.bias`).
    ///
    /// # Errors
    /// [`Error::Setting`] when no parameter matches, no trained parameter would remain, a setting of the group is
    /// invalid, or the processes have not averaged their latest local steps yet. After this error, nothing is changed.
    /// [`Error::Plan`] when [`Fusion::Fused`] was requested, which does not support groups; otherwise an error of the
    /// device.
    pub fn set_group(&mut self, parameters: &str, group: Group) -> Result<(), Error> {
        #[cfg(not(target_arch = "wasm32"))]
        check_averaged(self.data_parallel.as_deref())?;
        if group != Group::new() {
            self.check_unfused(Unfused::Steered)?;
        }
        self.steer(|trainer| {
            trainer.updater.set_group(parameters, group)?;
            trainer.record_again()
        })
    }

    /// Freezes parameters: steps no longer change their values. `parameters` names them as in
    /// [`set_group`](Self::set_group).
    ///
    /// Gradients that no trained parameter needs are no longer computed. The optimizer keeps its state of frozen
    /// parameters. After [`unfreeze`](Self::unfreeze), the optimizer's step count includes the steps during which this
    /// state was frozen.
    ///
    /// # Errors
    /// [`Error::Setting`] when no parameter matches, no trained parameter would remain, or the processes have not
    /// averaged their latest local steps yet; [`Error::Plan`] when [`Fusion::Fused`] was requested; otherwise an error
    /// of the device.
    pub fn freeze(&mut self, parameters: &str) -> Result<(), Error> {
        #[cfg(not(target_arch = "wasm32"))]
        check_averaged(self.data_parallel.as_deref())?;
        self.check_unfused(Unfused::Steered)?;
        self.steer(|trainer| {
            trainer.updater.freeze(parameters)?;
            trainer.record_again()
        })
    }

    /// Trains frozen parameters again. `parameters` names them as in [`set_group`](Self::set_group).
    ///
    /// # Errors
    /// [`Error::Setting`] when no parameter matches; otherwise an error of the device. After an error, nothing is
    /// changed.
    pub fn unfreeze(&mut self, parameters: &str) -> Result<(), Error> {
        self.steer(|trainer| {
            trainer.updater.unfreeze(parameters)?;
            trainer.record_again()
        })
    }

    /// Applies a change to how steps are taken. If the change fails, restores all settings.
    fn steer(&mut self, change: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        let before = self.updater.settings();
        let accumulated = self.source.accumulated();
        let done = change(self);
        match done {
            Ok(()) => {
                let optimizer = Arc::clone(self.updater.optimizer());
                let multiples = self.updater.groups().multiples();
                let steps = self.steps_taken();
                self.soundness.set_rule(steps, optimizer, multiples);
            }
            Err(_) => {
                self.updater.restore(before);
                self.source.set_accumulated(accumulated);
            }
        }
        done
    }

    /// Makes each following step accumulate the gradients of `minibatches` minibatches.
    ///
    /// A step draws `minibatches` times as many rows, computes the gradients of one minibatch after another, and
    /// updates by the mean gradient. So a step can have more rows than fit in memory. The loss of a step is the mean
    /// over all its rows. Layers such as [`BatchNorm`](crate::ops::BatchNorm) still compute their statistics over one
    /// minibatch, and a loss with class weights divides by the weights of one minibatch.
    ///
    /// # Errors
    /// [`Error::Setting`] when `minibatches` is 0, when the data set or the list of minibatches has too few rows, or
    /// when the trainer's rows are passed to each step, come from a stream or are in the program's tensors; otherwise
    /// an error of the device.
    pub fn accumulate(&mut self, minibatches: usize) -> Result<(), Error> {
        #[cfg(not(target_arch = "wasm32"))]
        check_alone(
            self.data_parallel.as_deref(),
            "another number of minibatches",
        )?;
        if minibatches > 1 {
            self.check_unfused(Unfused::Steered)?;
        }
        match &self.source {
            Source::Examples {
                examples,
                batch,
                sampling,
                ..
            } => {
                check_accumulated(minibatches, *batch, examples.len())?;
                sampling.check(examples.len(), batch.saturating_mul(minibatches))?;
            }
            _ => return Err(nothing_to_accumulate()),
        }
        self.steer(|trainer| {
            trainer.source.set_accumulated(minibatches);
            trainer.record_again()
        })
    }

    /// Keeps a moving average of all parameters, which starts at their current values.
    ///
    /// After each update, `average ← average + (1 − decay)·(parameter − average)`. The average often predicts better
    /// than the parameters themselves (Polyak, Juditsky, "Acceleration of stochastic approximation by averaging",
    /// 1992). If the program replaces parameters, the average restarts at their new values. A checkpoint includes the
    /// average, and a resumed training continues it.
    ///
    /// # Errors
    /// [`Error::Setting`] unless 0 ≤ `decay` < 1, [`Error::Diverged`] when the training has diverged,
    /// [`Error::OutOfMemory`] when the GPU has no memory for the average.
    pub fn average(&mut self, decay: f32) -> Result<(), Error> {
        self.soundness.check()?;
        self.check_unfused(Unfused::Steered)?;
        self.steer(|trainer| {
            trainer.updater.average(&trainer.model, decay)?;
            trainer.record_again()
        })
    }

    /// Reads the moving average of the parameters; `None` if [`average`](Self::average) was never called.
    ///
    /// # Errors
    /// The errors of [`Gpu::read_async`](crate::Gpu::read_async).
    pub fn averaged_async(
        &self,
    ) -> impl Future<Output = Result<Option<Parameters>, Error>> + use<> {
        self.updater.averaged_async(&self.model)
    }

    /// Reads the moving average of the parameters; `None` if [`average`](Self::average) was never called.
    ///
    /// # Errors
    /// The errors of [`Gpu::read`](crate::Gpu::read).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn averaged(&self) -> Result<Option<Parameters>, Error> {
        block_on(self.averaged_async())
    }

    /// Returns the reason `unfused` as an error if [`Fusion::Fused`] was requested.
    pub(super) fn check_unfused(&self, unfused: Unfused) -> Result<(), Error> {
        match &self.source {
            Source::Examples {
                fusion: Fusion::Fused,
                ..
            } => Err(Error::Plan(unfused)),
            _ => Ok(()),
        }
    }

    /// Records the steps again with the current settings.
    pub(super) fn record_again(&mut self) -> Result<(), Error> {
        self.given.forget();
        let recorded = match &self.source {
            Source::Given => return Ok(()),
            Source::External { batch, .. } => self.record(Rows::Tensors(batch), Fusion::Auto)?,
            #[cfg(not(target_arch = "wasm32"))]
            Source::Stream { streamed, .. } => self.record(streamed.rows(), Fusion::Auto)?,
            Source::Examples {
                examples,
                batch,
                accumulated,
                sampling,
                fusion,
                ..
            } => {
                let resident = self.data_sets.resident(self.model.gpu(), examples)?.clone();
                let parts = Parts::all(*accumulated);
                #[cfg(not(target_arch = "wasm32"))]
                let parts = self.data_parallel.as_ref().map_or(parts, |shared| Parts {
                    first: shared.own().start,
                    count: shared.own().len(),
                    ..parts
                });
                let minibatches = Minibatches {
                    resident: &resident,
                    batch: *batch,
                    parts,
                    sampling,
                };
                let rows = Rows::Minibatches(minibatches);
                #[cfg(not(target_arch = "wasm32"))]
                if self
                    .data_parallel
                    .as_ref()
                    .is_some_and(|shared| !shared.is_local())
                {
                    let shards = Shards::record(&self.training(rows), minibatches, *fusion)?;
                    self.source.set_work(Work::Shards(Box::new(shards)));
                    return Ok(());
                }
                self.record(rows, *fusion)?
            }
        };
        self.budget.forget();
        match self.source.steps_mut() {
            Some(steps) => steps.become_like(recorded),
            // Until now, several processes shared the gradients of these steps.
            None => self.source.set_work(Work::Steps(recorded)),
        }
        Ok(())
    }
}
