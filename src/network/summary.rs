//! The summary of a network: its layers, parameters, operations and memory.

use std::fmt;

use super::gradients::{Gradients, Wanted};
use super::graph::{Graph, Parameter, Source};
use crate::memory::{bytes_of, total};
use crate::ops::metrics::HISTORY;
use crate::shape::Shape;

/// Number of coefficients per step that an optimizer computes in advance, such as the learning rate. Each is an `f32`.
const COEFFICIENTS: u64 = 4;
/// Alignment of a parameter in an arena, in 4-byte elements. No device needs a larger alignment.
const ALIGNMENT: u64 = 64;

/// The layers of a network, with their sizes and costs. `Display` prints them as a table.
/// [`Sequential::summary`](crate::Sequential::summary) creates it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Number of features per row: the elements of all inputs.
    pub features: usize,
    /// Shape of each input for one row.
    pub inputs: Vec<Shape>,
    /// The layers in order, and the sums and concatenations between them.
    pub layers: Vec<LayerRow>,
    memory: Memory,
}

/// GPU memory of a training, in 4-byte elements.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Memory {
    /// Elements of the parameters. Gradients and optimizer state take multiples of this.
    parameters: u64,
    /// Elements for the parameter gradients of second and later uses of a layer, before they are added to those of the
    /// first use.
    later: u64,
    /// Elements of the layers' state.
    state: u64,
    /// Elements that layers store for the backward pass, per minibatch.
    of_minibatch: u64,
    /// Elements that each example of a minibatch adds: values and their gradients, elements stored for the backward
    /// pass, features, targets, loss and index.
    of_example: u64,
}

impl Memory {
    fn of(graph: &Graph) -> Self {
        // A single input needs no memory in addition to the features. A `Relu` that is fused with the `Linear` or
        // `Conv2d` before it shares the memory of that layer's output.
        let features = match graph.inputs {
            1 => 0,
            _ => graph.features() as u64,
        };
        let values = graph.values.iter().enumerate();
        let values = values.filter(|(_, value)| match value.source {
            Source::Layer { layer, .. } => graph.relu_after(&graph.uses[layer]).is_none(),
            _ => true,
        });
        let values = values.map(|(_, value)| value.shape.len() as u64);
        // Per example: the target values (`outputs` of them), the loss, and the index in the data set.
        let beside = (graph.outputs() as u64).saturating_add(2);
        let gradients = Gradients::new(graph, true, &Wanted::parameters(graph)).elements() as u64;
        let repeated = graph.repeated().map(|index| &graph.parameters[index]);
        Self {
            parameters: aligned(&graph.parameters),
            later: aligned(repeated),
            state: aligned(&graph.state),
            of_minibatch: graph.kept(false),
            of_example: total(values.chain([features, graph.kept(true), gradients, beside])),
        }
    }
}

/// Elements that these parameters take in an arena, where each parameter begins at an offset that a device can bind.
fn aligned<'a>(parameters: impl IntoIterator<Item = &'a Parameter>) -> u64 {
    let sizes = parameters.into_iter();
    let sizes = sizes.map(|parameter| parameter.spec.shape.len() as u64);
    total(sizes.map(|size| size.div_ceil(ALIGNMENT).saturating_mul(ALIGNMENT)))
}

/// A row of a [`Summary`]: a layer, or a sum or concatenation of values.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerRow {
    /// Index of the layer, which is also in the names of its parameters; `None` for a sum or concatenation.
    pub index: Option<usize>,
    /// Description of the layer, for example `Linear(50)`, `add layers.2`, or `Linear(50) (layers.0 again)` for a
    /// repeated use of a layer.
    pub name: String,
    /// Shape of the output for one example.
    pub output: Shape,
    /// Number of elements of the layer's parameters; 0 for a repeated use of a layer.
    pub parameters: u64,
    /// Number of elements per example that the layer stores in the forward pass for its backward pass.
    pub kept: u64,
    /// Floating-point operations of the forward pass for one example. The backward pass of a layer with parameters
    /// takes about twice as many.
    pub flops: u64,
}

impl Summary {
    pub(crate) fn of(graph: &Graph) -> Self {
        let values = &graph.values;
        let mut summary = Self {
            features: graph.features(),
            inputs: Vec::new(),
            layers: Vec::new(),
            memory: Memory::of(graph),
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
                    let layer_use = &graph.uses[*layer];
                    let mut name = graph.name_of(layer_use);
                    if *x + 1 != index {
                        name = format!("{name} of {}", name_of(*x));
                    }
                    let parameters = layer_use.spec.parameters.iter();
                    let parameters = if layer_use.is_repeated {
                        0
                    } else {
                        total(parameters.map(|parameter| parameter.shape.len() as u64))
                    };
                    let kept = layer_use.spec.kept.iter().filter(|kept| kept.is_per_row);
                    let kept = total(kept.map(|kept| kept.shape.len() as u64));
                    (Some(*layer), name, parameters, kept, layer_use.spec.flops)
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

    /// Total number of elements of all parameters. If the sum overflows, it is `u64::MAX`.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        total(self.layers.iter().map(|layer| layer.parameters))
    }

    /// Total number of floating-point operations of the forward pass for one example. If the sum overflows, it is
    /// `u64::MAX`.
    #[must_use]
    pub fn flops(&self) -> u64 {
        total(self.layers.iter().map(|layer| layer.flops))
    }

    /// Returns an upper bound on the GPU memory of a training whose layers are not fused, in bytes. `batch` is the
    /// number of examples per minibatch. `optimizer_state` is the number of state values per parameter element: 1 for
    /// momentum, `AdaGrad` and `RmsProp`, 2 for `Adam`. If the sum overflows, it is `u64::MAX`.
    ///
    /// It includes the parameters, gradients and optimizer state; the layers' state and the values that they
    /// store for the backward pass; the features, targets, losses, layer outputs and activation gradients of a
    /// minibatch; and the losses and coefficients of 16,384 steps.
    ///
    /// It does not include the data set; 256 bytes per dispatch of a step; and buffers that a layer, loss or optimizer
    /// allocates for itself, for example one zero per output for a `Linear` without bias, and a few kilobytes for
    /// gradient clipping.
    #[must_use]
    pub fn training_bytes(&self, batch: usize, optimizer_state: usize) -> u64 {
        let of = &self.memory;
        let like_parameters = (optimizer_state as u64).saturating_add(2);
        bytes_of::<f32>(total([
            of.parameters.saturating_mul(like_parameters),
            of.later,
            of.state,
            of.of_minibatch,
            of.of_example.saturating_mul(batch as u64),
            // The additional element is the step counter.
            HISTORY as u64 * (1 + COEFFICIENTS) + 1,
        ]))
    }

    /// Size of the parameters and the layers' state, in bytes.
    pub(crate) fn network_bytes(&self) -> u64 {
        bytes_of::<f32>(self.memory.parameters.saturating_add(self.memory.state))
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
        let parameters = self.parameters();
        let flops = self.flops();
        writeln!(
            f,
            "   {:<28} {:>12} {parameters:>12} {flops:>14}",
            "total", ""
        )?;
        write!(
            f,
            "GPU memory to train it by SGD: {:.1} kB, and {:.1} kB for each example of a minibatch",
            self.training_bytes(0, 0) as f64 / 1e3,
            bytes_of::<f32>(self.memory.of_example) as f64 / 1e3
        )
    }
}

#[cfg(test)]
mod tests {
    use crate::Sequential;
    use crate::ops::{Linear, Relu};

    /// The summary of a network that no machine can store must not overflow.
    #[test]
    fn what_is_too_large_to_count_is_as_large_as_can_be() -> Result<(), crate::Error> {
        let width = usize::MAX / 2 + 1;
        let two = Sequential::input(width).named("first");
        let two = two.another_input(width).add("first");
        for network in [Sequential::input(width), two] {
            let network = network.layer(Linear::new(width)).layer(Relu);
            let summary = network.layer(Linear::new(width)).summary()?;
            let largest = [summary.parameters(), summary.flops()];
            assert_eq!(largest, [u64::MAX; 2]);
            assert_eq!(summary.training_bytes(usize::MAX, usize::MAX), u64::MAX);
            assert!(summary.to_string().contains(&u64::MAX.to_string()));
        }
        Ok(())
    }
}
