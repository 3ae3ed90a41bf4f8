//! A value inside a network, computed for given rows.

use ndarray::Array2;

use crate::shape::Shape;

/// A value of a network (an input, the output of a layer, a sum or a concatenation), computed for given rows of
/// features.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Activation<F = f32> {
    /// The name that [`Sequential::named`](crate::Sequential::named) gave the value, or an automatic name: `input`
    /// (`inputs.0`, `inputs.1`, … if there are several inputs), `layers.1` with the index of the layer, or `values.3`
    /// for a sum or concatenation, with the index of the value.
    pub name: String,
    /// Shape of the value for one row of features.
    pub shape: Shape,
    /// The elements, (rows, elements of `shape`).
    pub values: Array2<F>,
}

impl<F> Activation<F> {
    pub(crate) fn new(name: String, shape: Shape, values: Array2<F>) -> Self {
        Self {
            name,
            shape,
            values,
        }
    }
}
