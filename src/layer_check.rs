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
//!   gradient of a parameter each row may be off by as much: `tolerance · (rows + |v|)`;
//! - what the reference's result moves by when each of its operands moves by `8·√n` roundings to one side or
//!   the other, `n` being the largest of rows, features and outputs. A sum of `n` products in single precision
//!   is as good as that, and so is an `exp`, whose error grows with its argument;
//! - four times what the reference in `f32` is off by: a formula that cancels does so on a GPU as well.
//!
//! `sin` and `cos` may be off by 2⁻¹¹ in −π…π, and by anything elsewhere: a layer of these needs a
//! [tolerance](LayerCheck::tolerance) and [inputs](LayerCheck::inputs) of its own.
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
//! Of each tensor at most 256 elements are looked at, spread evenly, in minibatches of up to 64 values.

mod case;
mod gradient;
mod guard;
mod parity;

use std::fmt;
use std::ops::RangeInclusive;

use crate::error::Error;
pub use crate::error::{LayerError, Pass, Place};
use crate::gpu::Gpu;
use crate::kernel::Contract;
use crate::ops::Layer;
use case::{Case, OnGpu};

/// Minibatches, (rows, features): the smallest, odd ones, around a workgroup of 64, several workgroups.
const SHAPES: [[usize; 2]; 10] = [
    [1, 1],
    [1, 2],
    [3, 7],
    [1, 63],
    [64, 1],
    [1, 65],
    [5, 127],
    [2, 64],
    [100, 50],
    [101, 53],
];

/// One with more elements than one dispatch dimension has invocations in workgroups of 64, and the most
/// elements that a tensor may have to go with it.
const FOLDED: [usize; 2] = [2053, 2053];
const FOLDED_ELEMENTS: usize = 1 << 23;

/// Values of a minibatch whose gradient is compared with central differences.
const DIFFERENCED: usize = 64;

/// Checks a layer as [`LayerCheck`] does by default.
///
/// ```
/// use wgrad::ops::Gelu;
/// use wgrad::{Gpu, check_layer};
///
/// let table = check_layer(&Gpu::new()?, &Gelu)?;
/// assert_eq!(table.kernels, ["gelu::forward", "gelu::backward"]);
/// println!("{table}");
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// # Errors
/// As [`LayerCheck::run`].
pub fn check_layer(gpu: &Gpu, layer: &dyn Layer) -> Result<Table, Error> {
    LayerCheck::default().run(gpu, layer)
}

/// How a layer is checked.
///
/// ```
/// use wgrad::ops::LeakyRelu;
/// use wgrad::{Gpu, LayerCheck};
///
/// let check = LayerCheck::default().shapes([[3, 7], [2, 100]]).tolerance(1e-6);
/// let table = check.run(&Gpu::new()?, &LeakyRelu::new(0.2))?;
/// assert!(table.rows.iter().all(|row| row.difference <= row.bound));
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LayerCheck {
    /// None: those above.
    shapes: Option<Vec<[usize; 2]>>,
    inputs: RangeInclusive<f32>,
    tolerance: f64,
}

impl Default for LayerCheck {
    fn default() -> Self {
        Self {
            shapes: None,
            inputs: -100.0..=100.0,
            tolerance: 1e-5,
        }
    }
}

impl LayerCheck {
    /// Minibatches to try, as (rows, features), for a layer that does not take every number of
    /// features. Default: 1×1, odd ones, some around a workgroup of 64, and 2053×2053, which is more than
    /// one dispatch dimension holds (left out where that would make a tensor of over 2²³ values).
    #[must_use]
    pub fn shapes(mut self, shapes: impl Into<Vec<[usize; 2]>>) -> Self {
        self.shapes = Some(shapes.into());
        self
    }

    /// Values that `x` may have, for a formula that is not meant for all. Default: −100…100, most of
    /// them in −4…4, with zeros of both signs and repeats.
    #[must_use]
    pub fn inputs(mut self, inputs: RangeInclusive<f32>) -> Self {
        self.inputs = inputs;
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
    /// 2. every element of its results is written, none outside of them, and none is NaN;
    /// 3. *forward*: `y` on the GPU is that of the reference in `f64`;
    /// 4. *gradient*: the reference's backward pass is the derivative of its forward pass;
    /// 5. *backward*: `dx` and the gradients by all parameters on the GPU are those of the reference.
    ///
    /// Passes are as in evaluation; as in training, with something to draw from; and as of the first layer
    /// of a network, where nobody reads `dx`.
    ///
    /// # Errors
    /// [`Error::Layer`] with the first thing that is wrong, what [`Layer::check`] says, [`Error::Binding`] when a dispatch does not
    /// fit its kernel, [`Error::Setting`] when a shape, the inputs or the tolerance make no sense; or as
    /// [`Gpu::submit`] and [`Gpu::read`].
    pub fn run(&self, gpu: &Gpu, layer: &dyn Layer) -> Result<Table, Error> {
        self.check()?;
        layer.check()?;
        let mut kernels: Vec<Contract> = Vec::new();
        let mut rows = self.rows(gpu, &self.cases(layer)?, &mut kernels)?;
        if let Some(folded) = self.folded(layer)? {
            rows.extend(self.rows(gpu, &[folded], &mut kernels)?);
        }
        Ok(Table {
            layer: layer.name(),
            kernels: kernels.iter().map(Contract::name).collect(),
            rows,
        })
    }

    fn rows(
        &self,
        gpu: &Gpu,
        cases: &[Case<'_>],
        kernels: &mut Vec<Contract>,
    ) -> Result<Vec<Row>, Error> {
        let runs = cases.iter().map(|case| case.on_gpu(gpu, kernels));
        let runs: Vec<OnGpu> = runs.collect::<Result<_, _>>()?;
        let mut rows = Vec::new();
        for (case, run) in cases.iter().zip(&runs) {
            rows.extend(parity::check(case, Pass::Forward, run, self.tolerance)?);
        }
        for (case, run) in cases.iter().zip(&runs) {
            let is_small = case.shape[0] * case.shape[1] <= DIFFERENCED;
            if is_small && case.mode != Mode::First {
                rows.extend(gradient::check(case, run)?);
            }
        }
        for (case, run) in cases.iter().zip(&runs) {
            rows.extend(parity::check(case, Pass::Backward, run, self.tolerance)?);
        }
        Ok(rows)
    }

    fn check(&self) -> Result<(), Error> {
        let shapes = self.shapes.iter().flatten();
        if let Some([rows, columns]) = shapes.clone().find(|shape| shape.contains(&0)) {
            let found = format!("{rows}×{columns}");
            return Err(Error::setting(
                "shape of a minibatch",
                "at least 1×1",
                found,
            ));
        }
        if self.shapes.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::setting("shapes", "at least one", "none"));
        }
        let (low, high) = (*self.inputs.start(), *self.inputs.end());
        if !(low.is_finite() && high.is_finite() && low < high) {
            let found = format!("{low}..={high}");
            return Err(Error::setting("inputs", "a finite range", found));
        }
        if !(self.tolerance.is_finite() && self.tolerance >= 0.0) {
            let expected = "finite and at least 0";
            return Err(Error::setting("tolerance", expected, self.tolerance));
        }
        Ok(())
    }

    fn cases<'a>(&self, layer: &'a dyn Layer) -> Result<Vec<Case<'a>>, Error> {
        let new = |shape, mode| Case::new(layer, shape, mode, &self.inputs);
        let mut cases = Vec::new();
        for &shape in self.shapes.as_deref().unwrap_or(&SHAPES) {
            cases.push(new(shape, Mode::Evaluation)?);
            // One row, or one feature, shows nothing more in the other ways to call a layer.
            if shape.contains(&1) && self.shapes.is_none() {
                continue;
            }
            cases.push(new(shape, Mode::Training)?);
            if !layer.parameters(shape[1]).is_empty() {
                cases.push(new(shape, Mode::First)?);
            }
        }
        Ok(cases)
    }

    fn folded<'a>(&self, layer: &'a dyn Layer) -> Result<Option<Case<'a>>, Error> {
        if self.shapes.is_some() || largest(layer, FOLDED) > FOLDED_ELEMENTS {
            return Ok(None);
        }
        Ok(Some(Case::new(
            layer,
            FOLDED,
            Mode::Evaluation,
            &self.inputs,
        )?))
    }
}

/// Elements of the largest tensor.
fn largest(layer: &dyn Layer, [rows, inputs]: [usize; 2]) -> usize {
    let parameters = layer.parameters(inputs).into_iter();
    let sizes = parameters.map(|spec| spec.shape[0].saturating_mul(spec.shape[1]));
    let values = rows.saturating_mul(layer.outputs(inputs).max(inputs));
    sizes.fold(values, usize::max)
}

/// As what a layer is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As in an evaluation.
    Evaluation,
    /// As in training: with something to draw from.
    Training,
    /// As the first layer of a network: nobody reads `dx`.
    First,
}

/// Which comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// A pass on the GPU, in `f32`, with the reference in `f64`.
    Parity(Pass),
    /// The reference's backward pass with central differences of its forward pass, in `f64`.
    Gradient,
}

/// One tensor of one minibatch.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What was compared.
    pub check: Check,
    /// `y`, `dx`, or the gradient by a parameter, for example `dweight`.
    pub tensor: String,
    /// Rows and features of the minibatch.
    pub minibatch: [usize; 2],
    /// As what the layer was called.
    pub mode: Mode,
    /// Of the element that comes nearest to its bound: how far it is off,
    pub difference: f64,
    /// and how far it may be.
    pub bound: f64,
}

/// What a check has found, everything within its bounds; `Display` prints it as a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Name of the layer.
    pub layer: String,
    /// Kernels that are what their WGSL says.
    pub kernels: Vec<String>,
    /// A row for every tensor of every minibatch.
    pub rows: Vec<Row>,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [difference, bound] = ["difference", "bound"];
        let Self { layer, kernels, .. } = self;
        writeln!(f, "{layer}")?;
        for kernel in kernels {
            writeln!(f, "contract  {kernel} is what its WGSL says")?;
        }
        write!(
            f,
            "{:<10}{:<10}{:>10}{difference:>14}{bound:>11}",
            "check", "of", "minibatch"
        )?;
        for row in &self.rows {
            let check = match row.check {
                Check::Parity(pass) => pass.to_string(),
                Check::Gradient => "gradient".to_owned(),
            };
            let minibatch = format!("{}×{}", row.minibatch[0], row.minibatch[1]);
            let mode = match row.mode {
                Mode::Evaluation => "",
                Mode::Training => "  in training",
                Mode::First => "  as first layer",
            };
            let Row {
                tensor,
                difference,
                bound,
                ..
            } = row;
            write!(f, "\n{check:<10}{tensor:<10}{minibatch:>10}")?;
            write!(f, "{difference:>14.1e}{bound:>11.1e}{mode}")?;
        }
        Ok(())
    }
}

/// Of some elements the one that comes nearest to its bound, or is furthest beyond.
#[derive(Debug, Clone, Copy)]
struct Worst {
    at: usize,
    found: f64,
    expected: f64,
    bound: f64,
}

impl Worst {
    fn of(elements: impl Iterator<Item = Self>) -> Option<Self> {
        elements.max_by(|a, b| a.excess().total_cmp(&b.excess()))
    }

    fn difference(&self) -> f64 {
        match self.found == self.expected {
            true => 0.0,
            false => (self.found - self.expected).abs(),
        }
    }

    fn excess(&self) -> f64 {
        match self.difference() {
            0.0 => 0.0,
            difference if difference.is_nan() => f64::INFINITY,
            difference => difference / self.bound,
        }
    }

    fn is_within(&self) -> bool {
        self.difference() <= self.bound
    }

    fn row(&self, check: Check, tensor: String, case: &Case<'_>) -> Row {
        Row {
            check,
            tensor,
            minibatch: case.shape,
            mode: case.mode,
            difference: self.difference(),
            bound: self.bound,
        }
    }
}
