/// The number of rows of a training pass, and whether the pass computes the gradient with respect to the features.
///
/// ```
/// use wgrad::PassSpec;
///
/// let spec = PassSpec::rows_of(64).with_dx();
/// assert_eq!((spec.rows(), spec.has_dx()), (64, true));
/// assert!(!PassSpec::from(64).has_dx());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassSpec {
    rows: usize,
    has_dx: bool,
}

impl PassSpec {
    /// A pass over `rows` rows that computes only the gradients with respect to the parameters.
    #[must_use]
    pub const fn rows_of(rows: usize) -> Self {
        Self {
            rows,
            has_dx: false,
        }
    }

    /// Makes the pass also compute the gradient with respect to the features.
    #[must_use]
    pub const fn with_dx(self) -> Self {
        Self {
            has_dx: true,
            ..self
        }
    }

    /// Number of rows.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Whether the pass computes the gradient with respect to the features.
    #[must_use]
    pub const fn has_dx(&self) -> bool {
        self.has_dx
    }
}

impl From<usize> for PassSpec {
    fn from(rows: usize) -> Self {
        Self::rows_of(rows)
    }
}
