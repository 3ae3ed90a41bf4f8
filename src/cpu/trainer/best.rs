//! The best parameters so far.

use ndarray::Array2;

use super::Trainer;
use crate::error::Error;
use crate::reference::Float;

/// Parameters and state, and the metric that they had.
#[derive(Debug)]
pub(super) struct Best<F> {
    metric: f64,
    step: u64,
    parameters: Vec<Array2<F>>,
    state: Vec<Array2<F>>,
}

impl<F: Float> Trainer<F> {
    /// Keeps a copy of the parameters if `metric` is the lowest so far: see [`crate::Trainer::keep_if_best`].
    ///
    /// # Errors
    /// [`Error::Diverged`] when the parameters have.
    pub fn keep_if_best(&mut self, metric: f64) -> Result<bool, Error> {
        self.soundness.check()?;
        let is_best = match &self.best {
            _ if metric.is_nan() => false,
            Some(best) => metric < best.metric,
            None => true,
        };
        if is_best {
            self.best = Some(Best {
                metric,
                step: self.steps_taken(),
                parameters: self.network.parameters.clone(),
                state: self.network.state.clone(),
            });
        }
        Ok(is_best)
    }

    /// Metric and step of the parameters that are kept.
    #[must_use]
    pub fn best(&self) -> Option<(f64, u64)> {
        self.best.as_ref().map(|best| (best.metric, best.step))
    }

    /// Takes the parameters that are kept for those of the training: see [`crate::Trainer::restore_best`].
    ///
    /// # Errors
    /// [`Error::Setting`] when none are kept.
    pub fn restore_best(&mut self) -> Result<(), Error> {
        let Some(best) = &self.best else {
            let expected = "kept before, by keep_if_best";
            return Err(Error::setting("parameters to restore", expected, "none"));
        };
        self.network.parameters.clone_from(&best.parameters);
        self.network.state.clone_from(&best.state);
        if self.soundness.has_diverged() {
            self.updater.forget(&self.network);
        }
        self.soundness.begin_anew(self.updater.steps_taken());
        Ok(())
    }
}
