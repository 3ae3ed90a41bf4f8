use std::fmt;
use std::sync::Arc;

use super::one_cycle::OneCycle;
use super::update::to_f32;
use super::{Optimizer, Update};
use crate::error::{Error, number};
use crate::plan::Recorder;
use crate::reference;

/// A learning rate schedule: one factor per step, which multiplies the optimizer's learning rate.
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
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    shape: Shape,
    warm_up: u64,
}

#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Constant,
    Step { every: u64, factor: f64 },
    Cosine { steps: u64 },
    OneCycle(OneCycle),
    Of(Named),
}

impl Schedule {
    /// Returns a schedule with the factor 1 at every step.
    #[must_use]
    pub const fn constant() -> Self {
        Self::with(Shape::Constant)
    }

    /// Returns a schedule whose factor is `factor` to the power of `⌊step / every⌋`, like PyTorch's `StepLR`.
    #[must_use]
    pub const fn step(every: u64, factor: f64) -> Self {
        Self::with(Shape::Step { every, factor })
    }

    /// Returns a schedule along half a cosine wave: the factor is `(1 + cos(π · step / steps)) / 2` up to step `steps`,
    /// and 0 from then on. Up to that step, it equals PyTorch's `CosineAnnealingLR` (Loshchilov, Hutter, "SGDR", 2017).
    #[must_use]
    pub const fn cosine(steps: u64) -> Self {
        Self::with(Shape::Cosine { steps })
    }

    /// Returns a schedule that rises once and falls once within `steps` steps. The methods of [`OneCycle`] change its
    /// settings.
    #[must_use]
    pub const fn one_cycle(steps: u64) -> OneCycle {
        OneCycle {
            steps,
            pct_start: 0.3,
            div_factor: 25.0,
            final_div_factor: 1e4,
        }
    }

    /// Returns a schedule whose factor is any function of the step, counted from 0. The function must return the same
    /// factor whenever it is called with the same step, and must accept every step: on a GPU, it is called up to 256
    /// steps in advance.
    ///
    /// A [checkpoint](crate::checkpoint) identifies the function only by `name`. Give different functions different
    /// names, for example by including their settings.
    ///
    /// If the factor of a step is negative or NaN, the call that would run that step returns [`Error::Setting`] and
    /// runs no steps. If a factor is so large that the learning rate becomes infinite, the training diverges, as with
    /// any learning rate that is too large.
    ///
    /// ```
    /// use wgrad::ops::{Optimizer, Schedule, Sgd};
    ///
    /// let steps = 1000.0;
    /// let line = Schedule::of("a line to 0 at step 1000", move |step| {
    ///     (1.0 - step as f64 / steps).max(0.0)
    /// });
    /// assert_eq!(line.factor(250), 0.75);
    /// let optimizer = Sgd::new(0.1).scheduled(line);
    /// assert_eq!(optimizer.coefficients(500)[0], 0.05);
    /// ```
    #[must_use]
    pub fn of(
        name: impl Into<String>,
        function: impl Fn(u64) -> f64 + Send + Sync + 'static,
    ) -> Self {
        Self::with(Shape::Of(Named {
            name: name.into(),
            function: Arc::new(function),
        }))
    }

    const fn with(shape: Shape) -> Self {
        Self { shape, warm_up: 0 }
    }

    /// Adds a warm-up: in the first `steps` steps, the factor rises linearly to 1. Only then does the schedule itself
    /// start, with its step 0: for `n` steps in all, use `Schedule::cosine(n - steps).warm_up(steps)`.
    #[must_use]
    pub const fn warm_up(mut self, steps: u64) -> Self {
        self.warm_up = steps;
        self
    }

    /// Returns the factor at a step. Steps are counted from 0.
    #[must_use]
    pub fn factor(&self, step: u64) -> f64 {
        if step < self.warm_up {
            return (step + 1) as f64 / self.warm_up as f64;
        }
        let step = step - self.warm_up;
        match &self.shape {
            Shape::Constant => 1.0,
            Shape::Step { every, factor } => factor.powf((step / every.max(&1)) as f64),
            &Shape::Cosine { steps } if step >= steps => 0.0,
            &Shape::Cosine { steps } => {
                (1.0 + (std::f64::consts::PI * step as f64 / steps as f64).cos()) / 2.0
            }
            Shape::OneCycle(cycle) => cycle.factor(step),
            Shape::Of(Named { function, .. }) => function(step),
        }
    }

    /// Returns the text by which a checkpoint identifies the schedule.
    fn describe(&self) -> String {
        let shape = match &self.shape {
            Shape::Constant => "Constant".to_owned(),
            Shape::Step { every, factor } => {
                format!("Step {{ every: {every}, factor: {factor:?} }}")
            }
            Shape::Cosine { steps } => format!("Cosine {{ steps: {steps} }}"),
            Shape::OneCycle(cycle) => cycle.describe(),
            Shape::Of(Named { name, .. }) => format!("{name:?}"),
        };
        format!("Schedule {{ shape: {shape}, warm_up: {} }}", self.warm_up)
    }

    fn check(&self) -> Result<(), Error> {
        match &self.shape {
            Shape::Step { every: 0, .. } | Shape::Cosine { steps: 0 } => Err(no_steps()),
            Shape::Step { factor, .. } => check_positive("factor of a schedule", *factor),
            Shape::OneCycle(cycle) => cycle.check(),
            Shape::Constant | Shape::Cosine { .. } | Shape::Of(_) => Ok(()),
        }
    }
}

pub(super) fn no_steps() -> Error {
    Error::setting("number of steps of a schedule", "at least 1", 0)
}

pub(super) fn check_positive(name: &str, value: f64) -> Result<(), Error> {
    if value.is_finite() && value > 0.0 {
        Ok(())
    } else {
        Err(Error::setting(
            name,
            "a finite number above 0",
            number(to_f32(value)),
        ))
    }
}

impl From<OneCycle> for Schedule {
    fn from(cycle: OneCycle) -> Self {
        Self::with(Shape::OneCycle(cycle))
    }
}

/// A function, identified by its name.
#[derive(Clone)]
struct Named {
    name: String,
    function: Arc<dyn Fn(u64) -> f64 + Send + Sync>,
}

/// Prints only the name, because the function's address differs between runs of a program.
impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.name, f)
    }
}

/// Two functions are equal if one is a clone of the other.
impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.function, &other.function)
    }
}

/// An optimizer whose learning rate follows a [`Schedule`]; made by [`Optimizer::scheduled`].
#[derive(Debug, Clone, PartialEq)]
pub struct Scheduled<O> {
    pub(super) optimizer: O,
    pub(super) schedule: Schedule,
}

impl<O: Optimizer> Optimizer for Scheduled<O> {
    fn describe(&self) -> String {
        let optimizer = self.optimizer.describe();
        let schedule = self.schedule.describe();
        format!("Scheduled {{ optimizer: {optimizer}, schedule: {schedule} }}")
    }

    fn learning_rate(&self) -> f32 {
        self.optimizer.learning_rate()
    }

    fn with_learning_rate(&self, learning_rate: f32) -> Arc<dyn Optimizer> {
        Arc::new(Scheduled {
            optimizer: self.optimizer.with_learning_rate(learning_rate),
            schedule: self.schedule.clone(),
        })
    }

    fn decay(&self) -> f32 {
        self.optimizer.decay()
    }

    fn has_weight_decay(&self) -> bool {
        self.optimizer.has_weight_decay()
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
        // GPUs may treat subnormal numbers as 0, so they become 0 on every device.
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
