//! Scales numbers to about mean 0 and standard deviation 1.

use super::super::CellFault;

/// The scale of a column. It converts a number x to z = (x − mean) / deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub(super) mean: f64,
    /// Standard deviation √(Σ (x − mean)² / n), which is not 0.
    pub(super) deviation: f64,
}

impl Scale {
    /// Scales a number. It computes in `f64`: with a large mean, the difference would lose most digits in `f32`.
    pub(super) fn scaled(&self, x: f64) -> f32 {
        let z = (x - self.mean) / self.deviation;
        #[expect(clippy::cast_possible_truncation, reason = "the nearest f32")]
        let z = z as f32;
        z
    }

    /// Scales the number of a field. Fails if the result is too large for an `f32`.
    pub(super) fn scaled_field(&self, x: f64, field: &str) -> Result<f32, CellFault> {
        let z = self.scaled(x);
        if z.is_finite() {
            Ok(z)
        } else {
            Err(CellFault::TooFar {
                found: field.to_owned(),
                mean: self.mean,
                deviation: self.deviation,
            })
        }
    }

    /// Returns the number whose scaled value is z.
    pub(super) fn unscaled(&self, z: f32) -> f32 {
        #[expect(clippy::cast_possible_truncation, reason = "the nearest f32")]
        let x = (f64::from(z) * self.deviation + self.mean) as f32;
        x
    }
}

/// Computes the mean and standard deviation of a sequence of numbers, by Welford's recurrence (1962). It needs no
/// second pass and loses no precision to the subtraction of large sums.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread {
    pub(super) count: u64,
    mean: f64,
    /// Sum of squared deviations: Σ (x − mean)².
    squares: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Spread {
    pub(super) fn new() -> Self {
        Self {
            count: 0,
            mean: 0.0,
            squares: 0.0,
            least: f64::INFINITY,
            most: f64::NEG_INFINITY,
        }
    }

    pub(super) fn add(&mut self, x: f64) {
        self.count += 1;
        let before = x - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (x - self.mean);
        self.least = self.least.min(x);
        self.most = self.most.max(x);
    }

    /// Whether all numbers are equal, or there are none.
    pub(super) fn is_constant(&self) -> bool {
        self.least >= self.most
    }

    /// Returns the scale. `None` if the sum of squared deviations does not fit in an `f64`: it overflows, or is 0
    /// although the numbers differ.
    pub(super) fn scale(&self) -> Option<Scale> {
        let scale = Scale {
            mean: self.mean,
            deviation: (self.squares / self.count as f64).sqrt(),
        };
        scale.is_sound().then_some(scale)
    }
}

impl Scale {
    /// Whether the mean is finite and the standard deviation is finite and above 0.
    pub(super) fn is_sound(&self) -> bool {
        self.mean.is_finite() && self.deviation.is_finite() && self.deviation > 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::{Scale, Spread};

    #[test]
    fn a_large_mean_leaves_the_deviation() {
        let mut spread = Spread::new();
        for x in [4.0, 7.0, 13.0, 16.0] {
            spread.add(1e9 + x);
        }
        let scale = Scale {
            mean: 1e9 + 10.0,
            deviation: 22.5f64.sqrt(),
        };
        assert_eq!(spread.scale(), Some(scale));
        assert_eq!(scale.unscaled(scale.scaled(1e9 + 4.0)), 1e9 + 4.0);
    }

    #[test]
    fn numbers_whose_squares_have_no_room_have_no_scale() {
        for pair in [[-1e308, 1e308], [0.0, 1e200], [1e-200, 2e-200]] {
            let mut spread = Spread::new();
            pair.into_iter().for_each(|x| spread.add(x));
            assert!(!spread.is_constant());
            assert_eq!(spread.scale(), None, "{pair:?}");
        }
    }
}
