/// What a loss compares a network's outputs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetKind {
    /// The class of every row: (1, rows) of `u32`.
    Classes,
    /// Values: (rows, outputs) of `f32`.
    Values,
    /// Values 0 to 1, one for each output: how sure each label applies. (rows, outputs) of `f32`. Data sets of values
    /// have them, where all of their values are in that range.
    Probabilities,
}

impl TargetKind {
    /// In a message.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Classes => "classes",
            Self::Values => "values",
            Self::Probabilities => "values 0 to 1",
        }
    }

    /// How data sets and tensors have it: probabilities are values.
    pub(crate) fn stored(self) -> Self {
        match self {
            Self::Classes => Self::Classes,
            Self::Values | Self::Probabilities => Self::Values,
        }
    }
}
