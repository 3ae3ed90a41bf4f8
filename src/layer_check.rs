//! Checks a layer in one call: its kernels against their WGSL, the GPU against the reference, and the reference against
//! its own central differences.
//!
//! # How far apart GPU and reference may be
//!
//! The check does not know the layer's formula, so it cannot derive an error bound from it. Where the `f64` reference
//! gives `v`, the GPU's element may differ by the sum of
//!
//! - `tolerance · (1 + |v|)`, by default 1e-5: the error that WGSL allows for `tanh`. It allows less for `exp`, `log`,
//!   `sqrt` and division, and exact arithmetic needs less. For the gradient of a parameter, each position of each row
//!   may add this error: `tolerance · (positions + |v|)`, where a row of C×H×W has H·W positions and a row of features
//!   has one;
//! - the distance that the reference's result moves when each operand moves up or down by `8·√n` roundings, where `n`
//!   is the largest of positions, features and outputs. This covers a sum of `n` products in single precision, and an
//!   `exp`, whose error grows with its argument;
//! - four times the error of the reference in `f32`: a formula that suffers from cancellation there does so on a GPU as
//!   well.
//!
//! WGSL allows `sin` and `cos` an error of 2⁻¹¹ in −π…π and any error elsewhere. A layer that uses them needs its own
//! [tolerance](LayerCheck::tolerance) and [inputs](LayerCheck::inputs).
//!
//! A GPU may fuse a product with the sum it is added to, and then it does not round the product. So if a kernel
//! subtracts a value from itself (for example the mean of a single value from that value) and computes the product
//! twice, the product's rounding error remains, and later factors multiply it. Store the product once and read it the
//! second time.
//!
//! Real mistakes are much larger: if a derivative lacks a term, the difference is that term.
//!
//! # How far apart the reference and central differences may be
//!
//! Both are `f64`. A difference over `±h`, with `h = 2⁻¹⁷·max(1, |u|)`, may be off by the sum of
//!
//! - its rounding error, `16·ε·Σ|dy·y|/h` over the outputs that change;
//! - twice the change when `h` is halved: where the second derivative jumps, the error is halved too;
//! - half the distance between the left and the right slope: at a kink any slope in between is right;
//! - 1e-7 of the slope, plus 1e-7, for everything else.
//!
//! Only minibatches of up to 64 values are differenced, or the smallest ones if all have more. At most 256 elements of
//! each tensor are tested, evenly spread.

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

/// The most elements that any tensor may have for the 2053×2053 minibatch to be tried.
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

/// The settings of a layer check.
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
    /// `None`: the default shapes, which every layer of features takes.
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
    /// Sets the minibatches to try, as `[rows, features]` or `(rows, shape of a row)`, for a layer that does not take
    /// every number of features. Default: 1×1, odd shapes, some around a workgroup of 64, and 2053×2053, which is more
    /// than one dispatch dimension holds (left out if it would make a tensor of over 2²³ values).
    #[must_use]
    pub fn shapes(mut self, shapes: impl IntoIterator<Item = impl Into<TensorShape>>) -> Self {
        self.shapes = Some(shapes.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the range of the values of `x`, for a formula that is not meant for all numbers. Default: −100…100, most of
    /// them in −4…4, with zeros of both signs and repeated values. A layer that [takes
    /// indices](crate::ops::LayerSpec::indices_below) gets indices instead.
    #[must_use]
    pub fn inputs(mut self, inputs: RangeInclusive<f32>) -> Self {
        self.inputs = inputs;
        self
    }

    /// Sets how passes are [sanitized](crate::sanitize()), and the most elements that all tensors of such a pass may
    /// have together. Default: 4,096 elements, in three orders, not compared with the device. 0 turns the sanitizer
    /// off.
    #[must_use]
    pub fn sanitized(mut self, elements: usize, sanitizer: Sanitizer) -> Self {
        self.sanitizing = Sanitizing {
            sanitizer,
            elements,
        };
        self
    }

    /// Sets the allowed error of a result, relative to 1 and to the result: see [the module](self). Default: 1e-5.
    #[must_use]
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Checks a layer, in this order:
    ///
    /// 1. *contract*: every kernel that the layer dispatches declares what its WGSL says;
    /// 2. every element of the results and of the kept values is written, nothing is written outside of them, and no
    ///    result is NaN; state changes only in the forward pass in training;
    /// 3. *forward*: `y` on the GPU matches the reference in `f64`, and so does the state after a pass in training;
    /// 4. *gradient*: the reference's backward pass is the derivative of its forward pass;
    /// 5. *backward*: `dx` and the gradients of all parameters on the GPU match the reference.
    ///
    /// The passes run as in evaluation, as in training (with random numbers to draw), and as for the first layer of a
    /// network in training, where `dx` is not needed. The GPU's backward pass gets what the GPU's forward pass has
    /// kept, the reference's backward pass what the reference has kept: the two need not keep the same values. All
    /// parameters lie in one buffer, as do all their gradients and all the state.
    ///
    /// # Errors
    /// [`Error::Check`] with the first fault found; any error of [`Layer::spec`] and of the passes; [`Error::Binding`]
    /// when a dispatch does not fit its kernel; [`Error::Setting`] when a shape, the inputs, the tolerance, or a name
    /// or initial values that the layer states are invalid; [`Error::Memory`] or [`Error::Limit`] when a tensor is
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
            // One row or one feature shows nothing new in the other calls.
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

    /// The cases, after a check that there is memory for all of them.
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

/// The results of a check, all within their bounds; `Display` prints them as a table.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LayerReport {
    /// Name of the layer.
    pub layer: String,
    /// Kernels that declare what their WGSL says.
    pub kernels: Vec<String>,
    /// Dispatches of these kernels that were interpreted without a finding.
    pub sanitized: Vec<Sanitized>,
    /// Kernels that could not be interpreted, each with the reason.
    pub not_sanitized: BTreeMap<String, String>,
    /// One row per comparison of a tensor in a minibatch.
    pub rows: Vec<Comparison>,
}

impl fmt::Display for LayerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sanitized = (&self.sanitized[..], &self.not_sanitized);
        write_table(f, &self.layer, &self.kernels, sanitized, &self.rows)
    }
}
