use std::ops::RangeInclusive;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::reference::Float;

/// A generator of random numbers, which are the same on every machine.
#[derive(Debug)]
pub(crate) struct Numbers(ChaCha8Rng);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.bits() as usize % end
    }

    pub(crate) fn uniform(&mut self, low: f32, high: f32) -> f32 {
        let share = f64::from(self.bits()) / f64::from(u32::MAX);
        f32::from_f64(f64::from(low) + share * (f64::from(high) - f64::from(low))).clamp(low, high)
    }

    /// Draws a number whose magnitude is between 1 and one of the ends of the range, uniform on a logarithmic scale: as
    /// often between 1 and 2 as between 2 and 4.
    fn of_any_size(&mut self, range: &RangeInclusive<f32>) -> f32 {
        let end = [range.start(), range.end()][self.below(2)];
        let exponent = self.uniform(0.0, end.abs().max(1.0).log2());
        exponent
            .exp2()
            .copysign(*end)
            .clamp(*range.start(), *range.end())
    }

    /// Draws a number for a minibatch. A quarter of these numbers are zeros and other repeated values, an eighth are
    /// round, large or tiny numbers, and an eighth have any magnitude between 1 and the largest.
    pub(crate) fn input(&mut self, range: &RangeInclusive<f32>) -> f32 {
        const REPEATED: [f32; 6] = [0.0, 0.0, -0.0, 1.0, -1.0, 2.0];
        const EXTREME: [f32; 8] = [10.0, -10.0, 30.0, -30.0, 100.0, -100.0, 1e-3, -1e-30];
        let special = match self.below(8) {
            0 | 1 => REPEATED.get(self.below(REPEATED.len())),
            2 => EXTREME.get(self.below(EXTREME.len())),
            _ => None,
        };
        if let Some(&special) = special
            && range.contains(&special)
        {
            return special;
        }
        if special.is_none() && self.below(5) == 0 {
            return self.of_any_size(range);
        }
        let low = range.start().max(-4.0);
        let high = range.end().min(4.0);
        if low < high {
            self.uniform(low, high)
        } else {
            self.uniform(*range.start(), *range.end())
        }
    }
}
