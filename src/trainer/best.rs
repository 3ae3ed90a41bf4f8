//! The best parameters so far, kept on the device.

use super::Trainer;
#[cfg(not(target_arch = "wasm32"))]
use crate::distributed::check_averaged;
use crate::error::Error;

impl Trainer {
    /// Keeps a copy of the parameters, on the device, if `metric` is lower than that of those kept so far, or if none are:
    /// a loss, say, or an accuracy with its sign turned. Returns whether they are. One that is no number is never kept. A
    /// checkpoint does not have them, and a resume forgets them.
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
    /// [`Error::Diverged`] when the parameters have; [`Error::OutOfMemory`] without room for the copy, or another error
    /// of the device: then none are kept.
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

    /// Keeps no parameters any more, so that the next are kept whatever their metric.
    pub fn forget_best(&mut self) {
        self.best.forget();
    }

    /// Metric and step of the parameters that are kept.
    #[must_use]
    pub fn best(&self) -> Option<(f64, u64)> {
        self.best.place()
    }

    /// Takes the parameters that are kept for those of the training, also after a divergence. They stay kept. Steps and
    /// optimizer go on as with [`set_parameters`](Self::set_parameters), and a moving average begins anew.
    ///
    /// # Errors
    /// [`Error::Setting`] when none are kept, or an error of the device.
    pub fn restore_best(&mut self) -> Result<(), Error> {
        let [parameters, state] = self.best.values()?;
        self.source.parameters_changed();
        self.model.restore(parameters, state)?;
        self.begin_anew()?;
        Ok(())
    }
}
