//! A layer checked in one call: its kernels against their WGSL, the GPU against the reference, the
//! reference against central differences of itself.
//!
//! # How far apart GPU and reference may be
//!
//! The check knows no formula, so that it cannot derive an error bound from one. An element that is
//! `v` by the `f64` reference may be off by the sum of
//!
//! - `tolerance · (1 + |v|)`, by default 1e-5: what WGSL lets its `tanh` be off by. `exp`, `log`, `sqrt` and
//!   divisions are held to less; exact arithmetic needs less. In the
//!   gradient of a parameter each position of each row may be off by as much: `tolerance · (positions + |v|)`, where
//!   a row of C×H×W has H·W positions and a row of features one;
//! - what the reference's result moves by when each of its operands moves by `8·√n` roundings to one side or
//!   the other, `n` being the largest of positions, features and outputs. A sum of `n` products in single precision
//!   is as good as that, and so is an `exp`, whose error grows with its argument;
//! - four times what the reference in `f32` is off by: a formula that cancels does so on a GPU as well.
//!
//! `sin` and `cos` may be off by 2⁻¹¹ in −π…π, and by anything elsewhere: a layer of these needs a
//! [tolerance](LayerCheck::tolerance) and [inputs](LayerCheck::inputs) of its own.
//!
//! A GPU may fuse a product with a sum that it is added to, and does not round it then. So where a kernel takes a value
//! from itself, as the mean of a single value from that, and computes the product twice, the rounding of the product is
//! left, times what follows. Store it, and read it the second time.
//!
//! Mistakes are much larger: where a derivative lacks a term, the difference is that term.
//!
//! # How far apart the reference and central differences may be
//!
//! Both are `f64`. A difference over `±h`, `h = 2⁻¹⁷·max(1, |u|)`, may be off by the sum of
//!
//! - its rounding, `16·ε·Σ|dy·y|/h` over the outputs that change;
//! - twice what it changes by when `h` is halved: where the second derivative jumps, the error halves too;
//! - half of what the slopes to the left and to the right differ by: at a kink any slope in between is right;
//! - 1e-7 of the slope, plus 1, for the rest.
//!
//! Of each tensor at most 256 elements are looked at, spread evenly, in minibatches of up to 64 values, or the smallest
//! where all have more.

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

/// The most elements that a tensor may have in the minibatch of 2053×2053.
const FOLDED_ELEMENTS: usize = 1 << 23;

/// Checks a layer as [`LayerCheck`] does by default.
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
/// As [`LayerCheck::run`].
pub fn check_layer(gpu: &Gpu, layer: &dyn Layer) -> Result<LayerReport, Error> {
    LayerCheck::default().run(gpu, layer)
}

/// How a layer is checked.
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
    /// None: those that every layer of features takes.
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
    /// Minibatches to try, as `[rows, features]` or `(rows, shape of a row)`, for a layer that does not take every
    /// number of features. Default: 1×1, odd ones, some around a workgroup of 64, and 2053×2053, which is more than
    /// one dispatch dimension holds (left out where that would make a tensor of over 2²³ values).
    #[must_use]
    pub fn shapes(mut self, shapes: impl IntoIterator<Item = impl Into<TensorShape>>) -> Self {
        self.shapes = Some(shapes.into_iter().map(Into::into).collect());
        self
    }

    /// Values that `x` may have, for a formula that is not meant for all. Default: −100…100, most of
    /// them in −4…4, with zeros of both signs and repeats. A layer that [takes
    /// indices](crate::ops::LayerSpec::indices_below) is given those instead.
    #[must_use]
    pub fn inputs(mut self, inputs: RangeInclusive<f32>) -> Self {
        self.inputs = inputs;
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

    /// Checks a layer, in this order:
    ///
    /// 1. *contract*: every kernel that it dispatches declares what its WGSL says;
    /// 2. every element of its results and of what it keeps is written, none outside of them, and no result is NaN;
    ///    state changes in the forward pass of training alone;
    /// 3. *forward*: `y` on the GPU is that of the reference in `f64`, and after a pass in training so is the state;
    /// 4. *gradient*: the reference's backward pass is the derivative of its forward pass;
    /// 5. *backward*: `dx` and the gradients by all parameters on the GPU are those of the reference.
    ///
    /// Passes are as in evaluation; as in training, with something to draw from; and as of the first layer
    /// of a network in training, where nobody reads `dx`. The GPU's backward pass is given what the GPU has kept, the
    /// reference's what the reference has kept: the two need not keep the same. Parameters lie in one buffer, as do
    /// their gradients and the state.
    ///
    /// # Errors
    /// [`Error::Check`] with the first thing that is wrong, what [`Layer::spec`] and the passes say, [`Error::Binding`]
    /// when a dispatch does not fit its kernel, [`Error::Setting`] when a shape, the inputs or the tolerance make no
    /// sense, or a name or initial values that the layer states; [`Error::Memory`] or [`Error::Limit`] when a tensor is
    /// larger than this machine or the device can hold; or as [`Gpu::submit`] and [`Gpu::read`].
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
            // One row, or one feature, shows nothing more in the other ways to call a layer.
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

    /// The cases, if there is memory for all of them.
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

/// Elements of the largest tensor.
fn largest(spec: &LayerSpec, minibatch: TensorShape) -> usize {
    let values = spec.parameters.iter().chain(&spec.state);
    let values = values.map(|spec| spec.shape.len());
    let kept = spec.kept.iter();
    let kept = kept.map(|kept| kept.tensor_shape(minibatch.rows).len());
    let y = minibatch.rows.saturating_mul(spec.output.len());
    values.chain(kept).fold(y.max(minibatch.len()), usize::max)
}

/// What a check has found, everything within its bounds; `Display` prints it as a table.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LayerReport {
    /// Name of the layer.
    pub layer: String,
    /// Kernels that are what their WGSL says.
    pub kernels: Vec<String>,
    /// Their dispatches that were interpreted, with nothing found.
    pub sanitized: Vec<Sanitized>,
    /// Kernels that could not be interpreted, each with what in it the interpreter does not know.
    pub not_sanitized: BTreeMap<String, String>,
    /// A row for every tensor of every minibatch.
    pub rows: Vec<Comparison>,
}

impl fmt::Display for LayerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sanitized = (&self.sanitized[..], &self.not_sanitized);
        write_table(f, &self.layer, &self.kernels, sanitized, &self.rows)
    }
}
