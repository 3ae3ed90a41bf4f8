//! Checks an optimizer in one call: its kernels against their WGSL, the GPU against the reference, and the reference
//! against properties of every optimizer.
//!
//! # How far apart GPU and reference may be
//!
//! Every step of the reference starts from the result of the GPU's last step, so the bound is that of one update. The
//! check knows no formula. If the reference in `f64` updates an element from `u` to `v`, the element may be off by the
//! sum of
//!
//! - `tolerance · |v − u|`, by default 1e-5: WGSL allows an error of 2.5 ULP (3e-7) for a division, 4.5 ULP for a
//!   square root, and more for `exp` and `pow`;
//! - the change of the result when one kind of operand moves by 8 roundings up or down, summed over the kinds:
//!   parameters, gradients, each value of the state, the learning rate. A result that depends on other elements, such
//!   as a norm over `n`, is a sum; for it the operands move by `8·√n` roundings;
//! - 1.2e-38, below which GPUs may treat a number as 0.
//!
//! There is no absolute part. Where a parameter is 0, the bound is relative to the step alone, so a formula that is
//! off by a thousandth of a step is detected at any learning rate. The reference in `f32` has to meet the same bound.
//!
//! # Properties of every optimizer
//!
//! An optimizer has no derivative that differences could check. Instead, the reference must do what every optimizer
//! does:
//!
//! - With the same operands it gives the same result twice.
//! - With a learning rate of 0, a state of zeros and a weight decay of 0, it moves no parameter. A decay that does not
//!   depend on the learning rate is allowed, and so is a velocity that includes the learning rate.
//! - It lowers the sum of `p²/2` over parameters `p`, whose gradient is `p`, within some steps at a small learning
//!   rate. This detects a sign that is wrong in both the WGSL and the reference.

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

/// Fewest early steps: one of them draws new gradients, one repeats the last ones, and one has gradients of zero.
const LEAST_STEPS: u64 = 5;

/// Most elements of a default parameter in the case with groups: few enough to interpret.
const GROUPED: usize = 128;

/// Checks an optimizer with the default [`OptimizerCheck`].
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
/// The errors of [`OptimizerCheck::run`].
pub fn check_optimizer(gpu: &Gpu, optimizer: &dyn Optimizer) -> Result<OptimizerReport, Error> {
    OptimizerCheck::default().run(gpu, optimizer)
}

/// Settings of an optimizer check.
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
    /// `None`: default shapes, known to cause trouble.
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
    /// Shapes of parameters: each alone, and in rotation as parameters of seven groups. Default: one element, odd
    /// sizes, sizes near a workgroup of 64, and, for one step, 2053×2053, which exceeds one dispatch dimension.
    #[must_use]
    pub fn shapes(mut self, shapes: impl IntoIterator<Item = impl Into<TensorShape>>) -> Self {
        self.shapes = Some(shapes.into_iter().map(Into::into).collect());
        self
    }

    /// Range of parameters before the first step. Default: −100…100, most of them in −4…4, with zeros of both signs
    /// and repeated values.
    #[must_use]
    pub fn parameters(mut self, parameters: RangeInclusive<f32>) -> Self {
        self.parameters = parameters;
        self
    }

    /// Range of gradients. They are drawn in the same way, with the same default.
    #[must_use]
    pub fn gradients(mut self, gradients: RangeInclusive<f32>) -> Self {
        self.gradients = gradients;
        self
    }

    /// Number of early steps, at least 5; two late steps (1,000,003 and the next) follow. Default: 6.
    #[must_use]
    pub fn steps(mut self, steps: u64) -> Self {
        self.steps = steps;
        self
    }

    /// Steps of the reference that must lower the sum of `p²/2`, and their learning rate. Default: 100 steps at 0.001.
    /// With 0 steps this check is left out, for optimizers that are not meant to descend.
    #[must_use]
    pub fn descent(mut self, steps: u64, learning_rate: f32) -> Self {
        self.descent = (steps, learning_rate);
        self
    }

    /// [Sanitizes](crate::sanitize()) updates whose tensors have at most `elements` elements in total, with this
    /// sanitizer. Default: 4,096 elements, three orders, no comparison with the device. 0 elements turn it off.
    #[must_use]
    pub fn sanitized(mut self, elements: usize, sanitizer: Sanitizer) -> Self {
        self.sanitizing = Sanitizing {
            sanitizer,
            elements,
        };
        self
    }

    /// Allowed error of a result relative to its change: see [the module](self). Default: 1e-5.
    #[must_use]
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Checks an optimizer, in this order:
    ///
    /// 1. [`Optimizer::check`] accepts its settings; its description, the names of its state and the optimizer
    ///    returned by [`Optimizer::with_learning_rate`] are consistent.
    /// 2. *Contract*: every dispatched kernel declares what its WGSL contains.
    /// 3. Besides parameters and state, only gradients change, and only where the reference's
    ///    [`prepare`](crate::reference::Optimizer::prepare) changes them. Nothing of a frozen parameter changes, no
    ///    result is NaN, and the same step gives the same bits twice.
    /// 4. The reference has the [properties of every optimizer](self).
    /// 5. After each step, every parameter and all of its state match what the reference computes in `f64`. The cases
    ///    are one parameter; several in blocks and groups, which multiply the learning rate, have a weight decay of
    ///    their own or none, or are frozen; and one parameter that needs more than one dispatch dimension.
    ///
    /// Steps begin with the first. Coefficients lie in a ring of five rows; all rows except that of the step are NaN.
    /// One step uses half the learning rate, as after
    /// [`Trainer::set_learning_rate`](crate::Trainer::set_learning_rate); one repeats the gradients of the step
    /// before, and one has gradients of 0.
    ///
    /// # Errors
    /// - [`Error::Check`] with the first failure.
    /// - The errors of [`Optimizer::check`] and [`Optimizer::update`].
    /// - [`Error::Binding`] when a dispatch does not fit its kernel.
    /// - [`Error::Setting`] when a setting of the check makes no sense, or a schedule gives a learning rate that is
    ///   negative or not a number.
    /// - [`Error::Memory`] or [`Error::Limit`] when a tensor is larger than this machine or the device can hold.
    /// - The errors of [`Gpu::submit`] and [`Gpu::read`].
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

    /// Checks the properties of every optimizer. Returns whether it uses weight decay, and the sums before and after
    /// descent.
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

    /// The cases of this check, if there is memory for them.
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

/// Results of a check that found no failure; `Display` prints them as a table.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct OptimizerReport {
    /// The optimizer's description of itself.
    pub optimizer: String,
    /// Kernels whose declarations match their WGSL.
    pub kernels: Vec<String>,
    /// Dispatches of these kernels that were interpreted without a finding.
    pub sanitized: Vec<Sanitized>,
    /// Kernels that could not be interpreted, each with the construct that the interpreter does not know.
    pub not_sanitized: BTreeMap<String, String>,
    /// Whether the weight decay of a [`Group`](crate::ops::Group) has any effect. False if the optimizer has no weight
    /// decay.
    pub takes_decay: bool,
    /// The sum of `p²/2` before and after the steps of [`OptimizerCheck::descent`].
    pub descent: Option<[f64; 2]>,
    /// For each parameter of each case, and for each tensor of its state: the element that comes nearest to its bound
    /// over all steps.
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
