use std::fmt;

use super::RowNumber;
use super::words::{counted, excerpt, fault_of_classes, listed, quoted};
use crate::error::memory::readable;

/// Errors of [`Columns`](crate::data::Columns) and of the fields in these columns.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ColumnsError {
    /// A field is not valid for its column.
    #[error("{name}, {row}, column \"{column}\": {fault}")]
    Cell {
        /// Name of the file.
        name: String,
        /// Number of the row.
        row: RowNumber,
        /// Name of the column.
        column: String,
        /// What is wrong with the field.
        fault: CellFault,
    },
    /// A column has the same value in all rows of the training part, so a network can learn nothing from it.
    #[error(
        "column \"{column}\" is {} in all {rows} rows of {name}: expected different values in the part to train on, \
         found one; such a column carries no information: leave it out",
        excerpt(found)
    )]
    Constant {
        /// Name of the training part.
        name: String,
        /// Name of the column.
        column: String,
        /// The value.
        found: String,
        /// Number of rows with this value.
        rows: u64,
    },
    /// A column of numbers is blank in all rows of the training part.
    #[error(
        "column \"{column}\" is missing in all rows of {name}: expected numbers in some, found none; leave it out"
    )]
    AllMissing {
        /// Name of the training part.
        name: String,
        /// Name of the column.
        column: String,
    },
    /// Every category of a column occurs in fewer rows than [`Category::at_least`](crate::data::Category::at_least)
    /// requires.
    #[error(
        "column \"{column}\" of {name}: expected categories that are in {at_least} rows or more, found none; lower \
         `at_least`, or leave the column out"
    )]
    AllRare {
        /// Name of the training part.
        name: String,
        /// Name of the column.
        column: String,
        /// Smallest number of rows in which a category must occur.
        at_least: u64,
    },
    /// The standard deviation of a column cannot be computed: the squares of its numbers do not fit in an `f64`.
    #[error(
        "column \"{column}\" of {name} lies between {least:e} and {most:e}: expected numbers whose squares fit in an \
         `f64`, found others; use another unit, or the logarithm"
    )]
    Scale {
        /// Name of the training part.
        name: String,
        /// Name of the column.
        column: String,
        /// The smallest number of the column.
        least: f64,
        /// The largest number of the column.
        most: f64,
    },
    /// A column has more categories than an `f32` index can distinguish.
    #[error(
        "column \"{column}\" of {name}: expected at most {most} categories, found {found}; leave out the rare ones \
         with `at_least`"
    )]
    Categories {
        /// Name of the training part.
        name: String,
        /// Name of the column.
        column: String,
        /// Largest allowed number of categories.
        most: usize,
        /// Number of categories found.
        found: usize,
    },
    /// The same column is used for two features or targets.
    #[error(
        "column \"{column}\" is named twice: expected one use of each column, found two; leave one out"
    )]
    UsedTwice {
        /// Name of the column.
        column: String,
    },
    /// The name of a column is blank.
    #[error(
        "a column without a name: expected a name from the header, found a blank; give each column of `Columns` a \
         name of the header"
    )]
    Unnamed,
    /// The columns include no target.
    #[error(
        "nothing to predict: expected a target among the columns, found only features; name a target with \
         `Columns::value`, `Columns::class` or `Columns::label`"
    )]
    NoTarget,
    /// The columns include no feature.
    #[error(
        "nothing to predict from: expected a feature among the columns, found only targets; name a feature with \
         `Columns::number`, `Columns::one_hot` or `Columns::index`"
    )]
    NoFeatures,
    /// One network cannot predict both of two target columns.
    #[error(
        "one network cannot predict both columns \"{first}\" and \"{second}\": expected only values, only labels, or a \
         single class, found {found}; choose one of the columns, or make a network for each"
    )]
    Targets {
        /// Name of the first target column.
        first: String,
        /// Name of a target column that cannot be combined with the first.
        second: String,
        /// The kinds of both targets, for example `a value and a class`.
        found: String,
    },
    /// A setting of a column is outside of its allowed range.
    #[error("column \"{column}\": expected {expected}, found {found}; change this setting")]
    Setting {
        /// Name of the column.
        column: String,
        /// The allowed values.
        expected: &'static str,
        /// The actual value.
        found: String,
    },
    /// An array has the wrong number of columns, or the slice for the features of a row has the wrong length.
    #[error("{what}: expected {}, found {found}; give one for each", counted(*expected, "column"))]
    Width {
        /// Name of the array or slice.
        what: &'static str,
        /// Expected number of columns or elements.
        expected: usize,
        /// Actual number of columns or elements.
        found: usize,
    },
    /// There are fewer than two class names, two of them are the same, or one of them is blank.
    #[error(
        "classes {}: expected two or more different names, found {}; give each class its own name",
        quoted(found),
        fault_of_classes(found)
    )]
    Classes {
        /// The given class names.
        found: Vec<String>,
    },
    /// An array of numbers cannot be scaled, because a column is categorical or may have blanks.
    #[error(
        "column \"{column}\" is not a plain number: `FittedColumns::scale` expected only columns of numbers that cannot \
         be blank, found {found}; pass the rows as `Records` to `FittedColumns::features_of` instead"
    )]
    NotNumbers {
        /// Name of the first such column.
        column: String,
        /// What the column contains, for example `a category`.
        found: &'static str,
    },
    /// Outputs cannot be converted to the units of the target, because the target is not numeric.
    #[error(
        "the columns predict {found}: expected values, which have units, found none; read {found} with the names in \
         `FittedColumns::target`"
    )]
    NoValues {
        /// The kind of the target: `classes` or `labels`.
        found: &'static str,
    },
    /// A text is not the JSON of [`FittedColumns`](crate::data::FittedColumns).
    #[error(
        "cannot read the columns: expected the JSON text that `FittedColumns::to_json` returns, found another text \
         ({fault}); save the columns again"
    )]
    Text {
        /// What is wrong with the text.
        fault: String,
    },
    /// There is not enough memory for the table.
    #[error(
        "{name}: {rows} rows of {} need {}, but {} is available ({limit}); {}",
        counted(*width, "feature"), readable(*needed), readable(*available), one_hot_remedy(widest.as_ref())
    )]
    Memory {
        /// Name of the data.
        name: String,
        /// Number of rows.
        rows: usize,
        /// Features per row.
        width: usize,
        /// Bytes needed.
        needed: u64,
        /// Bytes available.
        available: u64,
        /// What limits the memory.
        limit: &'static str,
        /// Name of the one-hot column with the most features, and its number of features.
        widest: Option<(String, usize)>,
    },
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum CellFault {
    /// The field is missing: it is blank, or it holds a word that means a missing field, such as `NA`.
    Missing {
        /// The contents of the field.
        found: String,
        /// What the column expects.
        expected: CellKind,
    },
    /// The field is not a number.
    NotANumber {
        /// The contents of the field.
        found: String,
    },
    /// The number is infinite.
    Infinite {
        /// The contents of the field.
        found: String,
    },
    /// The scaled number is too large for an `f32`.
    TooFar {
        /// The contents of the field.
        found: String,
        /// Mean of the column.
        mean: f64,
        /// Standard deviation of the column.
        deviation: f64,
    },
    /// The field is none of 0, 1, `no`, `yes`, `false` and `true`.
    NotALabel {
        /// The contents of the field.
        found: String,
    },
    /// The field holds a category that does not occur in the training part.
    Unknown {
        /// The contents of the field.
        found: String,
        /// The first known categories.
        known: Box<[String]>,
        /// Number of all known categories.
        of: u32,
        /// Whether the column is a target.
        is_target: bool,
    },
}

/// What a column expects in each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CellKind {
    /// A number of a feature.
    Number,
    /// A category of a feature.
    Category,
    /// A numeric target.
    Value,
    /// A class target.
    Class,
    /// A yes-or-no target.
    Label,
}

impl CellKind {
    /// Returns the kind in words, and a remedy for a missing field.
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
