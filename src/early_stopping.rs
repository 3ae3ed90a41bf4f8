//! Stopping a training that no longer improves.

#[cfg(not(target_arch = "wasm32"))]
use crate::data::Examples;
use crate::error::Error;
use crate::metric::Metric;
#[cfg(not(target_arch = "wasm32"))]
use crate::train::Train;

/// Stops a training when a [`Metric`] no longer improves on examples outside of the training data. Stores the best
/// parameters.
///
/// ```
/// use wgrad::data::{Sampling, synthetic};
/// use wgrad::ops::{Sgd, SoftmaxCrossEntropy};
/// use wgrad::{Device, EarlyStopping, Metric, TwoLayerNet};
///
/// let digits = synthetic::digits_of(1, 1000, 200)?;
/// let (loss, optimizer) = (SoftmaxCrossEntropy, Sgd::new(0.1));
/// let sampling = Sampling::Shuffled { seed: 1 };
/// let network = TwoLayerNet::spec(784, 50, 10);
/// let mut trainer = Device::auto().trainer(&network, loss, optimizer, &digits.train, 100, sampling)?;
///
/// let mut stopping = EarlyStopping::new(Metric::Accuracy, 3).evaluations(20);
/// while stopping.goes_on(&mut *trainer, &digits.test)? {
///     trainer.steps(10)?;
/// }
/// trainer.restore_best()?;
/// assert_eq!(stopping.best(), Some(trainer.metric(Metric::Accuracy, &digits.test)?));
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct EarlyStopping {
    metric: Metric,
    patience: usize,
    least: f64,
    evaluations: Option<usize>,
    best: Option<f64>,
    /// The last metric that counted as an improvement.
    reference: Option<f64>,
    latest: Option<f64>,
    since_best: usize,
    made: usize,
}

impl EarlyStopping {
    /// Stops after `patience` evaluations in a row that do not improve on the best evaluation before them. `patience`
    /// is at least 1.
    #[must_use]
    pub const fn new(metric: Metric, patience: usize) -> Self {
        Self {
            metric,
            patience,
            least: 0.0,
            evaluations: None,
            best: None,
            reference: None,
            latest: None,
            since_best: 0,
            made: 0,
        }
    }

    /// Sets how much the metric must improve for an evaluation to count: by more than `least`, a finite number of at
    /// least 0. Default: 0. The parameters are stored after any improvement, however small.
    #[must_use]
    pub const fn least(self, least: f64) -> Self {
        Self { least, ..self }
    }

    /// Stops after `most` evaluations even if the metric still improves.
    #[must_use]
    pub const fn evaluations(self, most: usize) -> Self {
        Self {
            evaluations: Some(most),
            ..self
        }
    }

    /// Evaluates a training and stores its parameters if they are the best so far
    /// ([`Trainer::keep_if_best`](crate::Trainer::keep_if_best)). Returns whether the training should continue. A NaN
    /// metric is never an improvement.
    ///
    /// # Errors
    /// [`Error::Setting`] when a setting is invalid, and the errors of [`Trainer::metric`](crate::Trainer::metric) and
    /// [`Trainer::keep_if_best`](crate::Trainer::keep_if_best).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn goes_on(
        &mut self,
        trainer: &mut (impl Train + ?Sized),
        examples: impl Into<Examples>,
    ) -> Result<bool, Error> {
        self.check()?;
        let metric = trainer.metric(self.metric, &examples.into())?;
        if self.made == 0 {
            // The parameters stored by an earlier training may be the best by another metric.
            trainer.forget_best();
        }
        trainer.keep_if_best(self.lower_is_better(metric))?;
        self.observe(metric)
    }

    /// Takes the metric of the next evaluation, for a program that evaluates by itself. Returns whether the training
    /// should continue.
    ///
    /// # Errors
    /// [`Error::Setting`] when a setting is invalid.
    pub fn observe(&mut self, metric: f64) -> Result<bool, Error> {
        self.check()?;
        self.made += 1;
        self.latest = Some(metric);
        let lower = self.lower_is_better(metric);
        let is_better_than = |other: Option<f64>, by: f64| match other {
            None => !metric.is_nan(),
            Some(other) => lower < self.lower_is_better(other) - by,
        };
        let counts = is_better_than(self.reference, self.least);
        if is_better_than(self.best, 0.0) {
            self.best = Some(metric);
        }
        if counts {
            self.reference = Some(metric);
            self.since_best = 0;
        } else {
            self.since_best += 1;
        }
        let has_more = self.evaluations.is_none_or(|most| self.made < most);
        Ok(has_more && self.since_best < self.patience)
    }

    /// The metric that decides when to stop.
    #[must_use]
    pub const fn metric(&self) -> Metric {
        self.metric
    }

    /// The best metric so far: the metric of the stored parameters.
    #[must_use]
    pub const fn best(&self) -> Option<f64> {
        self.best
    }

    /// The metric of the latest evaluation.
    #[must_use]
    pub const fn latest(&self) -> Option<f64> {
        self.latest
    }

    fn lower_is_better(&self, metric: f64) -> f64 {
        if self.metric.is_higher_better() {
            -metric
        } else {
            metric
        }
    }

    fn check(&self) -> Result<(), Error> {
        if self.patience == 0 {
            let expected = "at least 1 evaluation";
            return Err(Error::setting("patience", expected, 0));
        }
        if self.least.is_finite() && self.least >= 0.0 {
            Ok(())
        } else {
            let expected = "a finite number, 0 or above";
            let name = "least difference that counts as an improvement";
            Err(Error::setting(name, expected, self.least))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::EarlyStopping;
    use crate::metric::Metric;

    fn ends_after(mut stopping: EarlyStopping, metrics: &[f64]) -> usize {
        let mut all = metrics.iter();
        let end = all.position(|&metric| !stopping.observe(metric).unwrap());
        end.map_or(metrics.len(), |at| at + 1)
    }

    #[test]
    fn a_training_ends_when_it_gets_no_better() {
        let accuracy = || EarlyStopping::new(Metric::Accuracy, 2);
        let metrics = [0.5, 0.6, 0.6, 0.7, 0.65, 0.7, 0.9];
        assert_eq!(ends_after(accuracy(), &metrics), 6);
        assert_eq!(ends_after(accuracy().evaluations(3), &metrics), 3);
        // Both are better than 0.5, but not by more than 0.15.
        assert_eq!(
            ends_after(accuracy().least(0.15), &[0.5, 0.6, 0.65, 0.9]),
            3
        );
        let loss = || EarlyStopping::new(Metric::Loss, 2);
        assert_eq!(ends_after(loss(), &metrics), 3);
        assert_eq!(
            ends_after(loss(), &[f64::NAN, 3.0, 2.0, f64::NAN, f64::NAN, 1.0]),
            5
        );
        assert_eq!(ends_after(loss(), &[f64::NAN, f64::NAN, 1.0]), 2);
        assert_eq!(ends_after(loss(), &[f64::INFINITY, 5.0, 4.0]), 3);
    }

    #[test]
    fn what_is_better_by_too_little_is_kept_and_does_not_count() {
        let mut stopping = EarlyStopping::new(Metric::Accuracy, 2).least(0.1);
        assert!(stopping.observe(0.5).unwrap() && stopping.observe(0.55).unwrap());
        assert_eq!(stopping.best(), Some(0.55));
        // 0.62 is better than 0.5 by more than 0.1. It is compared with 0.5 because 0.55 did not count.
        assert!(stopping.observe(0.62).unwrap());
        assert!(stopping.observe(0.6).unwrap() && !stopping.observe(0.61).unwrap());
        assert_eq!(stopping.best(), Some(0.62));
    }

    #[test]
    fn settings_that_make_no_sense_are_told() {
        let told = |mut stopping: EarlyStopping| stopping.observe(1.0).unwrap_err().to_string();
        assert!(told(EarlyStopping::new(Metric::F1, 0)).contains("patience"));
        assert!(told(EarlyStopping::new(Metric::F1, 1).least(f64::NAN)).contains("NaN"));
        assert!(told(EarlyStopping::new(Metric::F1, 1).least(-1.0)).contains("-1"));
    }
}
