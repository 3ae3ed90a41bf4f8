/// The kind of target that a loss compares outputs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetKind {
    /// The class of every row: (1, rows) of `u32`.
    Classes,
    /// Values: (rows, outputs) of `f32`.
    Values,
    /// Values from 0 to 1, one per output: the probability that each label applies. (rows, outputs) of `f32`. A data
    /// set of values provides them if all of its values are in that range.
    Probabilities,
}

impl TargetKind {
    /// The name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Classes => "classes",
            Self::Values => "values",
            Self::Probabilities => "values 0 to 1",
        }
    }

    /// How data sets and tensors store this kind: probabilities are stored as values.
    pub(crate) fn stored(self) -> Self {
        match self {
            Self::Classes => Self::Classes,
            Self::Values | Self::Probabilities => Self::Values,
        }
    }
}
