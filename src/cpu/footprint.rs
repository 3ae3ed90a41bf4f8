//! What networks and trainings take of the host's memory, counted before it is taken.

use ndarray::Array2;

use super::pass::bytes_of_passes;
use super::sparse::Nonzero;
use crate::data::Examples;
use crate::error::Error;
use crate::error::memory::readable;
use crate::memory::{self, bytes_of};
use crate::reference::Float;
use crate::sequential::Sequential;

/// Number of trainable values.
fn parameters(spec: &Sequential) -> u64 {
    spec.sizes().into_iter().fold(0, u64::saturating_add)
}

/// The first of a network's values whose gradient is computed, counted from the input on: what the first layer
/// with parameters gives. Nobody reads those before it.
pub(super) fn deltas_from(spec: &Sequential) -> usize {
    let groups = spec.map_specs(|_, _| ());
    let first = groups.iter().position(|of_layer| !of_layer.is_empty());
    first.map_or(groups.len(), |first| first + 1)
}

/// Whether the host has room for a network.
pub(super) fn check_network<F: Float>(spec: &Sequential) -> Result<(), Error> {
    let count = parameters(spec);
    let what = || format!("a network of {count} parameters");
    memory::check(what, of_network::<F>(spec))
}

fn of_network<F>(spec: &Sequential) -> u64 {
    let largest = spec.sizes().into_iter().max().unwrap_or(0);
    // Initial values are drawn as f32, each parameter's in a block that becomes the parameter where that is f32,
    // too.
    let drawn = match size_of::<F>() == size_of::<f32>() {
        true => 0,
        false => bytes_of::<f32>(largest),
    };
    bytes_of::<F>(parameters(spec)).saturating_add(drawn)
}

/// Whether the host has room for the gradients of a network by `parameters`, over so many rows at once.
pub(super) fn check_gradient<F: Float>(
    widths: &[usize],
    deltas_from: usize,
    parameters: &[Vec<Array2<F>>],
    rows: usize,
) -> Result<(), Error> {
    let of_parameters: usize = parameters.iter().flatten().map(Array2::len).sum();
    let values: usize = widths.iter().chain(&widths[deltas_from..]).sum();
    let of_rows = (values as u64).saturating_mul(rows as u64);
    let what = || format!("a gradient over {rows} rows at once");
    memory::check(
        what,
        bytes_of::<F>(of_rows.saturating_add(of_parameters as u64)),
    )
}

/// What a training is of, as far as its memory goes.
pub(super) struct Training<'a> {
    pub(super) spec: &'a Sequential,
    /// Values that the optimizer keeps of each parameter.
    pub(super) kept: usize,
    pub(super) examples: &'a Examples,
    pub(super) batch: usize,
    /// Where the first layer takes only what is not 0.
    pub(super) nonzero: Option<&'a Nonzero>,
}

impl Training<'_> {
    /// Whether the host has room for it, at its peak: during an evaluation.
    pub(super) fn check<F: Float>(&self) -> Result<(), Error> {
        let what = || {
            format!(
                "a training of {} parameters with minibatches of {} examples{}",
                parameters(self.spec),
                self.batch,
                self.of_examples::<F>()
            )
        };
        memory::check(what, self.bytes::<F>())
    }

    /// Where most of it is the data set's, and no smaller network helps.
    fn of_examples<F: Float>(&self) -> String {
        let needed = self.nonzero.map_or(0, Nonzero::of_examples);
        match needed > self.bytes::<F>() / 2 {
            true => format!(
                " (its {} examples alone: {})",
                self.examples.len(),
                readable(needed)
            ),
            false => String::new(),
        }
    }

    pub(super) fn bytes<F: Float>(&self) -> u64 {
        // Parameters, gradients, and what is kept. To draw initial values takes less than the gradients,
        // which come later.
        let of_parameters =
            bytes_of::<F>(parameters(self.spec)).saturating_mul(2 + self.kept as u64);
        of_parameters
            .saturating_add(self.of_minibatch::<F>())
            .saturating_add(self.of_evaluation::<F>())
    }

    fn of_minibatch<F: Float>(&self) -> u64 {
        let widths = self.spec.widths();
        let sum = |from: usize| widths.iter().skip(from).map(|&width| width as u64).sum();
        let (inputs, nonzero) = match self.nonzero {
            None => (0, 0),
            Some(nonzero) => (1, nonzero.memory::<F>(self.batch)),
        };
        let values: u64 = sum(inputs);
        let deltas: u64 = sum(deltas_from(self.spec));
        let of_row = bytes_of::<F>(values + deltas + self.targets());
        // Index and label.
        let of_row = of_row + 2 * bytes_of::<u32>(1);
        of_row
            .saturating_mul(self.batch as u64)
            .saturating_add(nonzero)
    }

    pub(super) fn of_evaluation<F: Float>(&self) -> u64 {
        let passes = bytes_of_passes::<F>(&self.spec.widths(), usize::MAX);
        // What rows are compared with is never wider than their outputs.
        match self.targets() {
            0 => passes,
            _ => passes + passes / 2,
        }
    }

    /// Values of a row that outputs are compared with.
    fn targets(&self) -> u64 {
        match self.examples.values() {
            None => 0,
            Some(_) => self.examples.outputs() as u64,
        }
    }
}
