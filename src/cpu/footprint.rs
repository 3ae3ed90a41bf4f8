//! Computes the host memory of networks and trainings before it is allocated.

use super::passes::Passes;
use super::rows::PassLayout;
use super::sparse;
use crate::error::Error;
use crate::error::memory::readable;
use crate::memory::{self, bytes_of, total};
use crate::network::{Gradients, Graph, Parameter, Wanted};
use crate::reference::Float;

/// Checks that the host has enough memory for a network.
pub(super) fn check_network<F: Float>(graph: &Graph) -> Result<(), Error> {
    let what = || format!("a network of {} parameters", graph.parameter_count());
    memory::check(what, of_network::<F>(graph))
}

fn of_network<F>(graph: &Graph) -> u64 {
    let all = graph.parameters.iter().chain(&graph.state);
    let largest = all.map(size).max().unwrap_or(0);
    // Initial values are drawn as f32, one parameter at a time. For a network in f32, the drawn values become the
    // parameter without another allocation.
    let drawn = if size_of::<F>() == size_of::<f32>() {
        0
    } else {
        bytes_of::<f32>(largest)
    };
    let values = graph.parameter_count().saturating_add(state(graph));
    bytes_of::<F>(values).saturating_add(drawn)
}

/// Checks that the host has enough memory for a copy of a network's parameters and of its layers' state.
pub(super) fn check_copy<F: Float>(graph: &Graph) -> Result<(), Error> {
    let what = || {
        format!(
            "a copy of a network of {} parameters",
            graph.parameter_count()
        )
    };
    memory::check(
        what,
        bytes_of::<F>(graph.parameter_count().saturating_add(state(graph))),
    )
}

/// Checks that the host has enough memory for `what`, which takes `values` values per parameter element.
pub(super) fn check_like_parameters<F: Float>(
    graph: &Graph,
    what: &str,
    values: usize,
) -> Result<(), Error> {
    let count = graph.parameter_count();
    let needed = bytes_of::<F>(count.saturating_mul(values as u64));
    memory::check(|| format!("{what} of {count} parameters"), needed)
}

/// Checks that the host has enough memory to compute the gradients of a network over `rows` rows in one pass.
pub(super) fn check_gradient<F: Float>(passes: &Passes, rows: usize) -> Result<(), Error> {
    let what = || format!("a gradient over {rows} rows at once");
    let gradients = passes.graph.parameter_count();
    // Twice the gradients: the caller also gets a copy of them.
    let values = of_pass(passes, rows, false).saturating_add(gradients.saturating_mul(2));
    memory::check(
        what,
        bytes_of::<F>(values.saturating_add(state(&passes.graph))),
    )
}

/// Checks that the host has enough memory for gradient accumulation, with `rows` rows per step in all minibatches
/// together.
pub(super) fn check_accumulation<F: Float>(passes: &Passes, rows: usize) -> Result<(), Error> {
    let what = || format!("steps of {rows} rows in several minibatches");
    memory::check(what, of_accumulation::<F>(passes, rows))
}

/// Bytes that gradient accumulation adds to a training: the sums of gradients, and one index per row.
pub(super) fn of_accumulation<F: Float>(passes: &Passes, rows: usize) -> u64 {
    let sums = bytes_of::<F>(passes.graph.parameter_count());
    sums.saturating_add(bytes_of::<u32>(rows as u64))
}

/// Checks that the host has enough memory for all activations of `rows` rows at once.
pub(super) fn check_values<F: Float>(passes: &Passes, rows: usize) -> Result<(), Error> {
    let graph = &passes.graph;
    let of_row = total(graph.sizes().map(|size| size as u64)).saturating_add(graph.kept(true));
    let values = of_row
        .saturating_mul(rows as u64)
        .saturating_add(graph.kept(false));
    let what = || format!("the activations of {rows} rows at once");
    memory::check(what, bytes_of::<F>(values.saturating_add(state(graph))))
}

/// Number of elements of a forward and backward pass over `rows` rows: activations and their gradients, without
/// parameters and their gradients. With `is_sparse`, the input is not counted either: the first layer reads it in
/// sparse form.
fn of_pass(passes: &Passes, rows: usize, is_sparse: bool) -> u64 {
    let graph = &passes.graph;
    let gradients = Gradients::new(graph, passes.fuses, &Wanted::parameters(graph));
    let values = passes.columns_of_step(is_sparse).map(|size| size as u64);
    let of_row = total(values.chain([graph.kept(true), gradients.elements() as u64]));
    let repeated = graph.repeated();
    let later = total(repeated.map(|parameter| size(&graph.parameters[parameter])));
    let of_rows = of_row.saturating_mul(rows as u64);
    total([of_rows, graph.kept(false), later, passes.scratch()])
}

/// Number of elements in the state of all layers.
fn state(graph: &Graph) -> u64 {
    total(graph.state.iter().map(size))
}

fn size(parameter: &Parameter) -> u64 {
    parameter.spec.shape.len() as u64
}

/// The sizes from which the memory of a training is computed.
pub(super) struct Training<'a> {
    pub(super) passes: &'a Passes,
    /// Number of elements that the optimizer stores per parameter element.
    pub(super) kept: usize,
    /// Target values per row; 0 if the targets are classes.
    pub(super) values: usize,
    pub(super) batch: usize,
    /// The sizes of the input's sparse form, if the first layer reads the input in sparse form.
    pub(super) sparse: Option<&'a sparse::Form>,
    /// Bytes of the stream's window; 0 for a data set.
    pub(super) of_stream: u64,
}

impl Training<'_> {
    /// Checks that the host has enough memory for the training at its peak, which is during an evaluation.
    pub(super) fn check<F: Float>(&self) -> Result<(), Error> {
        let what = || {
            format!(
                "a training of {} parameters with minibatches of {} examples{}",
                self.passes.graph.parameter_count(),
                self.batch,
                self.of_examples::<F>()
            )
        };
        memory::check(what, self.bytes::<F>())
    }

    /// A note for the error message: names the data set or the stream if it takes more than half of the memory, because
    /// then a smaller network would not help.
    fn of_examples<F: Float>(&self) -> String {
        let needed = self.sparse.map_or(0, sparse::Form::of_examples);
        let half = self.bytes::<F>() / 2;
        match self.sparse {
            Some(form) if needed > half => format!(
                " ({} examples alone need {})",
                form.examples(),
                readable(needed)
            ),
            _ if self.of_stream > half => format!(
                " (one window of its stream alone needs {}; use a smaller window)",
                readable(self.of_stream)
            ),
            _ => String::new(),
        }
    }

    pub(super) fn bytes<F: Float>(&self) -> u64 {
        // Count the gradients and the optimizer's state, but not the parameters, which are already allocated.
        let count = self.passes.graph.parameter_count();
        let of_parameters = count.saturating_mul(1 + self.kept as u64);
        bytes_of::<F>(of_parameters)
            .saturating_add(self.of_stream)
            .saturating_add(self.of_minibatch::<F>())
            .saturating_add(self.of_evaluation::<F>())
    }

    fn of_minibatch<F: Float>(&self) -> u64 {
        let of_input = self.sparse.map(|form| form.memory::<F>(self.batch));
        let batch = self.batch as u64;
        let of_pass = bytes_of::<F>(of_pass(self.passes, self.batch, of_input.is_some()));
        let targets = bytes_of::<F>((self.values as u64).saturating_mul(batch));
        // One index and one label per row.
        let labels = bytes_of::<u32>(2).saturating_mul(batch);
        total([of_pass, targets, labels, of_input.unwrap_or(0)])
    }

    pub(super) fn of_evaluation<F: Float>(&self) -> u64 {
        let layout = PassLayout::new(self.passes);
        let rows = layout.rows::<F>(usize::MAX);
        let targets = bytes_of::<F>((self.values as u64).saturating_mul(rows as u64));
        layout.bytes::<F>(rows).saturating_add(targets)
    }
}
