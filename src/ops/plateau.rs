use super::update::to_f32;
use crate::error::{Error, number};

/// Lowers the learning rate when a number, such as a validation loss, no longer improves.
///
/// This is PyTorch's `ReduceLROnPlateau`, with its defaults, as a factor of the rate. The program reports each value,
/// and sets the trainer's rate to its initial rate times the factor.
///
/// A value is better than the best so far if it is below `best · (1 − threshold)`, or above `best · (1 + threshold)`
/// where the highest is best. After more than `patience` values in a row that are not better, the factor is multiplied
/// by [`factor`](Self::factor), and the count restarts. (PyTorch keeps the rate if the change would be at most 1e-8;
/// here the rate goes down to [`min_factor`](Self::min_factor).)
///
/// A [checkpoint](crate::checkpoint) does not contain it. A program that resumes reports the earlier values again: the
/// same values give the same factor.
///
/// ```
/// use wgrad::ops::Plateau;
///
/// let mut plateau = Plateau::lowest().factor(0.5).patience(1);
/// // The last two are not better than 0.7.
/// let factors = [0.9, 0.7, 0.8, 0.7].map(|loss| plateau.observe(loss));
/// let factors = factors.into_iter().collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(factors, [1.0, 1.0, 1.0, 0.5]);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Plateau {
    best_is: Best,
    factor: f64,
    patience: u64,
    threshold: f64,
    cooldown: u64,
    min_factor: f64,
    /// The best value so far.
    best: f64,
    /// Consecutive values that were not better. Reset by a change of the factor and during the cooldown.
    bad: u64,
    /// Values still to come that do not count as bad.
    cooling: u64,
    now: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Best {
    Lowest,
    Highest,
}

impl Plateau {
    /// Watches a number that should become lower, such as a loss.
    #[must_use]
    pub const fn lowest() -> Self {
        Self::new(Best::Lowest, f64::INFINITY)
    }

    /// Watches a number that should become higher, such as an accuracy.
    #[must_use]
    pub const fn highest() -> Self {
        Self::new(Best::Highest, f64::NEG_INFINITY)
    }

    const fn new(best_is: Best, worst: f64) -> Self {
        Self {
            best_is,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            cooldown: 0,
            min_factor: 0.0,
            best: worst,
            bad: 0,
            cooling: 0,
            now: 1.0,
        }
    }

    /// The number by which the rate is multiplied; above 0 and below 1, by default 0.1.
    #[must_use]
    pub const fn factor(self, factor: f64) -> Self {
        Self { factor, ..self }
    }

    /// How many values in a row may be no better; by default 10.
    #[must_use]
    pub const fn patience(self, patience: u64) -> Self {
        Self { patience, ..self }
    }

    /// The fraction of the best value by which a value must be better; at least 0 and below 1, by default 1e-4.
    #[must_use]
    pub const fn threshold(self, threshold: f64) -> Self {
        Self { threshold, ..self }
    }

    /// How many values after a change of the rate do not count as bad; by default 0.
    #[must_use]
    pub const fn cooldown(self, cooldown: u64) -> Self {
        Self { cooldown, ..self }
    }

    /// The lowest factor that [`observe`](Self::observe) returns: PyTorch's `min_lr` divided by the initial rate. 0 to
    /// 1, by default 0.
    #[must_use]
    pub const fn min_factor(self, min_factor: f64) -> Self {
        Self { min_factor, ..self }
    }

    /// Reports a value, and returns the factor of the rate from now on. NaN is never better.
    ///
    /// # Errors
    /// [`Error::Setting`] if a setting is out of range; the value is then not counted.
    pub fn observe(&mut self, value: f64) -> Result<f64, Error> {
        self.check()?;
        let is_better = match self.best_is {
            Best::Lowest => value < self.best * (1.0 - self.threshold),
            Best::Highest => value > self.best * (1.0 + self.threshold),
        };
        if is_better {
            self.best = value;
            self.bad = 0;
        } else {
            self.bad += 1;
        }
        if self.cooling > 0 {
            self.cooling -= 1;
            self.bad = 0;
        }
        if self.bad > self.patience {
            self.now = (self.now * self.factor).max(self.min_factor);
            self.cooling = self.cooldown;
            self.bad = 0;
        }
        Ok(self.now)
    }

    fn check(&self) -> Result<(), Error> {
        let factor = self.factor;
        let threshold = self.threshold;
        let settings = [
            (
                "factor",
                factor,
                factor > 0.0 && factor < 1.0,
                "above 0 and below 1",
            ),
            (
                "threshold",
                threshold,
                (0.0..1.0).contains(&threshold),
                "at least 0 and below 1",
            ),
            (
                "min_factor",
                self.min_factor,
                (0.0..=1.0).contains(&self.min_factor),
                "0 to 1",
            ),
        ];
        for (name, found, is_fine, expected) in settings {
            if !is_fine {
                let found = number(to_f32(found));
                return Err(Error::setting(
                    format!("{name} of a plateau"),
                    expected,
                    found,
                ));
            }
        }
        Ok(())
    }
}
