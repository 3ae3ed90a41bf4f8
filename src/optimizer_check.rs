//! Checks an optimizer in one call: compares its kernels with their WGSL and the GPU with the reference, and tests the
//! reference for properties that every optimizer has.
//!
//! # Allowed difference between GPU and reference
//!
//! Every step of the reference starts from the result of the GPU's previous step, so the bound covers the error of a
//! single update. The check knows no formula. If the `f64` reference updates an element from `u` to `v`, the GPU's
//! value may differ from `v` by the sum of
//!
//! - `tolerance · |v − u|`, where the tolerance is 1e-5 by default. WGSL allows an error of 2.5 ULP (3e-7) for a
//!   division, 4.5 ULP for a square root, and more for `exp` and `pow`;
//! - the change of the result when one kind of operand is perturbed by 8 roundings up or down (a rounding is 2⁻²⁴ of
//!   the operand), summed over the kinds: parameters, gradients, each value of the state, the learning rate. If the
//!   result depends on other elements, for example through a norm over `n` elements, it contains a sum of `n` terms;
//!   the operands are then perturbed by `8·√n` roundings;
//! - 1.2e-38: GPUs may treat smaller numbers as 0.
//!
//! Apart from 1.2e-38, the bound has no absolute term. Where a parameter is 0, the bound is relative to the step only,
//! so a formula that is off by a thousandth of a step is detected at any learning rate. The `f32` reference must meet
//! the same bound.
//!
//! # Properties of every optimizer
//!
//! Central differences cannot check an optimizer, which has no derivative. Instead, the reference must behave as every
//! optimizer does:
//!
//! - The same operands give the same result twice.
//! - With a learning rate of 0, a state of zeros and a weight decay of 0, no parameter changes. A decay that does not
//!   depend on the learning rate is allowed, and so is a velocity that includes the learning rate.
//! - At a small learning rate, the sum of `p²/2` over all parameters `p` is smaller after a number of steps than
//!   before. The gradient of this sum by `p` is `p`. This detects a sign that is wrong in both the WGSL and the
//!   reference.

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
pub use crate::error::{CheckError, OptimizerFault, Pass, Place, UpdateSetting};
use crate::gpu::Gpu;
use crate::ops::Optimizer;
use crate::sanitize::{Sanitized, Sanitizer};
use crate::shape::TensorShape;
use case::{At, Case, footprints};
use compare::Compare;
use on_gpu::{OnGpu, Taken};
use twin::Twin;

/// Minimum number of early steps: among them are a step that repeats the gradients of the step before, and a step whose
/// gradients are 0.
const LEAST_STEPS: u64 = 5;

/// Maximum number of elements of a default parameter in the case with groups: the sanitizer interprets only small
/// updates.
const GROUPED: usize = 128;

/// Checks an optimizer with the default settings of [`OptimizerCheck`].
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
    /// `None`: the default shapes, which include those that often reveal faults.
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
    /// Sets the shapes of the parameters. Each shape is tried as a single parameter; all shapes are also used in turn
    /// for the parameters of seven groups. Default: one element, odd extents, sizes near a workgroup of 64, and, for
    /// one step, 2053×2053, which needs more workgroups than one dispatch dimension has.
    #[must_use]
    pub fn shapes(mut self, shapes: impl IntoIterator<Item = impl Into<TensorShape>>) -> Self {
        self.shapes = Some(shapes.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the range of the parameters before the first step. Default: −100…100, most of the values in −4…4, including
    /// zeros of both signs and repeated values.
    #[must_use]
    pub fn parameters(mut self, parameters: RangeInclusive<f32>) -> Self {
        self.parameters = parameters;
        self
    }

    /// Sets the range of the gradients, which are drawn like the parameters. Default: −100…100.
    #[must_use]
    pub fn gradients(mut self, gradients: RangeInclusive<f32>) -> Self {
        self.gradients = gradients;
        self
    }

    /// Sets the number of early steps, at least 5. Two late steps follow: 1,000,003 and 1,000,004. Default: 6.
    #[must_use]
    pub fn steps(mut self, steps: u64) -> Self {
        self.steps = steps;
        self
    }

    /// Sets the number of steps in which the reference must reduce the sum of `p²/2`, and their learning rate. Default:
    /// 100 steps at 0.001. With 0 steps, this test is omitted, for optimizers that are not meant to descend.
    #[must_use]
    pub fn descent(mut self, steps: u64, learning_rate: f32) -> Self {
        self.descent = (steps, learning_rate);
        self
    }

    /// Sets the sanitizer for small updates: see [`sanitize`](crate::sanitize()). An update is sanitized if all its
    /// tensors together have at most `elements` elements; 0 turns the sanitizer off. By default, `elements` is 4,096,
    /// and each dispatch is interpreted with its invocations in three different orders. By default, the interpreter's
    /// results are not compared with the device's, because the check itself compares the device with the reference.
    #[must_use]
    pub fn sanitized(mut self, elements: usize, sanitizer: Sanitizer) -> Self {
        self.sanitizing = Sanitizing {
            sanitizer,
            elements,
        };
        self
    }

    /// Sets the tolerance: a result that changes from `u` to `v` may be off by `tolerance · |v − u|`, plus the other
    /// terms that [the module](self) lists. Default: 1e-5.
    #[must_use]
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Checks an optimizer. It tests these properties, in this order:
    ///
    /// 1. [`Optimizer::check`] accepts the settings. The optimizer's description, the names of its state and the result
    ///    of [`Optimizer::with_learning_rate`] are consistent.
    /// 2. *Contract*: the declaration of every dispatched kernel matches its WGSL.
    /// 3. Apart from parameters and state, only gradients change, and only as the reference's
    ///    [`prepare`](crate::reference::Optimizer::prepare) changes them. For a frozen parameter, nothing changes. No
    ///    result is NaN, and the same step gives the same bits twice.
    /// 4. The reference has the [properties of every optimizer](self).
    /// 5. After each step, every parameter and all its state match the `f64` reference. There are three kinds of cases:
    ///    a single parameter; several parameters in blocks and groups, which multiply the learning rate, have another
    ///    weight decay or none, or are frozen; and a single parameter that needs more workgroups than one dispatch
    ///    dimension has.
    ///
    /// The first step is the optimizer's step 0. The table of coefficients is a ring of five rows, and all rows except
    /// that of the current step are NaN. One step uses half the learning rate, as after
    /// [`Trainer::set_learning_rate`](crate::Trainer::set_learning_rate); one step repeats the gradients of the step
    /// before; and one step has gradients of 0.
    ///
    /// # Errors
    /// - [`Error::Check`] with the first fault found.
    /// - The errors of [`Optimizer::check`] and [`Optimizer::update`].
    /// - [`Error::Binding`] when a dispatch does not fit its kernel.
    /// - [`Error::Setting`] when a setting of the check is invalid, or a schedule gives a learning rate that is
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

    /// Tests the properties of every optimizer. Returns whether the optimizer uses weight decay, and the sums of `p²/2`
    /// before and after the descent.
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

    /// Makes the cases of this check, after checking that there is memory for them.
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

/// The results of a check that found no fault. `Display` prints them as a table.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct OptimizerReport {
    /// The description that the optimizer gives of itself.
    pub optimizer: String,
    /// Kernels whose declarations match their WGSL.
    pub kernels: Vec<String>,
    /// Dispatches of these kernels that were interpreted without findings.
    pub sanitized: Vec<Sanitized>,
    /// Kernels that could not be interpreted, each with the construct that the interpreter does not support.
    pub not_sanitized: BTreeMap<String, String>,
    /// Whether setting the weight decay of a [`Group`](crate::ops::Group) has an effect; false if the optimizer has no
    /// weight decay.
    pub takes_decay: bool,
    /// The sum of `p²/2` before and after the steps that [`OptimizerCheck::descent`] sets; `None` if it sets 0 steps.
    pub descent: Option<[f64; 2]>,
    /// One row per parameter of each case, and one per tensor of its state. Each row has the element that comes nearest
    /// to its bound in all steps.
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
