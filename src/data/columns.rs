//! Converts rows of text to network inputs and targets.

mod categories;
mod check;
mod encode;
mod fit;
mod fitted;
mod json;
mod learn;
mod missing;
mod numbers;
mod scale;

use super::{ColumnsError, DataError, Records, RowNumber};
pub use encode::RowEncoder;
pub use fitted::{FittedColumns, Target};

/// The columns of [`Records`] that are features and those that are targets. [`fit`](Self::fit) then learns from the
/// training part how to scale numbers and which categories exist.
///
/// ```
/// use wgrad::data::{Category, Columns, Number, Records};
///
/// let text = "area,age,town,price
/// 95,12,Bonn,410\n60,,Köln,300\n120,3,Bonn,475\n75,40,Mainz,290\n88,7,Köln,395\n";
/// let houses = Records::read_csv("houses.csv", text.as_bytes())?;
/// let [train, test] = houses.split(0.8, 1)?;
/// let columns = Columns::new()
///     .number("area")
///     .number(Number::new("age").missing_as_mean())
///     .one_hot(Category::new("town").others())
///     .value("price")
///     .fit(&train)?;
/// let (train, test) = (columns.table(&train)?, columns.table(&test)?);
/// assert_eq!(train.name(), "houses.csv, 4 of 5 rows");
/// assert_eq!((train.width(), train.outputs()), (columns.features(), 1));
///
/// // Rows to be predicted have no price, and may have their columns in another order.
/// let asked = Records::new("asked", ["town", "age", "area"], [["Bonn", "", "100"]])?;
/// assert_eq!(columns.features_of(&asked)?.dim(), (1, columns.features()));
/// # Ok::<(), wgrad::data::DataError>(())
/// ```
///
/// Spaces around a field are ignored. A field is missing if it is blank, or if it is `NA`, `N/A`, `NaN`, `null`, `None`
/// or a word added by [`missing`](Self::missing), in upper or lower case. A missing feature is an error, unless
/// [`Number`] or [`Category`] defines a replacement. A missing target is always an error: leave out such rows with
/// [`Records::filter`].
#[derive(Debug, Clone, Default)]
pub struct Columns {
    features: Vec<Feature>,
    targets: Vec<(Kind, String)>,
    missing: Vec<String>,
}

#[derive(Debug, Clone)]
enum Feature {
    Number(Number),
    OneHot(Category),
    Index(Category),
}

/// How a target column is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Value,
    Class,
    Label,
}

impl Columns {
    /// Creates a description without columns.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a numeric feature, scaled to mean 0 and standard deviation 1 over the training part. `column` is a name, or
    /// a [`Number`] that also defines a replacement for blanks.
    #[must_use]
    pub fn number(mut self, column: impl Into<Number>) -> Self {
        self.features.push(Feature::Number(column.into()));
        self
    }

    /// Adds one feature per category: 1 if the row has this category, otherwise 0. For columns of few categories.
    #[must_use]
    pub fn one_hot(mut self, column: impl Into<Category>) -> Self {
        self.features.push(Feature::OneHot(column.into()));
        self
    }

    /// Adds a single feature, the index of the row's category, as input of an [`Embedding`](crate::ops::Embedding). Use
    /// it for columns of many categories.
    #[must_use]
    pub fn index(mut self, column: impl Into<Category>) -> Self {
        self.features.push(Feature::Index(column.into()));
        self
    }

    /// Adds a numeric target, scaled like a [`number`](Self::number). The network has one output per numeric target.
    /// [`FittedColumns::values`] converts outputs back to the units of the columns.
    #[must_use]
    pub fn value(self, column: impl Into<String>) -> Self {
        self.target(Kind::Value, column)
    }

    /// Makes a column of categories the only target. The network has one output per class.
    ///
    /// The classes are sorted by number if all are numbers, and otherwise by name; [`Target::Classes`] lists them. So
    /// with classes `no` and `yes`, `yes` is class 1, which is the positive class of two-class metrics. Class weights
    /// have the same order.
    #[must_use]
    pub fn class(self, column: impl Into<String>) -> Self {
        self.target(Kind::Class, column)
    }

    /// Adds a yes-or-no target, stored in the table as 1 or 0 without scaling. The column contains 0 or 1, `no` or
    /// `yes`, `false` or `true`. The network has one output per yes-or-no target, and several of them may be yes for
    /// the same row.
    #[must_use]
    pub fn label(self, column: impl Into<String>) -> Self {
        self.target(Kind::Label, column)
    }

    fn target(mut self, kind: Kind, column: impl Into<String>) -> Self {
        self.targets.push((kind, column.into()));
        self
    }

    /// Adds words that mean a missing field, such as `?` or `-999`. Case does not matter.
    #[must_use]
    pub fn missing(mut self, words: impl IntoIterator<Item: Into<String>>) -> Self {
        self.missing.extend(words.into_iter().map(Into::into));
        self
    }

    /// Learns means, standard deviations and categories from the training part.
    ///
    /// Nothing is learned from other rows, so an evaluation on them is not biased.
    ///
    /// # Errors
    /// [`RowsError::NoColumn`](super::RowsError::NoColumn) when the header lacks a column. A [`ColumnsError`] when the
    /// columns do not fit together, when a field is not valid for its column (with the row's number), or when a column
    /// has the same value in all rows.
    pub fn fit(&self, train: &Records) -> Result<FittedColumns, DataError> {
        fit::fit(self, train)
    }
}

/// A column of numbers, with an optional replacement for blanks.
#[derive(Debug, Clone)]
pub struct Number {
    name: String,
    blank: Blank,
}

/// The replacement for blanks in a column of numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Blank {
    Refused,
    /// The mean of the column. With `has_flag`, a second feature is 1 for a blank and otherwise 0, if the training part
    /// has blanks.
    Mean {
        has_flag: bool,
    },
    Value(f64),
}

impl Number {
    /// Creates a column in which a blank is an error.
    #[must_use]
    pub fn new(column: impl Into<String>) -> Self {
        Self {
            name: column.into(),
            blank: Blank::Refused,
        }
    }

    /// Replaces blanks by the column's mean, and adds a second feature that is 1 for a blank and otherwise 0.
    ///
    /// If the training part has no blanks, the second feature is left out, because the network could not learn its
    /// meaning.
    #[must_use]
    pub fn missing_as_mean(mut self) -> Self {
        self.blank = Blank::Mean { has_flag: true };
        self
    }

    /// Replaces blanks by this number, before scaling.
    #[must_use]
    pub fn missing_as(mut self, value: f64) -> Self {
        self.blank = Blank::Value(value);
        self
    }
}

impl<T: Into<String>> From<T> for Number {
    fn from(column: T) -> Self {
        Self::new(column)
    }
}

/// A column of categories, with options for unknown, rare and missing categories.
///
/// Categories are sorted by number if all are numbers, and otherwise by name. The order of the rows does not matter.
#[derive(Debug, Clone)]
pub struct Category {
    name: String,
    has_others: bool,
    at_least: u64,
    has_blanks: bool,
    width: Option<usize>,
}

impl Category {
    /// Creates a column that has the categories of the training part. Any other category is an error.
    #[must_use]
    pub fn new(column: impl Into<String>) -> Self {
        Self {
            name: column.into(),
            has_others: false,
            at_least: 1,
            has_blanks: false,
            width: None,
        }
    }

    /// Accepts categories that do not occur in the training part (unknown categories), and treats them all alike.
    ///
    /// Every feature of a [`one_hot`](Columns::one_hot) column is then 0. The feature of an [`index`](Columns::index)
    /// column is 0, and the indices of the known categories start at 1. A network learns the meaning of these values
    /// only if they occur in the training part: see [`at_least`](Self::at_least).
    #[must_use]
    pub fn others(mut self) -> Self {
        self.has_others = true;
        self
    }

    /// Treats categories that occur in fewer than `rows` rows of the training part as unknown categories, and accepts
    /// unknown categories like [`others`](Self::others).
    #[must_use]
    pub fn at_least(mut self, rows: u64) -> Self {
        self.at_least = rows;
        self.others()
    }

    /// Treats blanks as one more category if the training part has blanks, and otherwise as an unknown category.
    #[must_use]
    pub fn missing_as_category(mut self) -> Self {
        self.has_blanks = true;
        self
    }

    /// Sets the length of the vector that an [`Embedding`](crate::ops::Embedding) should have per category, for an
    /// [`index`](Columns::index) column. The default is half the number of categories, but at most 50, which Howard and
    /// Gugger (2020) recommend as a starting point.
    #[must_use]
    pub fn width(mut self, width: usize) -> Self {
        self.width = Some(width);
        self
    }
}

impl<T: Into<String>> From<T> for Category {
    fn from(column: T) -> Self {
        Self::new(column)
    }
}

/// Creates the error for an invalid field.
fn cell(name: &str, row: RowNumber, column: &str, fault: super::CellFault) -> DataError {
    ColumnsError::Cell {
        name: name.to_owned(),
        row,
        column: column.to_owned(),
        fault,
    }
    .into()
}
