use super::schedule::{check_positive, no_steps};
use super::update::to_f32;
use crate::error::{Error, number};

/// A learning rate schedule that rises to the optimizer's learning rate, then falls to almost 0. The rise and the fall
/// each follow half a cosine wave. This is PyTorch's `OneCycleLR` with its defaults, except that it does not change the
/// momentum. Created by [`Schedule::one_cycle`](super::Schedule::one_cycle).
///
/// In a cycle of `n` steps, the first step has the factor `1 / div_factor`, step `pct_start · n − 1` has the factor 1,
/// and the last step and all later steps have the factor `1 / (div_factor · final_div_factor)`. Between two consecutive
/// factors `a` and `b` of these three, the factor is `b + (a − b)/2 · (1 + cos(π·p))` after a fraction `p` of the steps
/// from `a` to `b`.
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
    /// Sets the fraction of the steps, 0 to 1, in which the learning rate rises. The default is 0.3.
    #[must_use]
    pub const fn pct_start(self, pct_start: f64) -> Self {
        Self { pct_start, ..self }
    }

    /// Sets the divisor for the first step: its learning rate is the optimizer's divided by `div_factor`. The default
    /// is 25.
    #[must_use]
    pub const fn div_factor(self, div_factor: f64) -> Self {
        Self { div_factor, ..self }
    }

    /// Sets the divisor for the last step: its learning rate is the first step's divided by `final_div_factor`. The
    /// default is 10,000.
    #[must_use]
    pub const fn final_div_factor(self, final_div_factor: f64) -> Self {
        Self {
            final_div_factor,
            ..self
        }
    }

    /// Returns the text by which a checkpoint identifies the schedule.
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

    /// Returns the factor of the learning rate at a step. Steps are counted from 0.
    pub(super) fn factor(self, step: u64) -> f64 {
        let first = 1.0 / self.div_factor;
        let last = first / self.final_div_factor;
        let end = self.steps.saturating_sub(1);
        let peak = self.pct_start * self.steps as f64 - 1.0;
        let step = step.min(end) as f64;
        if step <= peak {
            // If the peak is step 0, the rise is already over.
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

/// Returns the value after a fraction `part`, 0 to 1, of half a cosine wave from `a` to `b`.
fn wave(a: f64, b: f64, part: f64) -> f64 {
    b + (a - b) / 2.0 * (1.0 + (std::f64::consts::PI * part).cos())
}
