//! Changes of settings during a training.

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

    /// Sets the learning rate, to which a schedule still applies: see [`crate::Trainer::set_learning_rate`].
    ///
    /// # Errors
    /// The errors of [`crate::Trainer::set_learning_rate`].
    pub fn set_learning_rate(&mut self, learning_rate: f32) -> Result<(), Error> {
        self.updater.set_learning_rate(learning_rate)?;
        self.rule_changed();
        Ok(())
    }

    /// Replaces the optimizer: see [`crate::Trainer::set_optimizer`].
    ///
    /// # Errors
    /// The errors of [`crate::Trainer::set_optimizer`], and [`Error::Memory`] when the host has too little memory for
    /// the new optimizer's state; then nothing changes.
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

    /// Assigns parameters to a [`Group`], for example to change their learning rate: see [`crate::Trainer::set_group`].
    ///
    /// # Errors
    /// The errors of [`crate::Trainer::set_group`], and the [`Error::Memory`] of [`unfreeze`](Self::unfreeze).
    pub fn set_group(&mut self, parameters: &str, group: Group) -> Result<(), Error> {
        self.change_groups(|groups| groups.set(parameters, group))
    }

    /// Freezes parameters: see [`crate::Trainer::freeze`].
    ///
    /// # Errors
    /// The errors of [`crate::Trainer::freeze`], and the [`Error::Memory`] of [`unfreeze`](Self::unfreeze).
    pub fn freeze(&mut self, parameters: &str) -> Result<(), Error> {
        self.change_groups(|groups| groups.freeze(parameters, true))
    }

    /// From now on, trains frozen parameters again: see [`crate::Trainer::unfreeze`].
    ///
    /// # Errors
    /// The errors of [`crate::Trainer::unfreeze`], and [`Error::Memory`] when the host has too little memory for
    /// gradients that were not computed before; then nothing changes.
    pub fn unfreeze(&mut self, parameters: &str) -> Result<(), Error> {
        self.change_groups(|groups| groups.freeze(parameters, false))
    }

    /// Changes the parameter groups. From then on, only gradients that a trained parameter needs are computed.
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

    /// From now on, each step accumulates the gradients of `minibatches` minibatches: see
    /// [`crate::Trainer::accumulate`].
    ///
    /// # Errors
    /// The errors of [`crate::Trainer::accumulate`], and [`Error::Memory`] when the host has too little memory for the
    /// sums of gradients.
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

    /// From now on, updates a moving average of all parameters after each step: see [`crate::Trainer::average`].
    ///
    /// # Errors
    /// The errors of [`crate::Trainer::average`], and [`Error::Memory`] when the host has too little memory for the
    /// average.
    pub fn average(&mut self, decay: f32) -> Result<(), Error> {
        self.soundness.check()?;
        self.updater.average(&self.network, decay)
    }

    /// Returns a copy of the parameters' moving average. `None` unless [`average`](Self::average) was called.
    ///
    /// # Errors
    /// [`Error::Memory`] when the host has too little memory for the copy.
    pub fn averaged(&self) -> Result<Option<Parameters<F>>, Error> {
        self.updater.averaged(&self.network)
    }
}
