//! The best parameters so far, stored on the device.

use super::Trainer;
#[cfg(not(target_arch = "wasm32"))]
use crate::distributed::check_averaged;
use crate::error::Error;

impl Trainer {
    /// Stores a copy of the parameters on the device if `metric` is lower than that of the stored copy, or if there is
    /// no copy yet.
    ///
    /// `metric` is, for example, a loss or a negated accuracy. Returns whether the parameters were stored; a NaN metric
    /// never stores them. A checkpoint does not include the copy, and a resume drops it.
    ///
    /// ```no_run
    /// # fn train(mut trainer: wgrad::Trainer, validation: wgrad::data::Dataset) -> Result<(), wgrad::Error> {
    /// for _epoch in 0..100 {
    ///     trainer.steps(600)?;
    ///     let loss = trainer.evaluate(&validation)?.loss;
    ///     trainer.keep_if_best(loss)?;
    /// }
    /// trainer.restore_best()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Diverged`] when the training has diverged; [`Error::OutOfMemory`] when the GPU has no memory for the
    /// copy, or another error of the device. After an error of the device, no copy is stored.
    pub fn keep_if_best(&mut self, metric: f64) -> Result<bool, Error> {
        self.soundness.check()?;
        #[cfg(not(target_arch = "wasm32"))]
        check_averaged(self.data_parallel.as_deref())?;
        let step = self.steps_taken();
        let model = &self.model;
        self.best.keep_if_lower(metric, step, |room| match room {
            Some([parameters, state]) => {
                model.copy_parameters_to(&parameters)?;
                model.copy_state_to(&state)?;
                Ok([parameters, state])
            }
            None => Ok([
                model.copied_parameters("best")?,
                model.copied_state("best")?,
            ]),
        })
    }

    /// Drops the stored parameters, so that the next call of [`keep_if_best`](Self::keep_if_best) stores its parameters
    /// whatever their metric.
    pub fn forget_best(&mut self) {
        self.best.forget();
    }

    /// The metric of the stored parameters, and the number of steps taken before they were stored.
    #[must_use]
    pub fn best(&self) -> Option<(f64, u64)> {
        self.best.place()
    }

    /// Restores the stored parameters and layer state, also after a divergence. The copy remains stored. The step count
    /// continues. The optimizer's state changes as described in [`set_parameters`](Self::set_parameters), and a moving
    /// average restarts.
    ///
    /// # Errors
    /// [`Error::Setting`] when no parameters are stored, or an error of the device.
    pub fn restore_best(&mut self) -> Result<(), Error> {
        let [parameters, state] = self.best.values()?;
        self.source.parameters_changed();
        self.model.restore(parameters, state)?;
        self.begin_anew()?;
        Ok(())
    }
}
