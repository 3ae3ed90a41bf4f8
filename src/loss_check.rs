//! Checks a loss in one call: compares its kernels with their WGSL, the GPU with the reference, and the reference with
//! its own central differences.
//!
//! The bounds are those of [`layer_check`](crate::layer_check). In their first term, a row's loss `v` may differ by
//! `tolerance · (1 + |v|)`. An element `v` of the gradient may differ by `tolerance · (1/rows + |v|)`, because the loss
//! is a mean over the rows.
//!
//! `examples/custom_loss.rs` is a complete program with a custom loss, its check and a training:
//!
//! ```
#![doc = include_str!("../examples/custom_loss.rs")]
//! ```

mod case;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

pub use crate::check::{Check, Comparison};
use crate::check::{
    FOLDED, Kernels, SHAPES, Sanitizing, check_memory, check_settings, differenced, write_table,
};
use crate::error::Error;
pub use crate::error::{CheckError, Pass, Place};
use crate::gpu::Gpu;
use crate::ops::{Loss, TargetKind};
use crate::sanitize::{Sanitized, Sanitizer};
use crate::shape::TensorShape;
use case::{Case, OnGpu, footprint};

/// Checks a loss with the default settings of [`LossCheck`].
///
/// ```
/// use wgrad::ops::SoftmaxCrossEntropy;
/// use wgrad::{Gpu, check_loss};
///
/// let report = check_loss(&Gpu::new()?, &SoftmaxCrossEntropy)?;
/// assert_eq!(report.loss, "SoftmaxCrossEntropy");
/// println!("{report}");
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// # Errors
/// The errors of [`LossCheck::run`].
pub fn check_loss(gpu: &Gpu, loss: &dyn Loss) -> Result<LossReport, Error> {
    LossCheck::default().run(gpu, loss)
}

/// Settings of a loss check.
///
/// ```
/// use wgrad::ops::MeanSquaredError;
/// use wgrad::{Gpu, LossCheck};
///
/// let check = LossCheck::default().shapes([[3, 7], [100, 2]]).outputs(-1.0..=1.0).targets(0.0..=1.0);
/// let report = check.run(&Gpu::new()?, &MeanSquaredError)?;
/// assert!(report.rows.iter().all(|row| row.difference <= row.bound));
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LossCheck {
    /// `None`: the default shapes, which suit every loss.
    shapes: Option<Vec<TensorShape>>,
    outputs: RangeInclusive<f32>,
    /// `None`: the default range for this kind of targets.
    targets: Option<RangeInclusive<f32>>,
    tolerance: f64,
    has_derivative: bool,
    sanitizing: Sanitizing,
}

impl Default for LossCheck {
    fn default() -> Self {
        Self {
            shapes: None,
            outputs: -100.0..=100.0,
            targets: None,
            tolerance: 1e-5,
            has_derivative: true,
            sanitizing: Sanitizing::default(),
        }
    }
}

impl LossCheck {
    /// Sets the shapes of the minibatches to try, as `[rows, outputs]` or `(rows, shape of an output)`. Default: 1×1,
    /// shapes of odd extents, shapes near a workgroup of 64, and 2053×2053, which needs more workgroups than one
    /// dispatch dimension has. For a loss with [class weights](Loss::class_weights), the default shapes have one output
    /// per weight.
    #[must_use]
    pub fn shapes(mut self, shapes: impl IntoIterator<Item = impl Into<TensorShape>>) -> Self {
        self.shapes = Some(shapes.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the range of the network's outputs, for a formula that is not meant for all numbers. Default: −100…100,
    /// most of the values in −4…4, including zeros of both signs and repeated values.
    #[must_use]
    pub fn outputs(mut self, outputs: RangeInclusive<f32>) -> Self {
        self.outputs = outputs;
        self
    }

    /// Sets the range of the targets, for a loss whose [`targets`](Loss::targets) are values or probabilities. They are
    /// drawn like the outputs. Default: −100…100 for values, 0…1 for probabilities. If the targets are classes, there
    /// are as many classes as outputs.
    #[must_use]
    pub fn targets(mut self, targets: RangeInclusive<f32>) -> Self {
        self.targets = Some(targets);
        self
    }

    /// Sets the sanitizer for small passes: see [`sanitize`](crate::sanitize()). A pass computes the losses of a
    /// minibatch and their gradient. A pass is sanitized if all its tensors together have at most `elements` elements;
    /// 0 turns the sanitizer off. By default, `elements` is 4,096, and each dispatch is interpreted with its
    /// invocations in three different orders. By default, the interpreter's results are not compared with the device's,
    /// because the check itself compares the device with the reference.
    #[must_use]
    pub fn sanitized(mut self, elements: usize, sanitizer: Sanitizer) -> Self {
        self.sanitizing = Sanitizing {
            sanitizer,
            elements,
        };
        self
    }

    /// Sets the tolerance: a row's loss `v` may be off by `tolerance · (1 + |v|)`, plus the other terms that
    /// [the module](self) mentions. Default: 1e-5.
    #[must_use]
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Omits the comparison with central differences. This is for a loss whose gradient intentionally differs from the
    /// derivative of its mean, such as [`RelativeL2`](crate::ops::RelativeL2).
    #[must_use]
    pub fn without_derivative(mut self) -> Self {
        self.has_derivative = false;
        self
    }

    /// Checks a loss. It tests these properties, in this order:
    ///
    /// 1. *contract*: the declaration of every dispatched kernel matches its WGSL;
    /// 2. kernels write every element of `losses` and `doutputs` and nothing else, and no element is NaN;
    /// 3. the reference returns the mean over the rows, weighted by [`Loss::class_weights`];
    /// 4. every row's loss on the GPU matches the `f64` reference;
    /// 5. *gradient*: the reference's gradient is the derivative of its mean
    ///    ([`without_derivative`](Self::without_derivative) omits this test);
    /// 6. the gradient of the mean on the GPU matches the reference.
    ///
    /// # Errors
    /// [`Error::Check`] with the first fault found; any error of [`Loss::check`] and [`Loss::forward_backward`];
    /// [`Error::Binding`] when a dispatch does not fit its kernel; [`Error::Setting`] when a shape, a range or the
    /// tolerance is invalid; [`Error::Memory`] or [`Error::Limit`] when a tensor is larger than this machine or the
    /// device can hold; and the errors of [`Gpu::submit`] and [`Gpu::read`].
    pub fn run(&self, gpu: &Gpu, loss: &dyn Loss) -> Result<LossReport, Error> {
        let targets = self.targets_of(loss)?;
        let ranges = [("outputs", &self.outputs), ("targets", &targets)];
        check_settings(self.shapes.as_deref(), &ranges, self.tolerance)?;
        let shapes = self.shapes_of(loss);
        shapes
            .iter()
            .try_for_each(|shape| loss.check(shape.row.len()))?;
        let footprints = shapes.iter().copied().map(footprint);
        check_memory(gpu, &loss.describe(), &footprints.collect::<Vec<_>>())?;
        let mut kernels = Kernels::new(&self.sanitizing);
        let ranges = [&self.outputs, &targets];
        let cases = shapes.iter().map(|&shape| Case::new(loss, shape, ranges));
        let cases: Vec<Case<'_>> = cases.collect();
        let runs = cases.iter().map(|case| case.on_gpu(gpu, &mut kernels));
        let runs: Vec<OnGpu> = runs.collect::<Result<_, _>>()?;
        let mut rows = Vec::new();
        for (case, run) in cases.iter().zip(&runs) {
            case.check_mean()?;
            rows.extend(case.check_losses(run, self.tolerance)?);
        }
        let most = differenced(shapes.iter().copied());
        let differenced = cases.iter().filter(|_| self.has_derivative);
        for case in differenced.filter(|case| case.minibatch.len() <= most) {
            rows.extend(case.check_differences()?);
        }
        for (case, run) in cases.iter().zip(&runs) {
            rows.extend(case.check_gradient(run, self.tolerance)?);
        }
        Ok(LossReport {
            loss: loss.describe(),
            kernels: kernels.names(),
            sanitized: kernels.sanitized,
            not_sanitized: kernels.refused,
            rows,
        })
    }
}

impl LossCheck {
    fn shapes_of(&self, loss: &dyn Loss) -> Vec<TensorShape> {
        let by_default = SHAPES.into_iter().chain([FOLDED]);
        match (&self.shapes, loss.class_weights()) {
            (Some(shapes), _) => shapes.clone(),
            (None, None) => by_default.map(TensorShape::from).collect(),
            (None, Some(weights)) => by_default
                .map(|[rows, _]| [rows, weights.len()].into())
                .collect(),
        }
    }

    fn targets_of(&self, loss: &dyn Loss) -> Result<RangeInclusive<f32>, Error> {
        let all = match loss.targets() {
            TargetKind::Probabilities => 0.0..=1.0,
            TargetKind::Classes | TargetKind::Values => -100.0..=100.0,
        };
        let Some(targets) = &self.targets else {
            return Ok(all);
        };
        let is_within = all.contains(targets.start()) && all.contains(targets.end());
        if is_within || loss.targets() != TargetKind::Probabilities {
            Ok(targets.clone())
        } else {
            Err(Error::setting(
                "targets",
                format!("within 0..=1 for {}", loss.describe()),
                format!("{}..={}", targets.start(), targets.end()),
            ))
        }
    }
}

/// The results of a check that found no fault. `Display` prints them as a table.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LossReport {
    /// The description that the loss gives of itself.
    pub loss: String,
    /// Kernels whose declarations match their WGSL.
    pub kernels: Vec<String>,
    /// Dispatches of these kernels that were interpreted without findings.
    pub sanitized: Vec<Sanitized>,
    /// Kernels that could not be interpreted, each with the construct that the interpreter does not support.
    pub not_sanitized: BTreeMap<String, String>,
    /// For every minibatch, one row for `losses` and one for `doutputs`.
    pub rows: Vec<Comparison>,
}

impl fmt::Display for LossReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sanitized = (&self.sanitized[..], &self.not_sanitized);
        write_table(f, &self.loss, &self.kernels, sanitized, &self.rows)
    }
}
