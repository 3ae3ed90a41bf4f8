//! A network with all its shapes: its values in order of computation, and the operands of each value.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use super::parameters::unknown_name;
use super::sequential::ColumnsOf;
use crate::error::Error;
use crate::memory::total;
use crate::ops::{Conv2d, Layer, LayerSpec, Linear, MaxPool2d, ParameterSpec, Relu, unwrapped};
use crate::shape::Shape;

/// How a value is computed. Operands are indices of earlier values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// An input of the network: the columns of the features that begin at column `first`.
    Input { first: usize },
    /// The output of the layer use with index `layer`, whose input is the value `x`.
    Layer { layer: usize, x: usize },
    /// The sum of two values.
    Sum([usize; 2]),
    /// Values that are concatenated along their first dimension.
    Concat(Vec<usize>),
}

impl Source {
    /// Indices of the values from which this value is computed.
    pub(crate) fn operands(&self) -> &[usize] {
        match self {
            Self::Input { .. } => &[],
            Self::Layer { x, .. } => std::slice::from_ref(x),
            Self::Sum(of) => of,
            Self::Concat(of) => of,
        }
    }
}

/// A value of the network: an input, the output of a layer, a sum or a concatenation.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) source: Source,
    pub(crate) shape: Shape,
    /// Name of the value in messages and tables.
    pub(crate) name: String,
    /// Indices of the values that are computed from this one, in order. A value that uses it twice is listed twice.
    pub(crate) readers: Vec<usize>,
    /// Whether the value depends on parameters. Only then is its gradient needed for training.
    pub(crate) is_trained: bool,
}

/// One use of a layer.
#[derive(Debug, Clone)]
pub(crate) struct Use {
    pub(crate) layer: Arc<dyn Layer>,
    pub(crate) spec: LayerSpec,
    /// Index of the value that the layer outputs.
    pub(crate) value: usize,
    /// Indices of the layer's parameters in [`Graph::parameters`].
    pub(crate) parameters: Range<usize>,
    /// Indices of the layer's state in [`Graph::state`].
    pub(crate) state: Range<usize>,
    /// The key for the layer's random numbers.
    pub(crate) key: [u32; 2],
    /// Whether an earlier use of the same layer owns the parameters.
    pub(crate) is_repeated: bool,
}

/// The name and spec of a parameter, or of a tensor of a layer's state.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    /// Full name: `layers.<index>.<name within the layer>`.
    pub(crate) name: String,
    /// The layer's spec, with [`Init::Auto`](crate::Init::Auto) replaced by an explicit distribution.
    pub(crate) spec: ParameterSpec,
}

/// A network with all its shapes, parameters and state. Values come after their operands.
#[derive(Debug, Clone)]
pub(crate) struct Graph {
    pub(crate) values: Vec<Value>,
    pub(crate) uses: Vec<Use>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) state: Vec<Parameter>,
    /// Number of inputs.
    pub(crate) inputs: usize,
    pub(super) seed: u64,
    /// The table columns from which a row of features is made; `None` if they were not given.
    pub(crate) columns: Option<Arc<ColumnsOf>>,
}

impl Graph {
    /// Number of features per row: the elements of all inputs.
    pub(crate) fn features(&self) -> usize {
        let inputs = self.values.iter().take(self.inputs);
        inputs
            .map(|value| value.shape.len())
            .fold(0, usize::saturating_add)
    }

    /// The last value: the output of the network.
    pub(crate) fn output(&self) -> &Value {
        &self.values[self.values.len() - 1]
    }

    /// Number of elements of the output for one row.
    pub(crate) fn outputs(&self) -> usize {
        self.output().shape.len()
    }

    /// Number of elements per row of each value.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = usize> {
        self.values.iter().map(|value| value.shape.len())
    }

    /// Number of elements of all parameters.
    pub(crate) fn parameter_count(&self) -> u64 {
        let sizes = self
            .parameters
            .iter()
            .map(|parameter| parameter.spec.shape.len() as u64);
        total(sizes)
    }

    /// The feature columns that contain indices. Each item has the range of columns, the bound below which the indices
    /// must be, and the layer that reads them.
    pub(crate) fn indices(&self) -> impl Iterator<Item = (Range<usize>, usize, String)> {
        self.uses
            .iter()
            .enumerate()
            .filter_map(|(index, layer_use)| {
                let below = layer_use.spec.indices_below?;
                let &[x] = self.values[layer_use.value].source.operands() else {
                    return None;
                };
                let Source::Input { first } = self.values[x].source else {
                    return None;
                };
                let columns = first..first.saturating_add(self.values[x].shape.len());
                let layer = format!("layers.{index}, {}", layer_use.layer.name());
                Some((columns, below, layer))
            })
    }

    /// Number of elements that all layers store for the backward pass: per row, or per minibatch.
    pub(crate) fn kept(&self, is_per_row: bool) -> u64 {
        let kept = self.uses.iter().flat_map(|layer_use| &layer_use.spec.kept);
        let kept = kept.filter(|kept| kept.is_per_row == is_per_row);
        total(kept.map(|kept| kept.shape.len() as u64))
    }

    /// The layer use that reads the features, if the network has one input and only this layer reads it. The features
    /// may then be bytes, which the layer unpacks.
    pub(crate) fn first_use(&self) -> Option<&Use> {
        let [reader] = self.values[0].readers[..] else {
            return None;
        };
        match self.values[reader].source {
            Source::Layer { layer, .. } if self.inputs == 1 => Some(&self.uses[layer]),
            _ => None,
        }
    }

    /// If this layer is a `Linear` or `Conv2d` whose output is read only by a `Relu`, returns the output of the `Relu`.
    ///
    /// The forward pass computes both layers in one dispatch, which stores only the output of the `Relu`. This saves a
    /// dispatch, and writing and reading a tensor.
    pub(crate) fn relu_after(&self, layer_use: &Use) -> Option<usize> {
        let [reader] = self.values[layer_use.value].readers[..] else {
            return None;
        };
        let is_product = is::<Linear>(layer_use) || is::<Conv2d>(layer_use);
        (is_product && self.is_value_of::<Relu>(reader)).then_some(reader)
    }

    /// If this layer is a `Linear` or `MaxPool2d` that reads the output of a `Relu`, and no other layer reads that
    /// output, returns the input of the `Relu`.
    ///
    /// The backward pass computes the gradients of both layers in one dispatch, which stores only the gradient with
    /// respect to the input of the `Relu`. This saves a dispatch, and writing and reading a tensor. In the dispatch of
    /// a `MaxPool2d`, a window whose largest value is at most 0 propagates no gradient.
    pub(crate) fn relu_before(&self, layer_use: &Use) -> Option<usize> {
        let Source::Layer { x, .. } = self.values[layer_use.value].source else {
            return None;
        };
        let is_alone = self.values[x].readers.len() == 1;
        match self.values[x].source {
            Source::Layer { x: input, .. }
                if is_alone && takes_relu(layer_use) && self.is_value_of::<Relu>(x) =>
            {
                Some(input)
            }
            _ => None,
        }
    }

    fn is_value_of<L: Layer>(&self, value: usize) -> bool {
        match self.values[value].source {
            Source::Layer { layer, .. } => is::<L>(&self.uses[layer]),
            _ => false,
        }
    }

    /// Describes the network in one line, such as `784 → Linear(50) → Relu → Linear(10)`. Checkpoints compare networks
    /// by this text.
    pub(crate) fn line(&self) -> String {
        let mut parts = Vec::new();
        let name = |value: usize| match &self.values[value].source {
            Source::Layer { layer, .. } => format!("layers.{layer}"),
            Source::Input { .. } => format!("inputs.{value}"),
            Source::Sum(_) | Source::Concat(_) => format!("values.{value}"),
        };
        for (index, value) in self.values.iter().enumerate() {
            let from = |x: usize| {
                if x + 1 == index {
                    String::new()
                } else {
                    format!("{} ⇒ ", name(x))
                }
            };
            parts.push(match &value.source {
                Source::Input { .. } => value.shape.to_string(),
                Source::Layer { layer, x } => {
                    let layer_use = &self.uses[*layer];
                    format!("{}{}", from(*x), self.name_of(layer_use))
                }
                Source::Sum([a, b]) => format!("{}+ {}", from(*a), name(*b)),
                Source::Concat(of) => {
                    let names: Vec<String> = of.iter().map(|&value| name(value)).collect();
                    format!("[{}]", names.join(", "))
                }
            });
        }
        parts.join(" → ")
    }

    /// The name of a layer. For another use of a layer, the name also shows the index of the first use.
    pub(super) fn name_of(&self, layer_use: &Use) -> String {
        let name = layer_use.layer.name();
        let mut uses = self.uses.iter();
        let places = |layer_use: &Use| (layer_use.parameters.clone(), layer_use.state.clone());
        let first = uses.position(|other| places(other) == places(layer_use));
        match first.filter(|_| layer_use.is_repeated) {
            Some(first) => format!("{name} (layers.{first} again)"),
            None => name,
        }
    }

    /// The seed of the initial parameters and of the layers' random numbers.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }
}

/// Whether the layer's backward kernels can include the backward pass of a `Relu` before it.
fn takes_relu(layer_use: &Use) -> bool {
    is::<Linear>(layer_use) || is::<MaxPool2d>(layer_use)
}

fn is<L: Layer>(layer_use: &Use) -> bool {
    let any: &dyn Any = unwrapped(&*layer_use.layer);
    any.is::<L>()
}

/// Returns the index of the parameter with this name.
pub(crate) fn find(all: &[Parameter], name: &str) -> Result<usize, Error> {
    let found = all.iter().position(|parameter| parameter.name == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|parameter| &*parameter.name).collect();
        unknown_name(name, &names)
    })
}

impl Graph {
    /// Checks that another network has the same layers, parameters and state. Comparing the names of layers is not
    /// enough, because layers from outside this crate may have the same name but different parameters.
    pub(crate) fn check_alike(&self, other: &Self) -> Result<(), Error> {
        // Models that are copies share one graph. They are mixed often, so skip the comparison.
        if std::ptr::eq(self, other) {
            return Ok(());
        }
        let own = self.line();
        let others = other.line();
        if own != others {
            return Err(Error::setting("the network to mix with", own, others));
        }
        let [own, other] = [self, other].map(|graph| graph.parameters.iter().chain(&graph.state));
        let [expected, found] = [&own, &other].map(|all| all.clone().count());
        if expected != found {
            return Err(Error::Count {
                what: "parameters and state of the network to mix with".to_owned(),
                expected,
                found,
            });
        }
        for (own, other) in own.zip(other) {
            let [expected, found] = [own, other].map(|Parameter { name, spec }| {
                let decay = if spec.decays { "" } else { ", without decay" };
                format!("{name} of {}{decay}", spec.shape)
            });
            if expected != found {
                let what = "a parameter of the network to mix with";
                return Err(Error::setting(what, expected, found));
            }
        }
        Ok(())
    }
}
