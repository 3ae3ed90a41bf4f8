/// What a pass of training is to have: so many rows, and the gradient by the input where that is asked for.
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
    /// So many rows, with the gradients by the parameters alone.
    #[must_use]
    pub const fn rows_of(rows: usize) -> Self {
        Self {
            rows,
            has_dx: false,
        }
    }

    /// With the gradient by the rows of features, too.
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

    /// Whether the gradient by the rows of features is computed.
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
