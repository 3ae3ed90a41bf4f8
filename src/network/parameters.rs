//! Named arrays: the parameters of a network, the state of its layers, or gradients.

use std::ops::Index;

use ndarray::{ArrayD, ArrayViewD};

use crate::error::{Error, joined};
use crate::shape::Shape;

/// The most names that one message lists.
const TOLD: usize = 8;

/// Named arrays, in the order of the network: its parameters, the state of its layers, or gradients.
///
/// A name is `layers.<index>.<name within the layer>`. Each array has the shape that the layer's spec defines.
///
/// ```
/// use wgrad::{Error, TwoLayerNet};
///
/// let mut network = TwoLayerNet::spec(4, 3, 2).on_cpu()?;
/// let mut parameters = network.parameters();
/// assert_eq!(parameters["layers.0.weight"].shape(), [4, 3]);
/// parameters.get_mut("layers.2.bias").unwrap().fill(0.5);
/// network.set_parameters(&parameters)?;
/// assert_eq!(network.parameter("layers.2.bias")?[0], 0.5);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters<F = f32> {
    values: Vec<(String, ArrayD<F>)>,
}

impl<F> Parameters<F> {
    /// The array with this name; `None` if there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ArrayD<F>> {
        let mut values = self.values.iter();
        values.find(|(of, _)| of == name).map(|(_, value)| value)
    }

    /// The array with this name, mutable; `None` if there is none.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut ArrayD<F>> {
        let mut values = self.values.iter_mut();
        values.find(|(of, _)| of == name).map(|(_, value)| value)
    }

    /// The names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|(name, _)| name.as_str())
    }

    /// Names and arrays, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ArrayD<F>)> {
        self.values
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }

    /// Number of arrays.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are no arrays.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Applies a function to every element of every array, and returns the results under the same names.
    #[must_use]
    pub fn mapv<G>(&self, mut map: impl FnMut(F) -> G) -> Parameters<G>
    where
        F: Clone,
    {
        let values = self.values.iter();
        let mapped = values.map(|(name, value)| (name.clone(), value.mapv(&mut map)));
        Parameters {
            values: mapped.collect(),
        }
    }
}

/// If a name occurs several times, the last array with this name is used.
impl<F> FromIterator<(String, ArrayD<F>)> for Parameters<F> {
    fn from_iter<I: IntoIterator<Item = (String, ArrayD<F>)>>(values: I) -> Self {
        let mut all: Vec<(String, ArrayD<F>)> = Vec::new();
        for (name, value) in values {
            match all.iter_mut().find(|(of, _)| *of == name) {
                Some((_, old)) => *old = value,
                None => all.push((name, value)),
            }
        }
        Self { values: all }
    }
}

impl<F> IntoIterator for Parameters<F> {
    type Item = (String, ArrayD<F>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.into_iter()
    }
}

/// # Panics
/// When there is no array with this name. [`get`](Parameters::get) returns `None` instead.
impl<F> Index<&str> for Parameters<F> {
    type Output = ArrayD<F>;

    #[expect(clippy::panic, reason = "as every index that is not there")]
    fn index(&self, name: &str) -> &ArrayD<F> {
        let Some(value) = self.get(name) else {
            let names: Vec<&str> = self.names().collect();
            panic!("no {name} among {}", names.join(", "));
        };
        value
    }
}

/// Checks that `values` has exactly the expected names, in any order, and that each array has the expected shape.
pub(crate) fn check_all<'a, F>(
    expected: impl Iterator<Item = (&'a str, &'a Shape)> + Clone,
    values: &Parameters<F>,
) -> Result<(), Error> {
    for (name, shape) in expected.clone() {
        match values.get(name) {
            Some(value) => check_shape(name, shape, value.shape())?,
            None => {
                let found: Vec<&str> = values.names().collect();
                let expected = format!("the list of the network, which has {name}");
                let what = "list of the given names";
                return Err(Error::setting(what, expected, listed(&found)));
            }
        }
    }
    let names: Vec<&str> = expected.map(|(name, _)| name).collect();
    match values.names().find(|name| !names.contains(name)) {
        None => Ok(()),
        Some(unknown) => Err(unknown_name(unknown, &names)),
    }
}

/// Checks that an array has the shape of the parameter with this name.
pub(crate) fn check_shape(name: &str, shape: &Shape, found: &[usize]) -> Result<(), Error> {
    if shape.extents() == found {
        return Ok(());
    }
    let reversed: Vec<usize> = found.iter().rev().copied().collect();
    let remedy = if shape.extents() == reversed {
        "It is transposed: a weight is (inputs, outputs) here"
    } else {
        "Give the parameter of a network with the same layers"
    };
    let found: Vec<String> = found.iter().map(usize::to_string).collect();
    Err(Error::Setting {
        name: format!("the shape of {name}"),
        expected: shape.to_string(),
        found: format!("{}. {remedy}", found.join("×")),
    })
}

/// Creates the error for a name that is not one of the network's `names`.
pub(crate) fn unknown_name(name: &str, names: &[&str]) -> Error {
    let expected = format!("one of {}", listed(names));
    Error::setting("name of a parameter", expected, name)
}

/// Lists the first names for a message, and the number of the other names.
pub(super) fn listed(names: &[&str]) -> String {
    let mut told: Vec<String> = names
        .iter()
        .take(TOLD)
        .map(|&name| name.to_owned())
        .collect();
    match names.len().checked_sub(TOLD) {
        None | Some(0) => {}
        Some(more) => told.push(format!("{more} more")),
    }
    if told.is_empty() {
        "none".to_owned()
    } else {
        joined(&told)
    }
}

/// Converts row-major values to an array of this shape.
#[expect(clippy::expect_used, reason = "anything else is a bug of ours")]
pub(crate) fn array<F>(shape: &Shape, values: Vec<F>) -> ArrayD<F> {
    ArrayD::from_shape_vec(shape.extents(), values).expect("as many values as the shape has")
}

/// Returns the elements in row-major order, whatever their order in memory.
pub(crate) fn row_major<F: Copy>(value: ArrayViewD<'_, F>) -> Vec<F> {
    value.iter().copied().collect()
}
