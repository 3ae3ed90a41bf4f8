//! A network with all its shapes: values in order, and the operands of each.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use super::parameters::unknown_name;
use super::sequential::ColumnsOf;
use crate::error::Error;
use crate::memory::total;
use crate::ops::{Conv2d, Layer, LayerSpec, Linear, MaxPool2d, ParameterSpec, Relu, unwrapped};
use crate::shape::Shape;

/// The origin of a value. Values are known by their index; the operands of a value come before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// An input of the network: columns of the features, beginning at `first`.
    Input { first: usize },
    /// The output of a use of a layer.
    Layer { layer: usize, x: usize },
    /// The sum of two values.
    Sum([usize; 2]),
    /// Values concatenated along their first extent.
    Concat(Vec<usize>),
}

impl Source {
    /// The values from which this one is computed.
    pub(crate) fn operands(&self) -> &[usize] {
        match self {
            Self::Input { .. } => &[],
            Self::Layer { x, .. } => std::slice::from_ref(x),
            Self::Sum(of) => of,
            Self::Concat(of) => of,
        }
    }
}

/// A value of the network.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) source: Source,
    pub(crate) shape: Shape,
    /// Name in messages and tables.
    pub(crate) name: String,
    /// The values that are computed from this one, in order. A reader that uses it twice is listed twice.
    pub(crate) readers: Vec<usize>,
    /// Whether the value depends on parameters. Only then is its gradient needed for training.
    pub(crate) is_trained: bool,
}

/// One use of a layer.
#[derive(Debug, Clone)]
pub(crate) struct Use {
    pub(crate) layer: Arc<dyn Layer>,
    pub(crate) spec: LayerSpec,
    /// Index of the value that it outputs.
    pub(crate) value: usize,
    /// Where the layer's parameters are in the network's list of parameters, and its state in the list of state.
    pub(crate) parameters: Range<usize>,
    pub(crate) state: Range<usize>,
    /// The key for the layer's random numbers.
    pub(crate) key: [u32; 2],
    /// Whether an earlier use of the same layer owns the parameters.
    pub(crate) is_repeated: bool,
}

/// A parameter, or a value of a layer's state.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    /// `layers.<index>.<name within the layer>`.
    pub(crate) name: String,
    /// The layer's spec, with [`Init::Auto`] replaced by an explicit distribution.
    pub(crate) spec: ParameterSpec,
}

/// A resolved network: see the module.
#[derive(Debug, Clone)]
pub(crate) struct Graph {
    pub(crate) values: Vec<Value>,
    pub(crate) uses: Vec<Use>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) state: Vec<Parameter>,
    /// Number of inputs.
    pub(crate) inputs: usize,
    pub(super) seed: u64,
    /// The columns that make up a row of features, if known.
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

    /// Elements of the output for one row.
    pub(crate) fn outputs(&self) -> usize {
        self.output().shape.len()
    }

    /// Elements per row of each value.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = usize> {
        self.values.iter().map(|value| value.shape.len())
    }

    /// Number of trainable values.
    pub(crate) fn parameter_count(&self) -> u64 {
        let sizes = self
            .parameters
            .iter()
            .map(|parameter| parameter.spec.shape.len() as u64);
        total(sizes)
    }

    /// The feature columns that are indices: the columns, the number that their indices must be below, and the layer
    /// that takes them.
    pub(crate) fn indices(&self) -> impl Iterator<Item = (Range<usize>, usize, String)> {
        self.uses.iter().enumerate().filter_map(|(index, of_use)| {
            let below = of_use.spec.indices_below?;
            let &[x] = self.values[of_use.value].source.operands() else {
                return None;
            };
            let Source::Input { first } = self.values[x].source else {
                return None;
            };
            let columns = first..first.saturating_add(self.values[x].shape.len());
            let layer = format!("layers.{index}, {}", of_use.layer.name());
            Some((columns, below, layer))
        })
    }

    /// Numbers that layers keep per row, or per minibatch.
    pub(crate) fn kept(&self, is_per_row: bool) -> u64 {
        let kept = self.uses.iter().flat_map(|of_use| &of_use.spec.kept);
        let kept = kept.filter(|kept| kept.is_per_row == is_per_row);
        total(kept.map(|kept| kept.shape.len() as u64))
    }

    /// The use of a layer that alone reads the only input, if there is one. Such an input need not consist of floats.
    pub(crate) fn first_use(&self) -> Option<&Use> {
        let [reader] = self.values[0].readers[..] else {
            return None;
        };
        match self.values[reader].source {
            Source::Layer { layer, .. } if self.inputs == 1 => Some(&self.uses[layer]),
            _ => None,
        }
    }

    /// The output of the `Relu` that alone reads the output of this use of a `Linear` or `Conv2d`. Both are computed as
    /// one product that stores the output of the `Relu`. This saves a dispatch, and writing and reading a tensor.
    pub(crate) fn relu_behind(&self, of_use: &Use) -> Option<usize> {
        let [reader] = self.values[of_use.value].readers[..] else {
            return None;
        };
        let is_product = is::<Linear>(of_use) || is::<Conv2d>(of_use);
        (is_product && self.is_value_of::<Relu>(reader)).then_some(reader)
    }

    /// The input of the `Relu` whose output only this use of a `Linear` or `MaxPool2d` reads. Their gradients are
    /// computed in one dispatch, as the gradient with respect to the input of the `Relu`. This saves the same. A
    /// product stores only this gradient, and a pooling window whose largest value is not above 0 passes no gradient
    /// on.
    pub(crate) fn relu_before(&self, of_use: &Use) -> Option<usize> {
        let Source::Layer { x, .. } = self.values[of_use.value].source else {
            return None;
        };
        let is_alone = self.values[x].readers.len() == 1;
        match self.values[x].source {
            Source::Layer { x: input, .. }
                if is_alone && takes_relu(of_use) && self.is_value_of::<Relu>(x) =>
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

    /// The network in one line, by which a checkpoint identifies it: for example
    /// `784 → Linear(50) → Relu → Linear(10)`.
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
                    let of_use = &self.uses[*layer];
                    format!("{}{}", from(*x), self.name_of(of_use))
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

    /// The name of a layer. For a repeated use, the place of the first use is added.
    pub(super) fn name_of(&self, of_use: &Use) -> String {
        let name = of_use.layer.name();
        let mut uses = self.uses.iter();
        let places = |of_use: &Use| (of_use.parameters.clone(), of_use.state.clone());
        let first = uses.position(|other| places(other) == places(of_use));
        match first.filter(|_| of_use.is_repeated) {
            Some(first) => format!("{name} (layers.{first} again)"),
            None => name,
        }
    }

    /// The seed of the initial parameters and of the layers' random numbers.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }
}

/// Whether the layer can compute the gradient with respect to the input of a `Relu` before it.
fn takes_relu(of_use: &Use) -> bool {
    is::<Linear>(of_use) || is::<MaxPool2d>(of_use)
}

fn is<L: Layer>(of_use: &Use) -> bool {
    let any: &dyn Any = unwrapped(&*of_use.layer);
    any.is::<L>()
}

/// Index of the parameter of this name.
pub(crate) fn find(all: &[Parameter], name: &str) -> Result<usize, Error> {
    let found = all.iter().position(|parameter| parameter.name == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|parameter| &*parameter.name).collect();
        unknown_name(name, &names)
    })
}

impl Graph {
    /// Checks that another network has the same layers, parameters and state. The comparison includes parameters,
    /// because layers that are not from this crate may differ under the same name.
    pub(crate) fn check_alike(&self, other: &Self) -> Result<(), Error> {
        // Copies share their graph, and are mixed often.
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
