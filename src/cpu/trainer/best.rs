//! A copy of the parameters with the lowest metric so far.

use ndarray::Array2;

use super::super::footprint;
use super::Trainer;
#[cfg(not(target_arch = "wasm32"))]
use crate::distributed::check_averaged;
use crate::error::Error;
use crate::reference::Float;

/// The parameters, and the state of the layers.
pub(super) type Values<F> = [Vec<Array2<F>>; 2];

impl<F: Float> Trainer<F> {
    /// Keeps a copy of the parameters if `metric` is the lowest so far: see [`crate::Trainer::keep_if_best`].
    ///
    /// # Errors
    /// [`Error::Diverged`] when the training has diverged, [`Error::Memory`] when the host has too little memory for
    /// the copy, [`Error::Setting`] when the processes have not averaged their latest [local
    /// steps](crate::distributed::Distribution::local_steps) yet.
    pub fn keep_if_best(&mut self, metric: f64) -> Result<bool, Error> {
        self.soundness.check()?;
        #[cfg(not(target_arch = "wasm32"))]
        check_averaged(self.data_parallel.as_deref())?;
        let step = self.steps_taken();
        let network = &self.network;
        self.best.keep_if_lower(metric, step, |room| match room {
            Some([mut parameters, mut state]) => {
                parameters.clone_from(&network.parameters);
                state.clone_from(&network.state);
                Ok([parameters, state])
            }
            None => {
                footprint::check_copy::<F>(network.graph())?;
                Ok([network.parameters.clone(), network.state.clone()])
            }
        })
    }

    /// Forgets the copy of the best parameters. The next [`keep_if_best`](Self::keep_if_best) keeps a copy for any
    /// metric.
    pub fn forget_best(&mut self) {
        self.best.forget();
    }

    /// Metric and step count of the best parameters so far. `None` if no parameters are kept.
    #[must_use]
    pub fn best(&self) -> Option<(f64, u64)> {
        self.best.place()
    }

    /// Restores the copy of the best parameters and of the layers' state: see [`crate::Trainer::restore_best`].
    ///
    /// # Errors
    /// [`Error::Setting`] when no parameters are kept.
    pub fn restore_best(&mut self) -> Result<(), Error> {
        let [parameters, state] = self.best.values()?;
        self.network.parameters.clone_from(parameters);
        self.network.state.clone_from(state);
        self.begin_anew();
        Ok(())
    }
}
