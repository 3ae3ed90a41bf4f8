//! What a value of a network is for rows of features.

use ndarray::Array2;

use crate::shape::Shape;

/// What a value of a network is for rows of features: an input, what a layer gives, a sum or a concatenation.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Activation<F = f32> {
    /// Its name: what [`Sequential::named`](crate::Sequential::named) has given it, or else, for example, `input`,
    /// `layers.1`, the number being that of the layer, or `values.3` where it is a sum or a concatenation.
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
