//! Checks a layer in one call: compares its kernels with their WGSL, the GPU with the reference, and the reference with
//! its own central differences.
//!
//! # Allowed difference between GPU and reference
//!
//! The check does not know the layer's formula, so it cannot derive an error bound from it. If the `f64` reference
//! computes `v` for an element, the GPU's value may differ from `v` by the sum of
//!
//! - `tolerance · (1 + |v|)`, where the tolerance is 1e-5 by default. This is the error that WGSL allows for `tanh`.
//!   WGSL allows less for `exp`, `log`, `sqrt` and division, and operations that are correctly rounded, such as sums
//!   and products, need less. The gradient of a parameter is a sum over positions, each of which may add this error, so
//!   this term is `tolerance · (positions + |v|)` for such a gradient. A row of shape C×H×W has H·W positions, a row of
//!   features has one;
//! - the change of the reference's result when each operand is perturbed by `8·√n` roundings up or down (a rounding is
//!   2⁻²⁴ of the operand), where `n` is the largest of the numbers of positions, features and outputs. This covers a
//!   sum of `n` products in single precision, and an `exp`, whose error grows with its argument;
//! - four times the error of the reference in `f32`: a formula that loses precision by cancellation in this reference
//!   loses it on a GPU as well.
//!
//! WGSL allows `sin` and `cos` an error of 2⁻¹¹ in −π…π, and any error elsewhere. A layer that uses them needs its own
//! [tolerance](LayerCheck::tolerance) and [inputs](LayerCheck::inputs).
//!
//! A GPU may fuse a product and a sum into one operation, which does not round the product. This matters if a kernel
//! subtracts two values that should be equal (for example a single value and the mean of this value) and computes the
//! same product for each of them. If the GPU fuses only one of the two products, their difference is a rounding error,
//! and later factors multiply it. So store the product once, and read it the second time.
//!
//! Real mistakes are much larger: if a term is missing from a derivative, the difference is that term.
//!
//! # Allowed difference between the reference and central differences
//!
//! Both are computed in `f64`. A central difference over `±h`, with `h = 2⁻¹⁷·max(1, |u|)` for an element `u`, may be
//! off by the sum of
//!
//! - its rounding error, `16·ε·Σ|dy·y|/h` over the outputs that change;
//! - twice its change when `h` is halved: where the second derivative jumps, halving `h` halves the error;
//! - half the distance between the left and the right slope: at a kink, any slope in between is right;
//! - 1e-7 of the slope, plus 1e-7, for all other errors.
//!
//! Central differences are computed only for minibatches of up to 64 values, or, if all are larger, for the smallest
//! ones. At most 256 elements of each tensor are tested, evenly spread.

mod case;
mod compare;
mod on_gpu;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

pub use crate::check::{Check, Comparison};
use crate::check::{
    FOLDED, Kernels, SHAPES, Sanitizing, check_memory, check_settings, differenced, write_table,
};
use crate::error::Error;
pub use crate::error::{Call, CheckError, Pass, Place};
use crate::gpu::Gpu;
use crate::ops::{Layer, LayerSpec};
use crate::sanitize::{Sanitized, Sanitizer};
use crate::shape::TensorShape;
use case::{Case, check_spec, footprint};
use on_gpu::OnGpu;

/// Maximum number of elements per tensor for which the 2053×2053 minibatch is tried.
const FOLDED_ELEMENTS: usize = 1 << 23;

/// Checks a layer with the default settings of [`LayerCheck`].
///
/// ```
/// use wgrad::ops::Gelu;
/// use wgrad::{Gpu, check_layer};
///
/// let report = check_layer(&Gpu::new()?, &Gelu)?;
/// assert_eq!(report.kernels, ["gelu::forward", "gelu::backward"]);
/// println!("{report}");
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// # Errors
/// The errors of [`LayerCheck::run`].
pub fn check_layer(gpu: &Gpu, layer: &dyn Layer) -> Result<LayerReport, Error> {
    LayerCheck::default().run(gpu, layer)
}

/// Settings of a layer check.
///
/// ```
/// use wgrad::ops::LeakyRelu;
/// use wgrad::{Gpu, LayerCheck};
///
/// let check = LayerCheck::default().shapes([(3, [2, 5, 5]), (2, [1, 4, 1])]).tolerance(1e-6);
/// let report = check.run(&Gpu::new()?, &LeakyRelu::new(0.2))?;
/// assert!(report.rows.iter().all(|row| row.difference <= row.bound));
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LayerCheck {
    /// `None`: the default shapes, which suit every layer that accepts any number of features.
    shapes: Option<Vec<TensorShape>>,
    inputs: RangeInclusive<f32>,
    tolerance: f64,
    sanitizing: Sanitizing,
}

impl Default for LayerCheck {
    fn default() -> Self {
        Self {
            shapes: None,
            inputs: -100.0..=100.0,
            tolerance: 1e-5,
            sanitizing: Sanitizing::default(),
        }
    }
}

impl LayerCheck {
    /// Sets the shapes of the minibatches to try, as `[rows, features]` or `(rows, shape of a row)`. This is for a
    /// layer that does not accept every number of features. Default: 1×1, shapes of odd extents, shapes near a
    /// workgroup of 64, and 2053×2053, which needs more workgroups than one dispatch dimension has. The last one is
    /// left out if a tensor would have more than 2²³ elements.
    #[must_use]
    pub fn shapes(mut self, shapes: impl IntoIterator<Item = impl Into<TensorShape>>) -> Self {
        self.shapes = Some(shapes.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the range of the values of `x`, for a formula that is not meant for all numbers. Default: −100…100, most of
    /// the values in −4…4, including zeros of both signs and repeated values. A layer that [takes
    /// indices](crate::ops::LayerSpec::indices_below) gets indices instead.
    #[must_use]
    pub fn inputs(mut self, inputs: RangeInclusive<f32>) -> Self {
        self.inputs = inputs;
        self
    }

    /// Sets the sanitizer for small passes: see [`sanitize`](crate::sanitize()). A pass is sanitized if all its tensors
    /// together have at most `elements` elements; 0 turns the sanitizer off. By default, `elements` is 4,096, and each
    /// dispatch is interpreted with its invocations in three different orders. By default, the interpreter's results
    /// are not compared with the device's, because the check itself compares the device with the reference.
    #[must_use]
    pub fn sanitized(mut self, elements: usize, sanitizer: Sanitizer) -> Self {
        self.sanitizing = Sanitizing {
            sanitizer,
            elements,
        };
        self
    }

    /// Sets the tolerance: a result `v` may be off by `tolerance · (1 + |v|)`, plus the other terms that
    /// [the module](self) lists. Default: 1e-5.
    #[must_use]
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Checks a layer. It tests these properties, in this order:
    ///
    /// 1. *contract*: the declaration of every dispatched kernel matches its WGSL;
    /// 2. kernels write every element of the results and of the saved values and nothing else, and no result is NaN;
    ///    state changes only in a forward pass in training;
    /// 3. *forward*: `y` on the GPU matches the `f64` reference, and so does the state after a pass in training;
    /// 4. *gradient*: the reference's backward pass is the derivative of its forward pass;
    /// 5. *backward*: `dx` and the gradients of all parameters on the GPU match the reference.
    ///
    /// Each minibatch is run as in evaluation, as in training (with random numbers to draw), and as in the first layer
    /// of a network in training, where `dx` is not needed. The GPU's backward pass receives the values that the GPU's
    /// forward pass saved; the reference's backward pass receives those of the reference. The two may save different
    /// values. All parameters are in one buffer, and so are all gradients and all state.
    ///
    /// # Errors
    /// [`Error::Check`] with the first fault found; any error of [`Layer::spec`] and of the passes; [`Error::Binding`]
    /// when a dispatch does not fit its kernel; [`Error::Setting`] when a shape, the range of inputs, the tolerance, or
    /// a name or initial value in the layer's spec is invalid; [`Error::Memory`] or [`Error::Limit`] when a tensor is
    /// larger than this machine or the device can hold; and the errors of [`Gpu::submit`] and [`Gpu::read`].
    pub fn run(&self, gpu: &Gpu, layer: &dyn Layer) -> Result<LayerReport, Error> {
        let ranges = [("inputs", &self.inputs)];
        check_settings(self.shapes.as_deref(), &ranges, self.tolerance)?;
        let mut kernels = Kernels::new(&self.sanitizing);
        let mut rows = self.rows(gpu, &self.cases(gpu, layer)?, &mut kernels)?;
        if let Some(folded) = self.folded(gpu, layer)? {
            rows.extend(self.rows(gpu, &[folded], &mut kernels)?);
        }
        Ok(LayerReport {
            layer: layer.name(),
            kernels: kernels.names(),
            sanitized: kernels.sanitized,
            not_sanitized: kernels.refused,
            rows,
        })
    }

    fn rows(
        &self,
        gpu: &Gpu,
        cases: &[Case<'_>],
        kernels: &mut Kernels<'_>,
    ) -> Result<Vec<Comparison>, Error> {
        let runs = cases.iter().map(|case| case.on_gpu(gpu, kernels));
        let runs: Vec<OnGpu> = runs.collect::<Result<_, _>>()?;
        let mut rows = Vec::new();
        for (case, run) in cases.iter().zip(&runs) {
            let parity = compare::with_reference(case, Pass::Forward, run, self.tolerance)?;
            rows.extend(parity);
        }
        let most = differenced(cases.iter().map(|case| case.minibatch));
        for case in cases {
            if case.minibatch.len() <= most && case.call != Call::First && !case.is_folded() {
                rows.extend(compare::with_differences(case)?);
            }
        }
        for (case, run) in cases.iter().zip(&runs) {
            let parity = compare::with_reference(case, Pass::Backward, run, self.tolerance)?;
            rows.extend(parity);
        }
        Ok(rows)
    }

    fn cases<'a>(&self, gpu: &Gpu, layer: &'a dyn Layer) -> Result<Vec<Case<'a>>, Error> {
        let by_default = SHAPES.map(TensorShape::from);
        let mut calls = Vec::new();
        for &minibatch in self.shapes.as_deref().unwrap_or(&by_default) {
            let spec = layer
                .spec(&minibatch.row)
                .map_err(|error| match &self.shapes {
                    Some(_) => error,
                    None => refused(layer, minibatch, &error),
                })?;
            check_spec(layer, &minibatch.row, &spec)?;
            calls.push((spec.clone(), minibatch, Call::Evaluation));
            // For the other calls, one row or one feature tests nothing new.
            if minibatch.dims().contains(&1) && self.shapes.is_none() {
                continue;
            }
            calls.push((spec.clone(), minibatch, Call::Training));
            if !spec.parameters.is_empty() {
                calls.push((spec, minibatch, Call::First));
            }
        }
        self.drawn(gpu, layer, &calls)
    }

    /// Draws the operands of all cases, after checking that there is memory for them.
    fn drawn<'a>(
        &self,
        gpu: &Gpu,
        layer: &'a dyn Layer,
        calls: &[(LayerSpec, TensorShape, Call)],
    ) -> Result<Vec<Case<'a>>, Error> {
        let footprints = calls
            .iter()
            .map(|(spec, minibatch, _)| footprint(spec, *minibatch));
        check_memory(gpu, &layer.name(), &footprints.collect::<Vec<_>>())?;
        let cases = calls
            .iter()
            .map(|(spec, minibatch, call)| Case::new(layer, spec, *minibatch, *call, &self.inputs));
        Ok(cases.collect())
    }

    fn folded<'a>(&self, gpu: &Gpu, layer: &'a dyn Layer) -> Result<Option<Case<'a>>, Error> {
        if self.shapes.is_some() {
            return Ok(None);
        }
        let minibatch = TensorShape::from(FOLDED);
        let spec = layer.spec(&minibatch.row);
        let spec = spec.map_err(|error| refused(layer, minibatch, &error))?;
        if largest(&spec, minibatch) > FOLDED_ELEMENTS {
            return Ok(None);
        }
        check_spec(layer, &minibatch.row, &spec)?;
        let calls = [(spec, minibatch, Call::Evaluation)];
        Ok(self.drawn(gpu, layer, &calls)?.pop())
    }
}

fn refused(layer: &dyn Layer, minibatch: TensorShape, error: &Error) -> Error {
    CheckError::Refused {
        name: layer.name(),
        input: minibatch.row,
        reason: error.to_string(),
    }
    .into()
}

/// Number of elements of the largest tensor.
fn largest(spec: &LayerSpec, minibatch: TensorShape) -> usize {
    let values = spec.parameters.iter().chain(&spec.state);
    let values = values.map(|spec| spec.shape.len());
    let kept = spec.kept.iter();
    let kept = kept.map(|kept| kept.tensor_shape(minibatch.rows).len());
    let y = minibatch.rows.saturating_mul(spec.output.len());
    values.chain(kept).fold(y.max(minibatch.len()), usize::max)
}

/// The results of a check that found no fault. `Display` prints them as a table.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LayerReport {
    /// Name of the layer.
    pub layer: String,
    /// Kernels whose declarations match their WGSL.
    pub kernels: Vec<String>,
    /// Dispatches of these kernels that were interpreted without findings.
    pub sanitized: Vec<Sanitized>,
    /// Kernels that could not be interpreted, each with the construct that the interpreter does not support.
    pub not_sanitized: BTreeMap<String, String>,
    /// One row per compared tensor and minibatch.
    pub rows: Vec<Comparison>,
}

impl fmt::Display for LayerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sanitized = (&self.sanitized[..], &self.not_sanitized);
        write_table(f, &self.layer, &self.kernels, sanitized, &self.rows)
    }
}
