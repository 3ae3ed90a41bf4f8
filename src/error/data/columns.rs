use std::fmt;

use super::RowNumber;
use super::words::{counted, excerpt, listed, quoted};
use crate::error::memory::readable;

/// What can be wrong with the columns that a network should see of rows of text, or with what the rows have there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ColumnsError {
    /// A field is not what its column should hold.
    #[error("{name}, {row}, column \"{column}\": {fault}")]
    Cell {
        /// Name of the file.
        name: String,
        /// The row.
        row: RowNumber,
        /// Name of the column.
        column: String,
        /// What it holds.
        fault: CellFault,
    },
    /// A column has the same in each row that a network is trained on, which cannot tell one from another.
    #[error(
        "column \"{column}\" is {} in all {rows} rows of {name}: expected different values in the part to train on, \
         found one; such a column carries no information: leave it out",
        excerpt(found)
    )]
    Constant {
        /// Name of the part to train on.
        name: String,
        /// Name of the column.
        column: String,
        /// What it is everywhere.
        found: String,
        /// Number of rows that have it.
        rows: u64,
    },
    /// A column has no number at all in the part to train on.
    #[error(
        "column \"{column}\" is missing in all rows of {name}: expected numbers in some, found none; leave it out"
    )]
    AllMissing {
        /// Name of the part to train on.
        name: String,
        /// Name of the column.
        column: String,
    },
    /// Each category of a column is rarer than was asked for.
    #[error(
        "column \"{column}\" of {name}: expected categories that are in {at_least} rows or more, found none; lower \
         `at_least`, or leave the column out"
    )]
    AllRare {
        /// Name of the part to train on.
        name: String,
        /// Name of the column.
        column: String,
        /// Rows that a category should have.
        at_least: u64,
    },
    /// The deviation of a column's numbers cannot be computed.
    #[error(
        "column \"{column}\" of {name} lies between {least:e} and {most:e}: expected numbers whose squares fit in an \
         `f64`, found others; use another unit, or the logarithm"
    )]
    Scale {
        /// Name of the part to train on.
        name: String,
        /// Name of the column.
        column: String,
        /// The least number.
        least: f64,
        /// The largest number.
        most: f64,
    },
    /// A column has more categories than numbers that tell them apart.
    #[error(
        "column \"{column}\" of {name}: expected at most {most} categories, found {found}; leave out the rare ones \
         with `at_least`"
    )]
    Categories {
        /// Name of the part to train on.
        name: String,
        /// Name of the column.
        column: String,
        /// The most.
        most: usize,
        /// How many there are.
        found: usize,
    },
    /// A column has two uses.
    #[error(
        "column \"{column}\" is named twice: expected one use of each column, found two; leave one out"
    )]
    UsedTwice {
        /// Name of the column.
        column: String,
    },
    /// A column has a blank name.
    #[error(
        "a column without a name: expected a name from the header, found a blank; give its name there"
    )]
    Unnamed,
    /// Nothing is to be predicted.
    #[error(
        "nothing to predict: expected a target among the columns, found only features; name a target with \
         `Columns::value`, `Columns::class` or `Columns::label`"
    )]
    NoTarget,
    /// Nothing is there to predict from.
    #[error(
        "nothing to predict from: expected a feature among the columns, found only targets; name a feature with \
         `Columns::number`, `Columns::one_hot` or `Columns::index`"
    )]
    NoFeatures,
    /// Targets are of several kinds.
    #[error(
        "one network cannot predict both columns \"{first}\" and \"{second}\": expected only values, only labels, or a \
         single class, found {found}; choose one of the columns, or make a network for each"
    )]
    Targets {
        /// Name of the first target.
        first: String,
        /// Name of one that does not go with it.
        second: String,
        /// What they are, for example `a value and a class`.
        found: String,
    },
    /// A setting of a column is out of range.
    #[error("column \"{column}\": expected {expected}, found {found}; change this setting")]
    Setting {
        /// Name of the column.
        column: String,
        /// What was expected.
        expected: &'static str,
        /// What was given.
        found: String,
    },
    /// An array has another number of columns, or a row another number of places.
    #[error("{what}: expected {}, found {found}; give one for each", counted(*expected, "column"))]
    Width {
        /// What has them.
        what: &'static str,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// Names of classes do not tell them apart.
    #[error(
        "classes {}: expected two or more, each with a name of its own, found {} of them; rename or add some",
        quoted(found),
        found.len()
    )]
    Classes {
        /// The names.
        found: Vec<String>,
    },
    /// A matrix is to be scaled by columns that are not all plain numbers.
    #[error(
        "column \"{column}\" is not a plain number: expected only columns of numbers without blanks to scale a matrix, \
         found {found}; encode rows of text with `FittedColumns::features_of`"
    )]
    NotNumbers {
        /// Name of the first such column.
        column: String,
        /// What it is.
        found: &'static str,
    },
    /// Values in their units are asked for where none are predicted.
    #[error(
        "the columns predict {found}: expected values, which have units, found none; read {found} with the names in \
         `FittedColumns::target`"
    )]
    NoValues {
        /// `classes` or `labels`.
        found: &'static str,
    },
    /// A text is not that of fitted columns.
    #[error(
        "cannot read the columns: expected the JSON text that `FittedColumns::to_json` returns, found another text \
         ({fault}); save the columns again"
    )]
    Text {
        /// What is wrong with it.
        fault: String,
    },
    /// There is no memory for the table.
    #[error(
        "{name}: {rows} rows of {} need {}, but {} is available ({limit}); {}",
        counted(*width, "feature"), readable(*needed), readable(*available), one_hot_remedy(widest.as_ref())
    )]
    Memory {
        /// Name of the rows.
        name: String,
        /// Number of rows.
        rows: usize,
        /// Features of a row.
        width: usize,
        /// Bytes needed.
        needed: u64,
        /// Bytes that there are.
        available: u64,
        /// What limits them.
        limit: &'static str,
        /// The one-hot column with the most features, and how many.
        widest: Option<(String, usize)>,
    },
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum CellFault {
    /// It is blank, or says that nothing is known.
    Missing {
        /// What it holds.
        found: String,
        /// What the column needs.
        expected: CellKind,
    },
    /// It is no number.
    NotANumber {
        /// What it holds.
        found: String,
    },
    /// It is an infinite number.
    Infinite {
        /// What it holds.
        found: String,
    },
    /// Scaled, it has no room in an `f32`.
    TooFar {
        /// What it holds.
        found: String,
        /// The mean of the column.
        mean: f64,
        /// Its deviation.
        deviation: f64,
    },
    /// It is neither yes nor no.
    NotALabel {
        /// What it holds.
        found: String,
    },
    /// It is a category that no row of the part to train on has.
    Unknown {
        /// What it holds.
        found: String,
        /// The first of the known ones.
        known: Box<[String]>,
        /// How many are known.
        of: u32,
        /// Whether it is a class to be predicted.
        is_target: bool,
    },
}

/// What a column needs in each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CellKind {
    /// A number, of a feature.
    Number,
    /// A category, of a feature.
    Category,
    /// A number to be predicted.
    Value,
    /// A class to be predicted.
    Class,
    /// A yes or no to be predicted.
    Label,
}

impl CellKind {
    /// What it is called, and what to do where it is missing.
    fn words(self) -> (&'static str, &'static str) {
        let to_be_predicted = "the column is a target: leave the row out with `Records::filter`";
        match self {
            Self::Number => (
                "a number",
                "say what a blank means with `Number::missing_as_mean` or `Number::missing_as`, or leave the row out \
                 with `Records::filter`",
            ),
            Self::Category => (
                "a category",
                "make blanks a category of their own with `Category::missing_as_category`, or leave the row out with \
                 `Records::filter`",
            ),
            Self::Value => ("a number", to_be_predicted),
            Self::Class => ("a class", to_be_predicted),
            Self::Label => ("yes or no", to_be_predicted),
        }
    }
}

impl fmt::Display for CellFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { found, expected } => {
                let (expected, remedy) = expected.words();
                write!(f, "expected {expected}, found {}; {remedy}", shown(found))
            }
            Self::NotANumber { found } => write!(
                f,
                "expected a number, found {}; correct it, give it to `Columns::missing` if it means a blank, or use \
                 the column as categories with `Columns::one_hot`",
                shown(found)
            ),
            Self::Infinite { found } => write!(
                f,
                "expected a finite number, found {}; correct it, or give it to `Columns::missing` if it means a blank",
                shown(found)
            ),
            Self::TooFar {
                found,
                mean,
                deviation,
            } => write!(
                f,
                "expected a number near those to which the columns were fitted (mean {mean:e}, standard deviation \
                 {deviation:e}), found {}; correct it, or leave the row out",
                shown(found)
            ),
            Self::NotALabel { found } => write!(
                f,
                "expected 0 or 1, no or yes, false or true, found {}; correct it, or use the column as a category with \
                 `Columns::class`",
                shown(found)
            ),
            Self::Unknown {
                found,
                known,
                of,
                is_target,
            } => write!(
                f,
                "expected one of the fitted categories ({}), found {}; correct it, or {}",
                listed(known, *of as usize),
                shown(found),
                if *is_target {
                    "leave the row out with `Records::filter`, or fit the columns to rows that have it"
                } else {
                    "treat unknown categories as one category with `Category::others`"
                }
            ),
        }
    }
}

fn shown(found: &str) -> String {
    if found.is_empty() {
        "a blank".to_owned()
    } else {
        excerpt(found)
    }
}

fn one_hot_remedy(widest: Option<&(String, usize)>) -> String {
    match widest {
        None => "use fewer rows or columns".to_owned(),
        Some((column, count)) => format!(
            "\"{column}\" alone makes {count} of the features: make it a single feature with `Columns::index`, or \
             leave out rare categories with `at_least`",
        ),
    }
}
