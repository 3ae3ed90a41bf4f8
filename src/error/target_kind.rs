/// What a loss compares a network's outputs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetKind {
    /// The class of every row: (1, rows) of `u32`.
    Classes,
    /// Values: (rows, outputs) of `f32`.
    Values,
}

impl TargetKind {
    /// In a message.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Classes => "classes",
            Self::Values => "values",
        }
    }
}
