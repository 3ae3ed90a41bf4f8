//! A network at a glance.

use std::fmt;

use crate::ops::metrics::HISTORY;
use crate::sequential::Sequential;

/// Numbers that an optimizer has of each step to come.
const COEFFICIENTS: usize = 4;

/// What a network is made of, layer by layer; `Display` prints it as a table. Made by
/// [`Sequential::summary`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Features of an example.
    pub inputs: usize,
    /// The layers in order.
    pub layers: Vec<Row>,
}

/// A layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// For example `Linear(50)`.
    pub name: String,
    /// Outputs for each example.
    pub outputs: usize,
    /// Trainable values.
    pub parameters: usize,
    /// Floating-point operations of the forward pass of an example; the backward pass of a layer with
    /// parameters takes about twice as many.
    pub flops: u64,
}

impl Summary {
    pub(crate) fn of(spec: &Sequential) -> Self {
        let widths = spec.widths();
        let row = |(layer, ends): (&std::sync::Arc<dyn crate::ops::Layer>, &[usize])| {
            let parameters = layer.parameters(ends[0]).into_iter();
            Row {
                name: layer.name(),
                outputs: ends[1],
                parameters: parameters.map(|p| p.shape[0] * p.shape[1]).sum(),
                flops: layer.flops(ends[0]),
            }
        };
        Self {
            inputs: widths[0],
            layers: spec
                .layers()
                .iter()
                .zip(widths.windows(2))
                .map(row)
                .collect(),
        }
    }

    /// Trainable values of all layers.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.layers.iter().map(|layer| layer.parameters).sum()
    }

    /// Operations of the forward pass of an example.
    #[must_use]
    pub fn flops(&self) -> u64 {
        self.layers.iter().map(|layer| layer.flops).sum()
    }

    /// Bytes that a training layer by layer takes at most on a GPU, beside its examples: parameters, gradients,
    /// `kept` numbers of an optimizer for each parameter (momentum, `AdaGrad` and `RmsProp` 1, `Adam` 2), a minibatch's
    /// outputs of every layer and two gradients that take turns, and losses and coefficients of 16,384 steps. It
    /// takes less where a `Relu` stands behind a `Linear`, which share their output.
    #[must_use]
    pub fn training_bytes(&self, batch: usize, kept: usize) -> u64 {
        let outputs: usize = self.layers.iter().map(|layer| layer.outputs).sum();
        let turn = |first: usize| {
            let layers = self.layers.iter().skip(first).step_by(2);
            layers.map(|layer| layer.outputs).max().unwrap_or(0)
        };
        let of_parameters = (2 + kept) * self.parameters();
        let of_steps = HISTORY * (1 + COEFFICIENTS);
        4 * (of_parameters + of_steps + batch * (self.inputs + outputs + turn(0) + turn(1))) as u64
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["layer", "outputs", "parameters", "FLOP/example"];
        writeln!(
            f,
            "   {:<20} {:>9} {:>12} {:>14}",
            head[0], head[1], head[2], head[3]
        )?;
        writeln!(
            f,
            "   {:<20} {:>9} {:>12} {:>14}",
            "input", self.inputs, "-", "-"
        )?;
        for (index, row) in self.layers.iter().enumerate() {
            let Row {
                name,
                outputs,
                parameters,
                flops,
            } = row;
            writeln!(
                f,
                "{index:>2} {name:<20} {outputs:>9} {parameters:>12} {flops:>14}"
            )?;
        }
        let (parameters, flops) = (self.parameters(), self.flops());
        writeln!(
            f,
            "   {:<20} {:>9} {parameters:>12} {flops:>14}",
            "total", ""
        )?;
        write!(
            f,
            "GPU memory to train it by SGD: {:.1} kB, and {:.1} kB for each example of a minibatch",
            self.training_bytes(0, 0) as f64 / 1e3,
            (self.training_bytes(1, 0) - self.training_bytes(0, 0)) as f64 / 1e3
        )
    }
}
