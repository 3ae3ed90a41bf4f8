//! A loss checked in one call: its kernels against their WGSL, the GPU against the reference, the reference against
//! central differences of itself.
//!
//! How far apart they may be is as in [`layer_check`](crate::layer_check): `tolerance · (1 + |v|)` for a row's loss
//! of `v`; `tolerance · (1/rows + |v|)` for an element of the gradient, which is that of a mean over the rows.
//!
//! A loss of one's own, with its check and a training, is the whole program `examples/custom_loss.rs`:
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

/// Checks a loss as [`LossCheck`] does by default.
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
/// As [`LossCheck::run`].
pub fn check_loss(gpu: &Gpu, loss: &dyn Loss) -> Result<LossReport, Error> {
    LossCheck::default().run(gpu, loss)
}

/// How a loss is checked.
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
    /// None: those that every loss takes.
    shapes: Option<Vec<TensorShape>>,
    outputs: RangeInclusive<f32>,
    /// None: those that every loss of its kind takes.
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
    /// Minibatches to try, as `[rows, outputs]` or `(rows, shape of an output)`. Default: 1×1, odd ones, some around
    /// a workgroup of 64, and 2053×2053, which is more than one dispatch dimension holds. Those of a loss with
    /// [class weights](Loss::class_weights) have as many outputs as there are weights.
    #[must_use]
    pub fn shapes(mut self, shapes: impl IntoIterator<Item = impl Into<TensorShape>>) -> Self {
        self.shapes = Some(shapes.into_iter().map(Into::into).collect());
        self
    }

    /// Values that the network's outputs may have, for a formula that is not meant for all. Default: −100…100, most
    /// of them in −4…4, with zeros of both signs and repeats.
    #[must_use]
    pub fn outputs(mut self, outputs: RangeInclusive<f32>) -> Self {
        self.outputs = outputs;
        self
    }

    /// Values that they are compared with, where [`Loss::targets`] says values or probabilities; drawn in the same way.
    /// Default: as the outputs, and 0…1 for probabilities. Of classes there are as many as outputs.
    #[must_use]
    pub fn targets(mut self, targets: RangeInclusive<f32>) -> Self {
        self.targets = Some(targets);
        self
    }

    /// How passes are [sanitized](crate::sanitize()) whose tensors have no more elements than this, all together. Default: 4,096
    /// elements, in three orders, not compared with the device. 0 leaves it out.
    #[must_use]
    pub fn sanitized(mut self, elements: usize, sanitizer: Sanitizer) -> Self {
        self.sanitizing = Sanitizing {
            sanitizer,
            elements,
        };
        self
    }

    /// What a result may be off by, relative to 1 and to itself: see [the module](self). Default: 1e-5.
    #[must_use]
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Leaves out the comparison with central differences, for a loss whose gradient is on purpose another than the
    /// derivative of its mean, as that of [`RelativeL2`](crate::ops::RelativeL2).
    #[must_use]
    pub fn without_derivative(mut self) -> Self {
        self.has_derivative = false;
        self
    }

    /// Checks a loss, in this order:
    ///
    /// 1. *contract*: every kernel that it dispatches declares what its WGSL says;
    /// 2. every element of `losses` and `doutputs` is written, none outside of them, and none is NaN;
    /// 3. the reference returns the mean over the rows, weighted by what [`Loss::class_weights`] says;
    /// 4. the loss of every row on the GPU is that of the reference in `f64`;
    /// 5. *gradient*: the reference's gradient is the derivative of its mean, unless it is
    ///    [without](Self::without_derivative);
    /// 6. the gradient of the mean on the GPU is that of the reference.
    ///
    /// # Errors
    /// [`Error::Check`] with the first thing that is wrong, what [`Loss::forward_backward`] says, [`Error::Binding`]
    /// when a dispatch does not fit its kernel, [`Error::Setting`] when a shape, a range or the tolerance makes no
    /// sense; [`Error::Memory`] or [`Error::Limit`] when a tensor is larger than this machine or the device can hold; or as
    /// [`Gpu::submit`] and [`Gpu::read`].
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

/// What a check has found, everything within its bounds; `Display` prints it as a table.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LossReport {
    /// The loss, as it describes itself.
    pub loss: String,
    /// Kernels that are what their WGSL says.
    pub kernels: Vec<String>,
    /// Their dispatches that were interpreted, with nothing found.
    pub sanitized: Vec<Sanitized>,
    /// Kernels that could not be interpreted, each with what in it the interpreter does not know.
    pub not_sanitized: BTreeMap<String, String>,
    /// A row for `losses` and for `doutputs` of every minibatch.
    pub rows: Vec<Comparison>,
}

impl fmt::Display for LossReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sanitized = (&self.sanitized[..], &self.not_sanitized);
        write_table(f, &self.loss, &self.kernels, sanitized, &self.rows)
    }
}
