//! The value of a network's input, layer, sum or concatenation, for given rows.

use ndarray::Array2;

use crate::shape::Shape;

/// The value of a network's input, layer, sum or concatenation, for given rows of features.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Activation<F = f32> {
    /// The name that [`Sequential::named`](crate::Sequential::named) gave the value. Otherwise `input` (`inputs.0` and
    /// so on if there are several), `layers.1` with the layer's number, or, for a sum or concatenation, `values.3`.
    pub name: String,
    /// Shape of each row.
    pub shape: Shape,
    /// (rows, elements of the shape).
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
