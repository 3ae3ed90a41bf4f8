use super::update::to_f32;
use crate::error::{Error, number};

/// Lowers the learning rate when a number, such as a validation loss, no longer improves.
///
/// This is PyTorch's `ReduceLROnPlateau` with its defaults, except that it returns a factor instead of changing the
/// learning rate. The program passes each value to [`observe`](Self::observe), and sets the trainer's learning rate to
/// the initial learning rate times the returned factor.
///
/// For a plateau from [`lowest`](Self::lowest), a value is an improvement if it is below `best · (1 − threshold)`; for
/// one from [`highest`](Self::highest), if it is above `best · (1 + threshold)`. After more than `patience` values in a
/// row without an improvement, the returned factor is multiplied by [`factor`](Self::factor), and the count restarts.
/// (PyTorch does not lower the learning rate if it would change by at most 1e-8; here the factor falls until it reaches
/// [`min_factor`](Self::min_factor).)
///
/// A [checkpoint](crate::checkpoint) does not contain the state of a `Plateau`. A program that resumes a training
/// passes the earlier values to [`observe`](Self::observe) again: the same values give the same factor.
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
    /// Number of values in a row without an improvement. Reset to 0 when the factor changes, and during the cooldown.
    bad: u64,
    /// Number of values that are still to come in the cooldown.
    cooling: u64,
    now: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Best {
    Lowest,
    Highest,
}

impl Plateau {
    /// Creates a plateau for a number that should fall, such as a loss.
    #[must_use]
    pub const fn lowest() -> Self {
        Self::new(Best::Lowest, f64::INFINITY)
    }

    /// Creates a plateau for a number that should rise, such as an accuracy.
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

    /// Sets the number, above 0 and below 1, by which the returned factor is multiplied at each reduction. The default
    /// is 0.1.
    #[must_use]
    pub const fn factor(self, factor: f64) -> Self {
        Self { factor, ..self }
    }

    /// Sets the patience: the number of values in a row that may be without an improvement. The default is 10.
    #[must_use]
    pub const fn patience(self, patience: u64) -> Self {
        Self { patience, ..self }
    }

    /// Sets the threshold: the fraction of the best value by which a value must be better to be an improvement. At
    /// least 0 and below 1; the default is 1e-4.
    #[must_use]
    pub const fn threshold(self, threshold: f64) -> Self {
        Self { threshold, ..self }
    }

    /// Sets the cooldown: the number of values after a reduction that do not count against the patience. The default is
    /// 0.
    #[must_use]
    pub const fn cooldown(self, cooldown: u64) -> Self {
        Self { cooldown, ..self }
    }

    /// Sets the lowest factor that [`observe`](Self::observe) returns, 0 to 1: PyTorch's `min_lr` divided by the
    /// initial learning rate. The default is 0.
    #[must_use]
    pub const fn min_factor(self, min_factor: f64) -> Self {
        Self { min_factor, ..self }
    }

    /// Takes the next value, and returns the factor of the learning rate from now on. NaN is never an improvement.
    ///
    /// # Errors
    /// [`Error::Setting`] if a setting is out of range. The value is then ignored.
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
