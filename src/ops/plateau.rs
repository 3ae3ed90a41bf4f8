use super::update::to_f32;
use crate::error::{Error, number};

/// Lowers the learning rate when a number, such as a loss over examples that are not trained on, no longer gets better:
/// PyTorch's `ReduceLROnPlateau`, with its defaults, as a factor of the rate. The program says each value, and gives the
/// trainer its rate times the factor.
///
/// A value is better than the best so far when it is below `best · (1 − threshold)`, or above `best · (1 + threshold)`
/// where the highest is best. After more than `patience` values in a row that are not better the factor is multiplied by
/// [`factor`](Self::factor), and the count begins anew. (PyTorch's leaves the rate where it would be lower by 1e-8 at
/// most; here it goes on down to [`min_factor`](Self::min_factor).)
///
/// A [checkpoint](crate::checkpoint) knows nothing of it: a program that resumes says the values from before again, as
/// the same values give the same factor.
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
    /// Values since then that were not better, or since the factor changed.
    bad: u64,
    /// Values that are yet to come which do not count as bad.
    cooling: u64,
    now: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Best {
    Lowest,
    Highest,
}

impl Plateau {
    /// Of a number that is to become lower, as a loss.
    #[must_use]
    pub const fn lowest() -> Self {
        Self::new(Best::Lowest, f64::INFINITY)
    }

    /// Of a number that is to become higher, as an accuracy.
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

    /// What the rate is multiplied by; above 0 and below 1, 0.1 by default.
    #[must_use]
    pub const fn factor(self, factor: f64) -> Self {
        Self { factor, ..self }
    }

    /// How many values in a row may be no better; 10 by default.
    #[must_use]
    pub const fn patience(self, patience: u64) -> Self {
        Self { patience, ..self }
    }

    /// The part of the best value by which another has to be better; at least 0 and below 1, 1e-4 by default.
    #[must_use]
    pub const fn threshold(self, threshold: f64) -> Self {
        Self { threshold, ..self }
    }

    /// How many values after a change of the rate do not count as bad; 0 by default.
    #[must_use]
    pub const fn cooldown(self, cooldown: u64) -> Self {
        Self { cooldown, ..self }
    }

    /// The least that [`observe`](Self::observe) returns, PyTorch's `min_lr` by the rate at the start; 0 to 1, 0 by
    /// default.
    #[must_use]
    pub const fn min_factor(self, min_factor: f64) -> Self {
        Self { min_factor, ..self }
    }

    /// Takes note of a value; returns the factor of the rate from now on. NaN is no better than anything.
    ///
    /// # Errors
    /// [`Error::Setting`] when a setting is outside of what it may be; then nothing is noted.
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
