use std::fmt;

use crate::error::number;

/// What is wrong with a one-hot label.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum NotOneHot {
    /// A value is neither 0 nor 1.
    Value {
        /// Class index of the value.
        class: usize,
        /// The value.
        found: f32,
    },
    /// The values are probabilities: the label is smoothed or soft.
    Soft {
        /// Index of the first class whose probability is neither 0 nor 1.
        class: usize,
        /// The probability of that class.
        found: f32,
    },
    /// No value is 1.
    NoClass,
    /// More than one value is 1.
    Classes {
        /// Indices of the first two classes whose value is 1.
        found: [usize; 2],
    },
}

impl fmt::Display for NotOneHot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Value { class, found } => write!(
                f,
                "it holds {} at class {class}; put 0 or 1 there, or give class indices to \
                 `Labels::from_classes`",
                number(found)
            ),
            Self::Soft { class, found } => write!(
                f,
                "it holds {found} at class {class}, like a smoothed or soft label: a label is one class here. Give the \
                 most probable class to `Labels::from_classes`, or learn the probabilities as values, with \
                 `Table::regression` and the loss `MeanSquaredError`"
            ),
            Self::NoClass => f.write_str(
                "it holds no 1; leave the example out, or add a class for examples that belong to no other class",
            ),
            Self::Classes {
                found: [first, second],
            } => write!(
                f,
                "it holds a 1 at class {first} and at class {second}: an example has one class. Choose one of \
                 them, or learn all as values, with `Table::regression` and the loss `MeanSquaredError`"
            ),
        }
    }
}
