//! An optimizer checked in one call: its kernels against their WGSL, the GPU against the reference, the reference
//! against what holds of every rule.
//!
//! # How far apart GPU and reference may be
//!
//! Every step of the reference begins with what the GPU's last step has left, so that the bound is that of one
//! update. The check knows no formula. An element that an update takes from `u` to `v`, by the reference in `f64`,
//! may be off by the sum of
//!
//! - `tolerance · |v − u|`, by default 1e-5: WGSL lets a division be off by 2.5 ULP (3e-7) and a root by 4.5, an `exp`
//!   or a `pow` by more;
//! - what the result moves by when one kind of operand moves by 8 roundings to one side or the other, summed over the
//!   kinds: parameters, gradients, each value of the state, the learning rate. A result that depends on other
//!   elements, as by a norm over `n`, is a sum: there it is `8·√n` roundings;
//! - 1.2e-38, below which GPUs may take a number for 0.
//!
//! There is no absolute part: where a parameter is 0 the bound is relative to the step alone, so that a formula that is
//! off by a thousandth of a step is seen however small the learning rate. The reference in `f32` is held to the same.
//!
//! # What holds of every rule
//!
//! A rule has no derivative to compare with differences. The reference must do what any rule does:
//!
//! - with the same operands it gives the same result twice;
//! - with a learning rate of 0, from a state of zeros and with a weight decay of 0, it moves no parameter. (A decay
//!   that does not depend on the learning rate is allowed, and so is a velocity that the learning rate is part of.)
//! - the sum of `p²/2` over parameters `p`, of which the gradient is `p`, is lower after some steps with a small
//!   learning rate: a sign that is wrong in the WGSL and in the reference alike is seen there.

mod case;
mod compare;
mod on_gpu;
mod stated;
mod twin;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

pub use crate::check::{Check, Comparison};
use crate::check::{
    FOLDED, Kernels, SHAPES, Sanitizing, caught, check_memory, check_settings, write_table,
};
use crate::error::Error;
pub use crate::error::{CheckError, Followed, OptimizerFault, Pass, Place};
use crate::gpu::Gpu;
use crate::ops::Optimizer;
use crate::sanitize::{Sanitized, Sanitizer};
use crate::shape::TensorShape;
use case::{At, Case, footprints};
use compare::Compare;
use on_gpu::{OnGpu, Taken};
use twin::Twin;

/// The fewest steps from the first on: gradients that are others, the same again, and zero are among them.
const LEAST_STEPS: u64 = 5;

/// Elements of parameters in groups, where the check chooses them: few enough to be sanitized.
const GROUPED: usize = 128;

/// Checks an optimizer as [`OptimizerCheck`] does by default.
///
/// ```
/// use wgrad::ops::{Adam, Optimizer};
/// use wgrad::{Gpu, check_optimizer};
///
/// let report = check_optimizer(&Gpu::new()?, &Adam::new(1e-3).clip_norm(1.0))?;
/// assert_eq!(report.kernels[3], "adam::update");
/// println!("{report}");
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// # Errors
/// As [`OptimizerCheck::run`].
pub fn check_optimizer(gpu: &Gpu, optimizer: &dyn Optimizer) -> Result<OptimizerReport, Error> {
    OptimizerCheck::default().run(gpu, optimizer)
}

/// How an optimizer is checked.
///
/// ```
/// use wgrad::ops::Sgd;
/// use wgrad::{Gpu, OptimizerCheck};
///
/// let check = OptimizerCheck::default().shapes([[3, 7], [1, 65]]).gradients(-1.0..=1.0).tolerance(1e-6);
/// let report = check.run(&Gpu::new()?, &Sgd::new(0.1).momentum(0.9))?;
/// assert!(report.rows.iter().all(|row| row.difference <= row.bound));
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct OptimizerCheck {
    /// None: those that are known to make trouble.
    shapes: Option<Vec<TensorShape>>,
    parameters: RangeInclusive<f32>,
    gradients: RangeInclusive<f32>,
    steps: u64,
    descent: (u64, f32),
    tolerance: f64,
    sanitizing: Sanitizing,
}

impl Default for OptimizerCheck {
    fn default() -> Self {
        Self {
            shapes: None,
            parameters: -100.0..=100.0,
            gradients: -100.0..=100.0,
            steps: 6,
            descent: (100, 1e-3),
            tolerance: 1e-5,
            sanitizing: Sanitizing::default(),
        }
    }
}

impl OptimizerCheck {
    /// Shapes of parameters to try: each alone, and in turns as parameters of seven groups. Default: one element, odd
    /// ones, some around a workgroup of 64, and, for one step, 2053×2053, which is more than one dispatch dimension
    /// holds.
    #[must_use]
    pub fn shapes(mut self, shapes: impl IntoIterator<Item = impl Into<TensorShape>>) -> Self {
        self.shapes = Some(shapes.into_iter().map(Into::into).collect());
        self
    }

    /// Values that parameters may have before the first step. Default: −100…100, most of them in −4…4, with zeros of
    /// both signs and repeats.
    #[must_use]
    pub fn parameters(mut self, parameters: RangeInclusive<f32>) -> Self {
        self.parameters = parameters;
        self
    }

    /// Values that gradients may have; drawn in the same way.
    #[must_use]
    pub fn gradients(mut self, gradients: RangeInclusive<f32>) -> Self {
        self.gradients = gradients;
        self
    }

    /// Steps from the first on, at least 5, two late ones (1,000,003 and the next) after them. Default: 6.
    #[must_use]
    pub fn steps(mut self, steps: u64) -> Self {
        self.steps = steps;
        self
    }

    /// Steps of the reference after which the sum of `p²/2` must be lower than before, and their learning rate.
    /// Default: 100 with 0.001. 0 steps leave it out, for what is not meant to descend.
    #[must_use]
    pub fn descent(mut self, steps: u64, learning_rate: f32) -> Self {
        self.descent = (steps, learning_rate);
        self
    }

    /// How updates are [sanitized](crate::sanitize()) whose tensors have no more elements than this, all together.
    /// Default: 4,096 elements, in three orders, not compared with the device. 0 leaves it out.
    #[must_use]
    pub fn sanitized(mut self, elements: usize, sanitizer: Sanitizer) -> Self {
        self.sanitizing = Sanitizing {
            sanitizer,
            elements,
        };
        self
    }

    /// What a result may be off by, relative to its change: see [the module](self). Default: 1e-5.
    #[must_use]
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Checks an optimizer, in this order:
    ///
    /// 1. [`Optimizer::check`] takes its settings; its text, the names of its state and what
    ///    [`Optimizer::with_learning_rate`] returns fit together;
    /// 2. *contract*: every kernel that it dispatches declares what its WGSL says;
    /// 3. nothing is written outside of parameters and state, gradients change only where the reference's
    ///    [`prepare`](crate::reference::Optimizer::prepare) changes them, nothing of a frozen parameter does, no result
    ///    is NaN, and the same step gives the same bits twice;
    /// 4. the reference does what [holds of every rule](self);
    /// 5. every parameter and all that is kept of it is after each step what the reference makes of it in `f64`: of
    ///    one parameter; of several in blocks and groups, which have a multiple of the learning rate, a weight decay
    ///    of their own or none, or are frozen; and of one in more than one dispatch dimension.
    ///
    /// Steps begin with the first. Coefficients lie in a ring of five rows, of which all but that of the step are NaN.
    /// One step has those of the optimizer with half the learning rate, as after
    /// [`Trainer::set_learning_rate`](crate::Trainer::set_learning_rate); one has the gradients of the step before, one
    /// has gradients of 0.
    ///
    /// # Errors
    /// [`Error::Check`] with the first thing that is wrong, what [`Optimizer::check`] and
    /// [`Optimizer::update`] say, [`Error::Binding`] when a dispatch does not fit its kernel, [`Error::Setting`] when
    /// a setting of the check makes no sense, or a schedule gives a learning rate that is negative or not a number;
    /// [`Error::Memory`] or [`Error::Limit`] when a tensor is larger than this machine or the device can hold; or as
    /// [`Gpu::submit`] and [`Gpu::read`].
    pub fn run(&self, gpu: &Gpu, optimizer: &dyn Optimizer) -> Result<OptimizerReport, Error> {
        self.check_settings()?;
        let what = "Optimizer::describe";
        let name = caught("an optimizer", what, || optimizer.describe())?;
        let other = stated::other(&name, optimizer)?;
        let both = [optimizer, &*other];
        let twin = Twin::new(&name, both)?;
        let cases = self.cases(gpu, both, &name)?;
        let on_gpu = OnGpu {
            gpu,
            optimizer,
            twin: &twin,
        };
        let mut kernels = Kernels::new(&self.sanitizing);
        let runs = cases.iter().map(|case| on_gpu.run(case, &mut kernels));
        let runs: Vec<Vec<Taken>> = runs.collect::<Result<_, _>>()?;
        let (takes_decay, descent) = self.check_twin(&twin, &cases, optimizer)?;
        let mut rows = Vec::new();
        for (case, taken) in cases.iter().zip(&runs) {
            let compare = Compare {
                twin: &twin,
                case,
                tolerance: self.tolerance,
            };
            rows.extend(compare.rows(taken)?);
        }
        Ok(OptimizerReport {
            kernels: kernels.names(),
            sanitized: kernels.sanitized,
            not_sanitized: kernels.refused,
            optimizer: name,
            takes_decay,
            descent,
            rows,
        })
    }

    /// What holds of every rule: whether it takes a weight decay, and how far it descends.
    fn check_twin(
        &self,
        twin: &Twin<'_>,
        cases: &[Case],
        optimizer: &dyn Optimizer,
    ) -> Result<(bool, Option<[f64; 2]>), CheckError> {
        let mut takes_decay = false;
        for case in cases.iter().filter(|case| !case.is_tiled()) {
            twin.check_repeatable(case)?;
            twin.check_rate_of_zero(case)?;
        }
        let (steps, rate) = self.descent;
        let descent = match steps {
            0 => None,
            _ => Some(twin.check_descent(steps, rate)?),
        };
        if let Some(case) = cases.iter().find(|case| case.blocks.len() > 1) {
            takes_decay = twin.check_decay(case, optimizer)?;
        }
        Ok((takes_decay, descent))
    }

    fn check_settings(&self) -> Result<(), Error> {
        let mut shapes = self.shapes.iter().flatten();
        if let Some(empty) = shapes.find(|shape| shape.is_empty()) {
            let expected = "at least 1 row, and 1 along each extent";
            return Err(Error::setting("shape of a parameter", expected, empty));
        }
        let ranges = [
            ("parameters", &self.parameters),
            ("gradients", &self.gradients),
        ];
        check_settings(self.shapes.as_deref(), &ranges, self.tolerance)?;
        if self.steps < LEAST_STEPS {
            let expected = format!("at least {LEAST_STEPS}");
            return Err(Error::setting("steps", expected, self.steps));
        }
        let (_, rate) = self.descent;
        if rate.is_finite() && rate > 0.0 {
            Ok(())
        } else {
            let name = "learning rate of the descent";
            Err(Error::setting(name, "a finite number above 0", rate))
        }
    }

    /// What is tried, if there is memory for it.
    fn cases(&self, gpu: &Gpu, both: [&dyn Optimizer; 2], name: &str) -> Result<Vec<Case>, Error> {
        let by_default = || SHAPES.into_iter().map(TensorShape::from).collect();
        let shapes: Vec<TensorShape> = self.shapes.clone().unwrap_or_else(by_default);
        let mut grouped = shapes.clone();
        if self.shapes.is_none() {
            grouped.retain(|shape| shape.len() <= GROUPED);
        }
        let steps = At::all(name, both, self.steps)?;
        let mut all: Vec<_> = shapes
            .into_iter()
            .map(|shape| (Case::of_one(shape), &*steps))
            .collect();
        all.push((Case::of_groups(&grouped), &*steps));
        if self.shapes.is_none() {
            all.push((Case::of_one(FOLDED.into()), &steps[..1]));
        }
        let states = both[0].state();
        let memory = all
            .iter()
            .flat_map(|((specs, _), steps)| footprints(specs, states, steps.len()));
        check_memory(gpu, name, &memory.collect::<Vec<_>>())?;
        let ranges = [&self.parameters, &self.gradients];
        let cases = all
            .into_iter()
            .map(|(layout, steps)| Case::new(both[0], layout, steps, ranges));
        Ok(cases.collect())
    }
}

/// What a check has found, everything within its bounds; `Display` prints it as a table.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct OptimizerReport {
    /// The optimizer, as it describes itself.
    pub optimizer: String,
    /// Kernels that are what their WGSL says.
    pub kernels: Vec<String>,
    /// Their dispatches that were interpreted, with nothing found.
    pub sanitized: Vec<Sanitized>,
    /// Kernels that could not be interpreted, each with what in it the interpreter does not know.
    pub not_sanitized: BTreeMap<String, String>,
    /// Whether a weight decay of a [`Group`](crate::ops::Group) changes anything: not of a rule without one.
    pub takes_decay: bool,
    /// The sum of `p²/2` before and after the steps of [`OptimizerCheck::descent`].
    pub descent: Option<[f64; 2]>,
    /// A row for each parameter of each case, and for all that is kept of it, over all steps: the element that comes
    /// nearest to its bound.
    pub rows: Vec<Comparison>,
}

impl fmt::Display for OptimizerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sanitized = (&self.sanitized[..], &self.not_sanitized);
        write_table(f, &self.optimizer, &self.kernels, sanitized, &self.rows)?;
        if let Some([before, after]) = self.descent {
            write!(
                f,
                "\ndescent   the sum of p²/2 falls from {before:.4} to {after:.4}"
            )?;
        }
        if self.takes_decay {
            Ok(())
        } else {
            write!(
                f,
                "\ndecay     the rule has none: the weight decay of a group changes nothing"
            )
        }
    }
}
