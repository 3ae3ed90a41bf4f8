//! The best parameters so far, kept on the device.

use super::Trainer;
#[cfg(not(target_arch = "wasm32"))]
use crate::distributed::check_averaged;
use crate::error::Error;

impl Trainer {
    /// Keeps a copy of the parameters on the device if `metric` is lower than that of the kept copy, or if there is
    /// none.
    ///
    /// `metric` is, for example, a loss or a negated accuracy. Returns whether the parameters were kept; with NaN they
    /// never are. A checkpoint does not include the copy, and a resume forgets it.
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
    /// [`Error::Diverged`] when the training has diverged; [`Error::OutOfMemory`] when the GPU has no room for the
    /// copy, or another error of the device: then none is kept.
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

    /// Forgets the kept parameters, so that the next ones are kept whatever their metric.
    pub fn forget_best(&mut self) {
        self.best.forget();
    }

    /// Metric and step of the kept parameters.
    #[must_use]
    pub fn best(&self) -> Option<(f64, u64)> {
        self.best.place()
    }

    /// Restores the kept parameters and layer state, also after a divergence. The copy stays kept. The step count and
    /// the optimizer's state behave as in [`set_parameters`](Self::set_parameters), and a moving average restarts.
    ///
    /// # Errors
    /// [`Error::Setting`] when no parameters are kept, or an error of the device.
    pub fn restore_best(&mut self) -> Result<(), Error> {
        let [parameters, state] = self.best.values()?;
        self.source.parameters_changed();
        self.model.restore(parameters, state)?;
        self.begin_anew()?;
        Ok(())
    }
}
