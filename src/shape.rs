//! Shapes: of an example, a parameter, or a tensor of many rows.

use std::fmt;

/// Maximum number of extents of a [`Shape`].
const MAX_RANK: usize = 4;

/// The extents of one example or one parameter, in row-major order: `784`, `1×28×28`, `64×3×3×3`.
///
/// An image has the shape (channels, height, width), as in PyTorch. Flattening it does not change the order of its
/// elements in memory.
///
/// ```
/// use wgrad::Shape;
///
/// let image = Shape::from([1, 28, 28]);
/// assert_eq!((image.len(), image.rank(), image.to_string()), (784, 3, "1×28×28".to_owned()));
/// assert_ne!(image, Shape::from(784));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// The extents; those beyond the rank are 1.
    extents: [usize; MAX_RANK],
    rank: usize,
}

impl Shape {
    /// The extents, outermost first: one to four of them.
    #[must_use]
    pub fn extents(&self) -> &[usize] {
        &self.extents[..self.rank]
    }

    /// Number of extents, 1 to 4.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Number of elements: the product of the extents, or `usize::MAX` if it is larger.
    #[must_use]
    pub fn len(&self) -> usize {
        let extents = self.extents.iter();
        extents.fold(1, |product: usize, &extent| product.saturating_mul(extent))
    }

    /// Whether any extent is 0, so that the shape has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Shape {
    /// Makes a shape from one to four extents; `None` for any other number of extents.
    pub(crate) fn of_extents(extents: &[usize]) -> Option<Self> {
        let mut all = [1; MAX_RANK];
        all.get_mut(..extents.len())?.copy_from_slice(extents);
        (!extents.is_empty()).then_some(Self {
            extents: all,
            rank: extents.len(),
        })
    }
}

impl From<usize> for Shape {
    fn from(extent: usize) -> Self {
        Self::from([extent])
    }
}

impl<const RANK: usize> From<[usize; RANK]> for Shape {
    fn from(extents: [usize; RANK]) -> Self {
        const {
            assert!(
                RANK >= 1 && RANK <= MAX_RANK,
                "a shape has one to four extents"
            );
        };
        let mut all = [1; MAX_RANK];
        all[..RANK].copy_from_slice(&extents);
        Self {
            extents: all,
            rank: RANK,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extents: Vec<String> = self.extents().iter().map(usize::to_string).collect();
        f.pad(&extents.join("×"))
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The shape of a tensor: a number of rows, and the [`Shape`] of each row. `Display` prints `100 × 1×28×28`.
///
/// A row of a minibatch is one example. A parameter with several extents has as many rows as its first extent; a
/// parameter with one extent is a single row. Most kernels only need [rows and columns](Self::dims).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TensorShape {
    /// Number of rows.
    pub rows: usize,
    /// Shape of a row.
    pub row: Shape,
}

impl TensorShape {
    /// The shape of a tensor that holds a parameter.
    #[must_use]
    pub fn of_parameter(shape: &Shape) -> Self {
        match *shape.extents() {
            [rows, columns] => Self::from([rows, columns]),
            [rows, height, width] => Self::from((rows, [height, width])),
            [rows, depth, height, width] => Self::from((rows, [depth, height, width])),
            _ => Self::from((1, *shape)),
        }
    }

    /// The number of rows and of columns. The elements of a row are its columns.
    #[must_use]
    pub fn dims(&self) -> [usize; 2] {
        [self.rows, self.row.len()]
    }

    /// Number of elements, or `usize::MAX` if it is larger.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.saturating_mul(self.row.len())
    }

    /// Whether the tensor has no rows or its rows have no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Makes a shape from `[rows, columns]`.
impl From<[usize; 2]> for TensorShape {
    fn from([rows, columns]: [usize; 2]) -> Self {
        Self::from((rows, columns))
    }
}

/// Makes a shape from the number of rows and the shape of a row.
impl<S: Into<Shape>> From<(usize, S)> for TensorShape {
    fn from((rows, row): (usize, S)) -> Self {
        Self {
            rows,
            row: row.into(),
        }
    }
}

impl fmt::Display for TensorShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} × {}", self.rows, self.row))
    }
}

impl fmt::Debug for TensorShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::{Shape, TensorShape};

    #[test]
    fn a_shape_is_its_extents_and_prints_them() {
        let shapes = [
            (Shape::from(784), 784, "784"),
            (Shape::from([784]), 784, "784"),
            (Shape::from([1, 28, 28]), 784, "1×28×28"),
            (Shape::from([64, 3, 3, 3]), 1728, "64×3×3×3"),
            (Shape::from([7, 0]), 0, "7×0"),
        ];
        for (shape, len, text) in shapes {
            assert_eq!((shape.len(), shape.to_string()), (len, text.to_owned()));
            assert_eq!(shape.is_empty(), len == 0);
        }
        assert_ne!(Shape::from([1, 784]), Shape::from(784));
        assert_eq!(Shape::from([usize::MAX, 2]).len(), usize::MAX);
    }

    #[test]
    fn a_parameter_has_its_first_extent_as_rows() {
        for (shape, dims, text) in [
            (Shape::from(50), [1, 50], "1 × 50"),
            (Shape::from([784, 50]), [784, 50], "784 × 50"),
            (Shape::from([16, 3, 5, 5]), [16, 75], "16 × 3×5×5"),
        ] {
            let tensor = TensorShape::of_parameter(&shape);
            assert_eq!((tensor.dims(), tensor.to_string()), (dims, text.to_owned()));
            assert_eq!(tensor.len(), shape.len());
        }
        let batch = TensorShape::from((100, [1, 28, 28]));
        assert_eq!(batch.to_string(), "100 × 1×28×28");
    }
}
