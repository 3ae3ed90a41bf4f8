//! What can change while a training runs: all of a call, or, where it fails, nothing.

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
    /// The optimizer as it is now.
    #[must_use]
    pub fn optimizer(&self) -> &dyn Optimizer {
        &**self.updater.optimizer()
    }

    /// Goes on with another learning rate, before any schedule. Steps that were submitted still have the old one.
    ///
    /// # Errors
    /// [`Error::Setting`] when it is no finite number above 0; then nothing is changed.
    pub fn set_learning_rate(&mut self, learning_rate: f32) -> Result<(), Error> {
        self.steer(|trainer| {
            trainer.updater.set_learning_rate(learning_rate)?;
            // Where the rate is a setting of the kernels.
            match trainer.fusion() {
                Fusion::Fused => trainer.record_again(),
                _ => Ok(()),
            }
        })
    }

    /// Goes on with another optimizer. What both keep under the same name goes on (so that another setting of the
    /// same optimizer loses nothing); all else that it keeps begins with zeros. The steps count on.
    ///
    /// # Errors
    /// [`Error::Setting`] when a setting of it makes no sense, [`Error::OutOfMemory`] or [`Error::Limit`] when the GPU has
    /// no room for what it keeps, [`Error::Plan`] where fused steps were asked for and it is not plain SGD; then nothing is
    /// changed.
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

    /// Updates parameters in another way than the optimizer says: the one of this name (`layers.0.weight`), those whose
    /// names begin so up to a point (`layers.0`), or those that a pattern fits, in which `*` stands for any characters
    /// (`*.bias`).
    ///
    /// # Errors
    /// [`Error::Setting`] when no parameter is meant, none would be trained, a number of the group makes no sense, or the
    /// mean of local steps is still to come; then nothing is changed. [`Error::Plan`] where fused steps were asked for, which
    /// know no groups; else an error of the device.
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

    /// Leaves parameters as they are from now on; they are named as in [`set_group`](Self::set_group). Gradients that
    /// lead to no other parameter are not computed any more. What an optimizer keeps of them stays, and counts as old as
    /// that of the others when they [go on](Self::unfreeze).
    ///
    /// # Errors
    /// [`Error::Setting`] when no parameter is meant, none would be trained, or the mean of local steps is still to come;
    /// [`Error::Plan`] where fused steps were asked for; else an error of the device.
    pub fn freeze(&mut self, parameters: &str) -> Result<(), Error> {
        #[cfg(not(target_arch = "wasm32"))]
        check_averaged(self.data_parallel.as_deref())?;
        self.check_unfused(Unfused::Steered)?;
        self.steer(|trainer| {
            trainer.updater.freeze(parameters)?;
            trainer.record_again()
        })
    }

    /// Goes on with frozen parameters.
    ///
    /// # Errors
    /// [`Error::Setting`] when no parameter is meant; else an error of the device. Then nothing is changed.
    pub fn unfreeze(&mut self, parameters: &str) -> Result<(), Error> {
        self.steer(|trainer| {
            trainer.updater.unfreeze(parameters)?;
            trainer.record_again()
        })
    }

    /// Changes how steps are taken, all of it or, where that fails, nothing.
    fn steer(&mut self, change: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        let before = self.updater.settings();
        let accumulated = self.source.accumulated();
        let done = change(self);
        match done {
            Ok(()) => {
                let optimizer = self.updater.optimizer();
                let groups = self.updater.groups();
                let optimizer = Arc::clone(optimizer);
                let multiples = groups.multiples();
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

    /// Makes each step of `minibatches` minibatches from now on: it draws so many times the rows, computes their
    /// gradients a minibatch at a time, and updates by the mean. So a step can have more rows than there is memory for.
    /// The loss of a step is the mean over all of them; layers that look at a whole minibatch see one at a time,
    /// and class weights of a loss are divided by those of one minibatch.
    ///
    /// # Errors
    /// [`Error::Setting`] when it is 0, when the data set or the list of minibatches has no such number of rows, or when
    /// the rows of steps are given or in tensors of the program's; else an error of the device.
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

    /// Keeps a moving average of all parameters from now on, which begins with the present ones: behind each update
    /// `average ← average + (1 − decay)·(parameter − average)`. It often gives better predictions than the parameters
    /// themselves (Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", 1992). Parameters that come
    /// from outside are another model: there it begins anew with those. A checkpoint has it, too, and a resume goes on
    /// with it.
    ///
    /// # Errors
    /// [`Error::Setting`] when `decay` is not at least 0 and below 1, [`Error::Diverged`] when the parameters have;
    /// [`Error::OutOfMemory`] without room for it.
    pub fn average(&mut self, decay: f32) -> Result<(), Error> {
        self.soundness.check()?;
        self.check_unfused(Unfused::Steered)?;
        self.steer(|trainer| {
            trainer.updater.average(&trainer.model, decay)?;
            trainer.record_again()
        })
    }

    /// Reads the moving average, if one is kept.
    ///
    /// # Errors
    /// As [`Gpu::read_async`](crate::Gpu::read_async).
    pub fn averaged_async(
        &self,
    ) -> impl Future<Output = Result<Option<Parameters>, Error>> + use<> {
        self.updater.averaged_async(&self.model)
    }

    /// Reads the moving average, if one is kept.
    ///
    /// # Errors
    /// As [`Gpu::read`](crate::Gpu::read).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn averaged(&self) -> Result<Option<Parameters>, Error> {
        block_on(self.averaged_async())
    }

    /// Whether steps need not be fused: what cannot be is refused where [`Fusion::Fused`] was asked for.
    pub(super) fn check_unfused(&self, unfused: Unfused) -> Result<(), Error> {
        match &self.source {
            Source::Examples {
                fusion: Fusion::Fused,
                ..
            } => Err(Error::Plan(unfused)),
            _ => Ok(()),
        }
    }

    /// Records steps as they are to be from now on.
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
            // They were shared by their gradients before.
            None => self.source.set_work(Work::Steps(recorded)),
        }
        Ok(())
    }
}
