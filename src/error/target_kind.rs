/// The kind of target that a loss compares outputs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetKind {
    /// One class index per row: a `u32` tensor of shape (1, rows).
    Classes,
    /// One value per output: an `f32` tensor of shape (rows, outputs).
    Values,
    /// One probability per output, from 0 to 1: the probability that a label applies. An `f32` tensor of shape (rows,
    /// outputs). A data set of values is accepted if all its values are from 0 to 1.
    Probabilities,
}

impl TargetKind {
    /// The kind's name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Classes => "classes",
            Self::Values => "values",
            Self::Probabilities => "values 0 to 1",
        }
    }

    /// The kind of these targets in data sets and tensors, which store probabilities as values.
    pub(crate) fn stored(self) -> Self {
        match self {
            Self::Classes => Self::Classes,
            Self::Values | Self::Probabilities => Self::Values,
        }
    }
}
