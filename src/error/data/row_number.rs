use std::fmt;

/// The number by which a user finds a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowNumber {
    /// For a row of a file: the line on which the row begins, counted from 1.
    Line(u64),
    /// For a row that is not from a file: its index, counted from 0.
    Row(u64),
}

impl fmt::Display for RowNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Row(row) => write!(f, "row {row}"),
        }
    }
}
