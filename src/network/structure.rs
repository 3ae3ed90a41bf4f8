//! Writes the structure of a network as JSON text, and builds the network from such a text.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::graph::{Graph, Source, Use};
use super::sequential::{Sequential, is_automatic};
use crate::ops::{Known, Layer, shared};
use crate::shape::Shape;

/// The most values that a network from a file may have. Without a limit, a malicious file could keep a program busy.
const MOST_VALUES: usize = 10_000;

/// The JSON form of a network: shapes of inputs, settings of layers, and the operands of each value.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Structure {
    inputs: Vec<Vec<usize>>,
    /// The values after the inputs, in order.
    values: Vec<Value>,
    /// Names of values, with the index of each value. Indices count inputs too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    names: BTreeMap<String, usize>,
}

/// The JSON form of a value. An operand (`of`) is the index of an earlier value.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Value {
    /// A layer of this crate.
    Layer {
        is: Known,
        of: usize,
    },
    /// A layer that is not from this crate.
    Other {
        name: String,
        of: usize,
    },
    /// Another use of the layer with the index `layer`.
    Again {
        layer: usize,
        of: usize,
    },
    Sum([usize; 2]),
    Concat(Vec<usize>),
}

impl Value {
    fn operands(&self) -> &[usize] {
        match self {
            Self::Layer { of, .. } | Self::Other { of, .. } | Self::Again { of, .. } => {
                std::slice::from_ref(of)
            }
            Self::Sum(of) => of,
            Self::Concat(of) => of,
        }
    }
}

/// The reason why a text is not the structure of a network.
#[derive(Debug)]
pub(crate) enum StructureFault {
    /// A layer has this name, which is not the name of a layer of this crate, and `find` returned no layer for it.
    Layer(String),
    /// The structure is invalid. The field is the reason.
    Damaged(String),
}

fn damaged(what: impl Into<String>) -> StructureFault {
    StructureFault::Damaged(what.into())
}

impl Graph {
    /// Returns the JSON text of the network, without parameters and seed. Equal networks give equal texts.
    pub(crate) fn structure(&self) -> String {
        let inputs = &self.values[..self.inputs];
        let behind = &self.values[self.inputs..];
        let names = self.values.iter().enumerate();
        let names = names.filter(|(_, value)| !is_automatic(&value.name));
        let structure = Structure {
            inputs: inputs
                .iter()
                .map(|value| value.shape.extents().to_vec())
                .collect(),
            values: behind
                .iter()
                .map(|value| match &value.source {
                    &Source::Layer { layer, x } => self.layer_as_text(layer, x),
                    Source::Sum(of) => Value::Sum(*of),
                    Source::Concat(of) => Value::Concat(of.clone()),
                    Source::Input { .. } => unreachable!("inputs stand before all other values"),
                })
                .collect(),
            names: names
                .map(|(index, value)| (value.name.clone(), index))
                .collect(),
        };
        #[expect(clippy::expect_used, reason = "numbers and texts alone")]
        serde_json::to_string(&structure).expect("a structure is JSON")
    }

    fn layer_as_text(&self, index: usize, of: usize) -> Value {
        let layer = &self.uses[index].layer;
        let mut earlier = self.uses[..index].iter();
        let is_it = |earlier: &Use| Arc::ptr_eq(shared(&earlier.layer), shared(layer));
        if let Some(layer) = earlier.position(is_it) {
            return Value::Again { layer, of };
        }
        match Known::of(&**layer) {
            Some(is) => Value::Layer { is, of },
            None => Value::Other {
                name: layer.name(),
                of,
            },
        }
    }
}

impl Sequential {
    /// Builds the network from the JSON text that [`Graph::structure`] returns. `find` returns layers that are not from
    /// this crate, by name.
    pub(crate) fn of_structure(
        text: &str,
        find: &mut dyn FnMut(&str) -> Option<Arc<dyn Layer>>,
    ) -> Result<Self, StructureFault> {
        let structure: Structure =
            serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
        let count = structure
            .inputs
            .len()
            .saturating_add(structure.values.len());
        if count > MOST_VALUES {
            let text = format!(
                "it has {count} values, more than the {MOST_VALUES} that a network may have"
            );
            return Err(damaged(text));
        }
        let inputs = structure.inputs.iter().map(|extents| {
            Shape::of_extents(extents)
                .ok_or_else(|| damaged("an input does not have 1 to 4 extents"))
        });
        let mut inputs = inputs.collect::<Result<Vec<_>, _>>()?.into_iter();
        let first = inputs.next().ok_or_else(|| damaged("it has no input"))?;
        let mut network = Self::input(first);
        for input in inputs {
            network = network.another_input(input);
        }
        for value in structure.values {
            let behind = network.sources.len();
            let operands = value.operands();
            if operands.is_empty() || operands.iter().any(|&of| of >= behind) {
                return Err(damaged(
                    "a value is made from a value that does not come before it",
                ));
            }
            let (layer, of) = match value {
                Value::Layer { is, of } => (is.layer(), of),
                Value::Other { name, of } => match find(&name) {
                    Some(layer) => (layer, of),
                    None => return Err(StructureFault::Layer(name)),
                },
                Value::Again { layer, of } => match network.layers.get(layer) {
                    Some(layer) => (Arc::clone(shared(layer)), of),
                    None => return Err(damaged("a layer is used before it is described")),
                },
                Value::Sum(of) => {
                    network = network.value(Source::Sum(of));
                    continue;
                }
                Value::Concat(of) => {
                    network = network.value(Source::Concat(of));
                    continue;
                }
            };
            network = network.at_index(of).layer(layer);
        }
        let values = network.sources.len();
        if structure.names.len() > values {
            return Err(damaged("it has more names than values"));
        }
        for (name, value) in structure.names {
            if value >= values {
                return Err(damaged(format!("the name {name} belongs to no value")));
            }
            network = network.at_index(value).named(name);
        }
        Ok(network.at_index(values - 1))
    }
}

#[cfg(test)]
mod tests;
