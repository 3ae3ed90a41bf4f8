use std::sync::Arc;

use super::update::to_f32;
use super::{Optimizer, Update};
use crate::error::{Error, number};
use crate::plan::Recorder;
use crate::reference;

/// How the learning rate changes from step to step: a factor of the optimizer's own.
///
/// ```
/// use wgrad::ops::{Adam, Optimizer, Schedule};
///
/// let schedule = Schedule::cosine(10_000).warm_up(500);
/// assert_eq!((schedule.factor(499), schedule.factor(500)), (1.0, 1.0));
/// assert!(schedule.factor(9_000) < 0.1);
/// let optimizer = Adam::new(1e-3).scheduled(schedule);
/// # let _ = optimizer;
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    shape: Shape,
    warm_up: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    Constant,
    Step { every: u64, factor: f64 },
    Cosine { steps: u64 },
}

impl Schedule {
    /// 1 at every step.
    #[must_use]
    pub const fn constant() -> Self {
        Self::of(Shape::Constant)
    }

    /// `factor` to the power of `step / every`, rounded down, as PyTorch's `StepLR`.
    #[must_use]
    pub const fn step(every: u64, factor: f64) -> Self {
        Self::of(Shape::Step { every, factor })
    }

    /// Half a wave, `(1 + cos(π · step / steps)) / 2`, and 0 from `steps` on, as PyTorch's
    /// `CosineAnnealingLR` until then (Loshchilov, Hutter, "SGDR", 2017).
    #[must_use]
    pub const fn cosine(steps: u64) -> Self {
        Self::of(Shape::Cosine { steps })
    }

    const fn of(shape: Shape) -> Self {
        Self { shape, warm_up: 0 }
    }

    /// Begins with so many steps in which the factor rises in a line to 1; what comes then counts its
    /// steps from there: for `n` steps in all, `Schedule::cosine(n - steps).warm_up(steps)`.
    #[must_use]
    pub const fn warm_up(self, steps: u64) -> Self {
        Self {
            warm_up: steps,
            ..self
        }
    }

    /// The factor of a step, counted from 0.
    #[must_use]
    pub fn factor(&self, step: u64) -> f64 {
        if step < self.warm_up {
            return (step + 1) as f64 / self.warm_up as f64;
        }
        let step = step - self.warm_up;
        match self.shape {
            Shape::Constant => 1.0,
            Shape::Step { every, factor } => factor.powf((step / every.max(1)) as f64),
            Shape::Cosine { steps } if step >= steps => 0.0,
            Shape::Cosine { steps } => {
                (1.0 + (std::f64::consts::PI * step as f64 / steps as f64).cos()) / 2.0
            }
        }
    }

    /// By which a checkpoint knows it.
    fn describe(&self) -> String {
        let shape = match self.shape {
            Shape::Constant => "Constant".to_owned(),
            Shape::Step { every, factor } => {
                format!("Step {{ every: {every}, factor: {factor:?} }}")
            }
            Shape::Cosine { steps } => format!("Cosine {{ steps: {steps} }}"),
        };
        format!("Schedule {{ shape: {shape}, warm_up: {} }}", self.warm_up)
    }

    fn check(&self) -> Result<(), Error> {
        match self.shape {
            Shape::Step { every: 0, .. } => {
                Err(Error::setting("steps of a schedule", "at least 1", 0))
            }
            Shape::Step { factor, .. } if !(factor.is_finite() && factor > 0.0) => {
                let expected = "a finite number above 0";
                Err(Error::setting(
                    "factor of a schedule",
                    expected,
                    number(to_f32(factor)),
                ))
            }
            Shape::Cosine { steps: 0 } => {
                Err(Error::setting("steps of a schedule", "at least 1", 0))
            }
            _ => Ok(()),
        }
    }
}

/// An optimizer whose learning rate follows a [`Schedule`]; made by [`Optimizer::scheduled`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scheduled<O> {
    pub(super) optimizer: O,
    pub(super) schedule: Schedule,
}

impl<O: Optimizer> Optimizer for Scheduled<O> {
    fn describe(&self) -> String {
        let (optimizer, schedule) = (self.optimizer.describe(), self.schedule.describe());
        format!("Scheduled {{ optimizer: {optimizer}, schedule: {schedule} }}")
    }

    fn learning_rate(&self) -> f32 {
        self.optimizer.learning_rate()
    }

    fn with_learning_rate(&self, learning_rate: f32) -> Arc<dyn Optimizer> {
        Arc::new(Scheduled {
            optimizer: self.optimizer.with_learning_rate(learning_rate),
            schedule: self.schedule,
        })
    }

    fn decay(&self) -> f32 {
        self.optimizer.decay()
    }

    fn check(&self) -> Result<(), Error> {
        self.optimizer.check()?;
        self.schedule.check()
    }

    fn state(&self) -> &'static [&'static str] {
        self.optimizer.state()
    }

    fn coefficients(&self, step: u64) -> [f32; 4] {
        let [rate, rest @ ..] = self.optimizer.coefficients(step);
        let rate = to_f32(f64::from(rate) * self.schedule.factor(step));
        // As GPUs may take it.
        let rate = if rate.is_subnormal() { 0.0 } else { rate };
        [rate, rest[0], rest[1], rest[2]]
    }

    fn update(&self, recorder: &mut Recorder<'_>, pass: Update<'_>) -> Result<(), Error> {
        self.optimizer.update(recorder, pass)
    }

    fn reference(&self) -> reference::Rule {
        self.optimizer.reference()
    }
}
