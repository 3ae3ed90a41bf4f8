use super::schedule::{check_positive, no_steps};
use super::update::to_f32;
use crate::error::{Error, number};

/// The learning rate rises to the optimizer's own and falls to almost 0, each by half a wave of a cosine, as PyTorch's
/// `OneCycleLR` with its defaults; no momentum is cycled. Made by [`Schedule::one_cycle`](super::Schedule::one_cycle).
///
/// With `n` steps the first has `1 / div_factor` of the rate, step `pct_start · n − 1` all of it, and the last and those
/// after it `1 / (div_factor · final_div_factor)`. From `a` to `b` the factor of the part `p` is
/// `b + (a − b)/2 · (1 + cos(π·p))`.
///
/// Smith, Topin, "Super-convergence: very fast training of neural networks using large learning rates", 2018.
///
/// ```
/// use wgrad::ops::{AdamW, Optimizer, Schedule};
///
/// let cycle = Schedule::one_cycle(1000).pct_start(0.2).div_factor(10.0);
/// let schedule = Schedule::from(cycle);
/// for (step, factor) in [(0, 0.1), (199, 1.0), (999, 1e-5)] {
///     assert!((schedule.factor(step) - factor).abs() < 1e-15);
/// }
/// let optimizer = AdamW::new(0.01).scheduled(cycle);
/// # assert!(optimizer.check().is_ok());
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OneCycle {
    pub(super) steps: u64,
    pub(super) pct_start: f64,
    pub(super) div_factor: f64,
    pub(super) final_div_factor: f64,
}

impl OneCycle {
    /// The part of the steps, 0 to 1, in which the rate rises; 0.3 by default.
    #[must_use]
    pub const fn pct_start(self, pct_start: f64) -> Self {
        Self { pct_start, ..self }
    }

    /// What the optimizer's rate is divided by in the first step; 25 by default.
    #[must_use]
    pub const fn div_factor(self, div_factor: f64) -> Self {
        Self { div_factor, ..self }
    }

    /// What the first step's rate is divided by in the last; 10,000 by default.
    #[must_use]
    pub const fn final_div_factor(self, final_div_factor: f64) -> Self {
        Self {
            final_div_factor,
            ..self
        }
    }

    /// By which a checkpoint knows it.
    pub(super) fn describe(self) -> String {
        let Self {
            steps,
            pct_start,
            div_factor,
            final_div_factor,
        } = self;
        format!(
            "OneCycle {{ steps: {steps}, pct_start: {pct_start:?}, div_factor: {div_factor:?}, \
             final_div_factor: {final_div_factor:?} }}"
        )
    }

    /// The factor of a step, counted from 0.
    pub(super) fn factor(self, step: u64) -> f64 {
        let first = 1.0 / self.div_factor;
        let last = first / self.final_div_factor;
        let end = self.steps.saturating_sub(1);
        let peak = self.pct_start * self.steps as f64 - 1.0;
        let step = step.min(end) as f64;
        if step <= peak {
            // A rise of no steps is over.
            let part = if peak > 0.0 { step / peak } else { 1.0 };
            return wave(first, 1.0, part);
        }
        wave(1.0, last, (step - peak) / (end as f64 - peak))
    }

    pub(super) fn check(self) -> Result<(), Error> {
        if self.steps == 0 {
            return Err(no_steps());
        }
        if !(0.0..=1.0).contains(&self.pct_start) {
            let found = number(to_f32(self.pct_start));
            return Err(Error::setting("pct_start of a schedule", "0 to 1", found));
        }
        check_positive("div_factor of a schedule", self.div_factor)?;
        check_positive("final_div_factor of a schedule", self.final_div_factor)
    }
}

/// From `a` to `b`, of which a part, 0 to 1, is done.
fn wave(a: f64, b: f64, part: f64) -> f64 {
    b + (a - b) / 2.0 * (1.0 + (std::f64::consts::PI * part).cos())
}
