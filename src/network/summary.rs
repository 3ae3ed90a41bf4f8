//! A network at a glance.

use std::fmt;

use super::gradients::Gradients;
use super::graph::{Graph, Source};
use crate::ops::metrics::HISTORY;
use crate::shape::Shape;

/// Numbers that an optimizer has of each step to come.
const COEFFICIENTS: usize = 4;

/// What a network is made of, layer by layer; `Display` prints it as a table. Made by
/// [`Sequential::summary`](crate::Sequential::summary).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Numbers in a row of features: those of all inputs.
    pub features: usize,
    /// Shapes of the inputs.
    pub inputs: Vec<Shape>,
    /// Numbers of the gradients by values that are there at once, for each example.
    pub gradients: usize,
    /// The layers in order, and what is added or concatenated between them.
    pub layers: Vec<LayerRow>,
}

/// A layer, or a sum or concatenation of values.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerRow {
    /// Its number, as the names of its parameters have it; none of a sum or concatenation.
    pub index: Option<usize>,
    /// For example `Linear(50)`, `Linear(50) again` where it has the parameters of an earlier one, or `add layers.2`.
    pub name: String,
    /// Shape of what it gives for each example.
    pub output: Shape,
    /// Trainable values.
    pub parameters: usize,
    /// Numbers that it hands on to the backward pass for each example.
    pub kept: usize,
    /// Floating-point operations of the forward pass of an example; the backward pass of a layer with
    /// parameters takes about twice as many.
    pub flops: u64,
}

impl Summary {
    pub(super) fn of(graph: &Graph) -> Self {
        let values = &graph.values;
        let mut summary = Self {
            features: graph.features(),
            gradients: Gradients::new(graph, false).elements(),
            inputs: Vec::new(),
            layers: Vec::new(),
        };
        for (index, value) in values.iter().enumerate() {
            let name_of = |operand: usize| values[operand].name.as_str();
            let elements = value.shape.len() as u64;
            let (number, name, parameters, kept, flops) = match &value.source {
                Source::Input { .. } => {
                    summary.inputs.push(value.shape);
                    continue;
                }
                Source::Layer { layer, x } => {
                    let of_use = &graph.uses[*layer];
                    let mut name = of_use.layer.name();
                    if of_use.is_repeated {
                        name.push_str(" again");
                    }
                    if *x + 1 != index {
                        name = format!("{name} of {}", name_of(*x));
                    }
                    let parameters = match of_use.is_repeated {
                        true => 0,
                        false => of_use.spec.parameters.iter().map(|p| p.shape.len()).sum(),
                    };
                    let kept = of_use.spec.kept.iter().filter(|kept| kept.is_per_row);
                    let kept = kept.map(|kept| kept.shape.len()).sum();
                    (Some(*layer), name, parameters, kept, of_use.spec.flops)
                }
                Source::Sum([_, other]) => {
                    (None, format!("add {}", name_of(*other)), 0, 0, elements)
                }
                Source::Concat(of) => {
                    let others = of.iter().skip(1).map(|&value| name_of(value));
                    let name = format!("concat {}", others.collect::<Vec<_>>().join(", "));
                    (None, name, 0, 0, 0)
                }
            };
            summary.layers.push(LayerRow {
                index: number,
                name,
                output: value.shape,
                parameters,
                kept,
                flops,
            });
        }
        summary
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
    /// `kept` numbers of an optimizer for each parameter (momentum, `AdaGrad` and `RmsProp` 1, `Adam` 2), a
    /// minibatch's outputs of every layer with what they keep, gradients that take turns, and losses and
    /// coefficients of 16,384 steps. It takes less where a `Relu` stands behind a `Linear`, which share their
    /// output.
    #[must_use]
    pub fn training_bytes(&self, batch: usize, kept: usize) -> u64 {
        let outputs = self
            .layers
            .iter()
            .map(|layer| layer.output.len() + layer.kept);
        let outputs: usize = outputs.sum();
        let of_parameters = (2 + kept) * self.parameters();
        let of_steps = HISTORY * (1 + COEFFICIENTS);
        let of_rows = self.features + outputs + self.gradients;
        4 * (of_parameters + of_steps + batch * of_rows) as u64
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["layer", "output", "parameters", "FLOP/example"];
        writeln!(
            f,
            "   {:<28} {:>12} {:>12} {:>14}",
            head[0], head[1], head[2], head[3]
        )?;
        for input in &self.inputs {
            writeln!(f, "   {:<28} {input:>12} {:>12} {:>14}", "input", "-", "-")?;
        }
        for row in &self.layers {
            let LayerRow {
                name,
                output,
                parameters,
                flops,
                ..
            } = row;
            let number = row.index.map_or(String::new(), |index| index.to_string());
            writeln!(
                f,
                "{number:>2} {name:<28} {output:>12} {parameters:>12} {flops:>14}"
            )?;
        }
        let (parameters, flops) = (self.parameters(), self.flops());
        writeln!(
            f,
            "   {:<28} {:>12} {parameters:>12} {flops:>14}",
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
