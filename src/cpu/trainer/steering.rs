//! Changes to a running training.

use std::sync::Arc;

use super::Trainer;
#[cfg(not(target_arch = "wasm32"))]
use crate::distributed::{check_alone, check_averaged};
use crate::error::Error;
use crate::fit::nothing_to_accumulate;
use crate::network::{Groups, Parameters};
use crate::ops::{Group, Optimizer};
use crate::reference::Float;

impl<F: Float> Trainer<F> {
    /// The current optimizer.
    #[must_use]
    pub fn optimizer(&self) -> &dyn Optimizer {
        &**self.updater.optimizer()
    }

    /// Sets the learning rate before any schedule: see [`crate::Trainer::set_learning_rate`].
    ///
    /// # Errors
    /// As [`crate::Trainer::set_learning_rate`].
    pub fn set_learning_rate(&mut self, learning_rate: f32) -> Result<(), Error> {
        self.updater.set_learning_rate(learning_rate)?;
        self.rule_changed();
        Ok(())
    }

    /// Replaces the optimizer: see [`crate::Trainer::set_optimizer`].
    ///
    /// # Errors
    /// As [`crate::Trainer::set_optimizer`], or [`Error::Memory`] when the host has no room for its state; then nothing
    /// is changed.
    pub fn set_optimizer(&mut self, optimizer: impl Optimizer + 'static) -> Result<(), Error> {
        self.updater.set_optimizer(optimizer)?;
        self.rule_changed();
        Ok(())
    }

    fn rule_changed(&mut self) {
        let optimizer = Arc::clone(self.updater.optimizer());
        let multiples = self.updater.groups().multiples();
        let steps = self.steps_taken();
        self.soundness.set_rule(steps, optimizer, multiples);
    }

    /// Assigns parameters to a group, which changes how the optimizer updates them: see [`crate::Trainer::set_group`].
    ///
    /// # Errors
    /// As [`crate::Trainer::set_group`], or [`Error::Memory`] as [`unfreeze`](Self::unfreeze).
    pub fn set_group(&mut self, parameters: &str, group: Group) -> Result<(), Error> {
        self.change_groups(|groups| groups.set(parameters, group))
    }

    /// Freezes parameters: see [`crate::Trainer::freeze`].
    ///
    /// # Errors
    /// As [`crate::Trainer::freeze`], or [`Error::Memory`] as [`unfreeze`](Self::unfreeze).
    pub fn freeze(&mut self, parameters: &str) -> Result<(), Error> {
        self.change_groups(|groups| groups.freeze(parameters, true))
    }

    /// Trains frozen parameters again: see [`crate::Trainer::unfreeze`].
    ///
    /// # Errors
    /// As [`crate::Trainer::unfreeze`], or [`Error::Memory`] when the host has no room for gradients that were not
    /// computed before; then nothing is changed.
    pub fn unfreeze(&mut self, parameters: &str) -> Result<(), Error> {
        self.change_groups(|groups| groups.freeze(parameters, false))
    }

    /// Changes the groups, and which gradients are computed: only those that a trained parameter needs.
    fn change_groups(
        &mut self,
        change: impl FnOnce(&mut Groups) -> Result<(), Error>,
    ) -> Result<(), Error> {
        #[cfg(not(target_arch = "wasm32"))]
        check_averaged(self.data_parallel.as_deref())?;
        let mut groups = self.updater.groups().clone();
        change(&mut groups)?;
        self.given.forget();
        if let Some(minibatches) = &mut self.minibatches {
            let passes = &self.network.passes;
            minibatches.work.want(passes, &groups.wanted())?;
        }
        self.updater.set_groups(groups);
        self.rule_changed();
        Ok(())
    }

    /// Makes each step accumulate the gradients of `minibatches` minibatches from now on: see
    /// [`crate::Trainer::accumulate`].
    ///
    /// # Errors
    /// As [`crate::Trainer::accumulate`], or [`Error::Memory`] when the host has no room for the sums of gradients.
    pub fn accumulate(&mut self, minibatches: usize) -> Result<(), Error> {
        #[cfg(not(target_arch = "wasm32"))]
        check_alone(
            self.data_parallel.as_deref(),
            "another number of minibatches",
        )?;
        let of_data = self.minibatches.as_mut();
        let of_data = of_data.ok_or_else(nothing_to_accumulate)?;
        of_data.accumulate(&self.network, minibatches)
    }

    /// Keeps a moving average of all parameters from now on: see [`crate::Trainer::average`].
    ///
    /// # Errors
    /// As [`crate::Trainer::average`], or [`Error::Memory`] when the host has no room for the average.
    pub fn average(&mut self, decay: f32) -> Result<(), Error> {
        self.soundness.check()?;
        self.updater.average(&self.network, decay)
    }

    /// Returns a copy of the moving average, if one is kept.
    ///
    /// # Errors
    /// [`Error::Memory`] when the host has no room for the copy.
    pub fn averaged(&self) -> Result<Option<Parameters<F>>, Error> {
        self.updater.averaged(&self.network)
    }
}
