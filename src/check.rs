//! Code that the checks of layers, losses and optimizers share: random operands, runs with guard bands, and bounds for
//! the difference of two results.

mod bounds;
mod kernels;
mod numbers;
mod run;
mod slope;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use crate::error::{Call, Error, Pass};
use crate::gpu::Gpu;
use crate::memory::{bytes_of, total};
use crate::sanitize::Sanitized;
use crate::shape::TensorShape;

pub(crate) use bounds::{Moved, ROUNDINGS, Worst, moves, parity};
pub(crate) use kernels::{Kernels, Sanitizing, write_sanitized};
pub(crate) use numbers::Numbers;
pub(crate) use run::{Run, caught};
pub(crate) use slope::{sampled, slope};

/// Shapes of minibatches as (rows, features): 1×1, odd extents, sizes near a workgroup of 64 invocations, and sizes of
/// several workgroups.
pub(crate) const SHAPES: [[usize; 2]; 10] = [
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

/// Shape of a minibatch (rows, features) with more elements than 65,535 workgroups of 64 invocations, the most that one
/// dispatch dimension allows.
pub(crate) const FOLDED: [usize; 2] = [2053, 2053];

/// Maximum number of values of a minibatch whose gradient is compared with central differences.
const DIFFERENCED: usize = 64;

/// The kind of comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Check {
    /// Compares a pass on the GPU, in `f32`, with the `f64` reference.
    Parity(Pass),
    /// Compares the reference's gradient with central differences of its results, in `f64`.
    Gradient,
}

/// The comparison of one tensor of one minibatch.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Comparison {
    /// The kind of the comparison.
    pub check: Check,
    /// Name of the tensor. For a layer: `y`, `dx`, the name of a state, or the gradient of a parameter, such as
    /// `dweight`. For a loss: `losses` or `doutputs`. For an optimizer: `parameter`, `gradient`, or the name of a
    /// state.
    pub tensor: String,
    /// Shape of the minibatch; for an optimizer, shape of the parameter.
    pub minibatch: TensorShape,
    /// Whether the layer ran as in an evaluation, as in training, or as the first layer; `None` for a loss or an
    /// optimizer.
    pub call: Option<Call>,
    /// Difference of the element that comes nearest to its bound.
    pub difference: f64,
    /// The bound for [`difference`](Self::difference).
    pub bound: f64,
}

/// Writes the table of a report: the name of the layer, loss or optimizer, its kernels and the comparisons.
pub(crate) fn write_table(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    kernels: &[String],
    (sanitized, refused): (&[Sanitized], &BTreeMap<String, String>),
    rows: &[Comparison],
) -> fmt::Result {
    let [difference, bound] = ["difference", "bound"];
    let is_update = |row: &Comparison| row.check == Check::Parity(Pass::Update);
    let shape = if rows.iter().all(is_update) {
        "shape"
    } else {
        "minibatch"
    };
    let names = rows.iter().map(|row| row.tensor.len() + 1);
    let width = names.max().unwrap_or_default().max(18);
    writeln!(f, "{name}")?;
    for kernel in kernels {
        writeln!(f, "contract  {kernel} matches its WGSL")?;
    }
    write_sanitized(f, kernels, sanitized, refused)?;
    write!(
        f,
        "{:<10}{:<width$}{shape:>14}{difference:>14}{bound:>11}",
        "check", "of"
    )?;
    for row in rows {
        let check = match row.check {
            Check::Parity(pass) => pass.to_string(),
            Check::Gradient => "gradient".to_owned(),
        };
        let call = match row.call {
            None | Some(Call::Evaluation) => String::new(),
            Some(call) => format!("  {call}"),
        };
        let Comparison {
            tensor,
            minibatch,
            difference,
            bound,
            ..
        } = row;
        write!(f, "\n{check:<10}{tensor:<width$}{minibatch:>14}")?;
        write!(f, "{difference:>14.1e}{bound:>11.1e}{call}")?;
    }
    Ok(())
}

/// The maximum number of values of a minibatch that is compared with central differences: [`DIFFERENCED`], or the size
/// of the smallest minibatch if all are larger.
pub(crate) fn differenced(minibatches: impl Iterator<Item = TensorShape> + Clone) -> usize {
    let smallest = minibatches.map(|shape| shape.len()).min();
    smallest.unwrap_or(0).max(DIFFERENCED)
}

/// Number of `f64` copies of an operand that exist at the same time: the operand, the perturbed operand, and the
/// operand as it was drawn.
pub(crate) const OPERAND: u64 = 3;
/// Number of copies of a result that exist at the same time: the expected result, the result of the perturbed operands,
/// the distance between these two results, the largest distance so far, and the result in `f32`.
pub(crate) const RESULT: u64 = 5;

/// The memory for one tensor of a minibatch.
#[derive(Debug, Clone)]
pub(crate) struct Footprint<'a> {
    pub(crate) name: &'a str,
    pub(crate) shape: TensorShape,
    /// Number of `f64` copies of the tensor that exist while its minibatch is compared.
    pub(crate) copies: u64,
}

impl Footprint<'_> {
    fn bytes(&self) -> u64 {
        bytes_of::<f64>(self.copies.saturating_mul(self.shape.len() as u64))
    }

    /// Bytes that the tensor takes while other minibatches are compared: its drawn values and the GPU's result.
    fn bytes_held(&self) -> u64 {
        bytes_of::<[f32; 2]>(self.shape.len() as u64)
    }
}

/// Checks that the host has enough memory for these minibatches, which are compared one after another.
pub(crate) fn check_memory(
    gpu: &Gpu,
    name: &str,
    minibatches: &[Vec<Footprint<'_>>],
) -> Result<(), Error> {
    let held = total(minibatches.iter().flatten().map(Footprint::bytes_held));
    let compared = |tensors: &[Footprint<'_>]| total(tensors.iter().map(Footprint::bytes));
    let compared = minibatches.iter().map(|tensors| compared(tensors)).max();
    // If several tensors are the largest, name the first: its size may determine that of the others.
    let tensors = minibatches.iter().flatten().rev();
    let Some(largest) = tensors.max_by_key(|tensor| tensor.shape.len()) else {
        return Ok(());
    };
    let what = || {
        let Footprint {
            name: of, shape, ..
        } = largest;
        format!("a check of {name}, whose largest tensor is {of} ({shape}),")
    };
    gpu.check_host(what, held.saturating_add(compared.unwrap_or_default()))
}

/// Checks the settings that all kinds of check share.
pub(crate) fn check_settings(
    shapes: Option<&[TensorShape]>,
    ranges: &[(&str, &RangeInclusive<f32>)],
    tolerance: f64,
) -> Result<(), Error> {
    let mut given = shapes.into_iter().flatten();
    if let Some(empty) = given.find(|shape| shape.is_empty()) {
        let expected = "at least 1 row, and 1 along each extent";
        return Err(Error::setting("shape of a minibatch", expected, empty));
    }
    if shapes.is_some_and(<[_]>::is_empty) {
        return Err(Error::setting("shapes", "at least one", "none"));
    }
    for (name, range) in ranges {
        let low = *range.start();
        let high = *range.end();
        if !(low.is_finite() && high.is_finite() && low < high) {
            let found = format!("{low}..={high}");
            return Err(Error::setting(*name, "a finite range", found));
        }
    }
    if !(tolerance.is_finite() && tolerance >= 0.0) {
        let expected = "finite and at least 0";
        return Err(Error::setting("tolerance", expected, tolerance));
    }
    Ok(())
}
