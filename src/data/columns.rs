//! What a network sees of rows of text.

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

/// Which columns of [`Records`] a network sees and what it should predict, as one would say it; [`fit`](Self::fit)
/// learns from the part to train on how numbers are scaled and which categories there are.
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
/// Blanks around a field do not count. A field is missing when it is blank, `NA`, `N/A`, `NaN`, `null` or `None`, in
/// any case, or what [`missing`](Self::missing) adds. That is an error unless the column says what it stands for; a
/// missing target always is: [`Records::filter`] leaves such rows out.
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

/// What is to be predicted of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Value,
    Class,
    Label,
}

impl Columns {
    /// No columns yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A feature that is a number, scaled to mean 0 and deviation 1 over the part to train on: a name, or a [`Number`]
    /// that says what a blank stands for.
    #[must_use]
    pub fn number(mut self, column: impl Into<Number>) -> Self {
        self.features.push(Feature::Number(column.into()));
        self
    }

    /// A feature for each category: 1 where the row has it and otherwise 0. For columns of few categories.
    #[must_use]
    pub fn one_hot(mut self, column: impl Into<Category>) -> Self {
        self.features.push(Feature::OneHot(column.into()));
        self
    }

    /// A single feature, the index of the row's category, for an [`Embedding`](crate::ops::Embedding) to read. For
    /// columns of many categories.
    #[must_use]
    pub fn index(mut self, column: impl Into<Category>) -> Self {
        self.features.push(Feature::Index(column.into()));
        self
    }

    /// A number to be predicted, scaled as [`number`](Self::number)s are: [`FittedColumns::values`] gives it back in
    /// its unit. Several of them are several outputs.
    #[must_use]
    pub fn value(self, column: impl Into<String>) -> Self {
        self.target(Kind::Value, column)
    }

    /// A category to be predicted, an output for each class; the only target. Classes are in the order of their names, or of
    /// their numbers where all are numbers ([`Target::Classes`] has them): of `no` and `yes`, `yes` is class 1, which
    /// metrics of two classes are of, and class weights are in this order.
    #[must_use]
    pub fn class(self, column: impl Into<String>) -> Self {
        self.target(Kind::Class, column)
    }

    /// A yes or no to be predicted, as 1 or 0: a value of the table that has no scale. Several of them, which do not
    /// exclude each other, are several outputs. The column has 0 or 1, `no` or `yes`, `false` or `true`.
    #[must_use]
    pub fn label(self, column: impl Into<String>) -> Self {
        self.target(Kind::Label, column)
    }

    fn target(mut self, kind: Kind, column: impl Into<String>) -> Self {
        self.targets.push((kind, column.into()));
        self
    }

    /// Further words that stand for a missing field, such as `?` or `-999`, in any case.
    #[must_use]
    pub fn missing(mut self, words: impl IntoIterator<Item: Into<String>>) -> Self {
        self.missing.extend(words.into_iter().map(Into::into));
        self
    }

    /// Learns means, deviations and categories from the part to train on, and from nothing else, so that what is said
    /// of the network on other rows is what it does on rows that nobody has seen.
    ///
    /// # Errors
    /// [`RowsError::NoColumn`](super::RowsError::NoColumn) when the header does not have a column, and a
    /// [`ColumnsError`] when columns do not go together; when a field is not what its column needs, with its line;
    /// when a column is the same in all rows.
    pub fn fit(&self, train: &Records) -> Result<FittedColumns, DataError> {
        fit::fit(self, train)
    }
}

/// A column of numbers, and what a blank in it stands for.
#[derive(Debug, Clone)]
pub struct Number {
    name: String,
    blank: Blank,
}

/// What a blank among numbers stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Blank {
    Refused,
    /// With one more feature that says so, where the part to train on has blanks.
    Mean {
        has_flag: bool,
    },
    Value(f64),
}

impl Number {
    /// A column without blanks.
    #[must_use]
    pub fn new(column: impl Into<String>) -> Self {
        Self {
            name: column.into(),
            blank: Blank::Refused,
        }
    }

    /// A blank is the mean, 0 when scaled, with one more feature that is 1 where it was blank, and otherwise 0. Where
    /// the part to train on has no blank there is no such feature, as nothing could be learned of it.
    #[must_use]
    pub fn missing_as_mean(mut self) -> Self {
        self.blank = Blank::Mean { has_flag: true };
        self
    }

    /// A blank is this number, as if it stood in the file.
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

/// A column of categories, and which of them count.
///
/// Categories are in the order of their numbers where all are numbers, and otherwise in that of their letters, whatever
/// the order of the rows.
#[derive(Debug, Clone)]
pub struct Category {
    name: String,
    has_others: bool,
    at_least: u64,
    has_blanks: bool,
    width: Option<usize>,
}

impl Category {
    /// A column with the categories of the part to train on: another one in later rows is an error.
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

    /// Categories that the part to train on does not have are all the same: 0 in each feature of a
    /// [`one_hot`](Columns::one_hot), index 0 of an [`index`](Columns::index), whose known ones begin at 1. A network
    /// learns what that means where the part to train on has some, by [`at_least`](Self::at_least).
    #[must_use]
    pub fn others(mut self) -> Self {
        self.has_others = true;
        self
    }

    /// Categories that fewer rows of the part to train on have are among the [`others`](Self::others), and so are those that
    /// it does not have.
    #[must_use]
    pub fn at_least(mut self, rows: u64) -> Self {
        self.at_least = rows;
        self.others()
    }

    /// A blank is a category of its own, where the part to train on has some; elsewhere it is none that is known.
    #[must_use]
    pub fn missing_as_category(mut self) -> Self {
        self.has_blanks = true;
        self
    }

    /// How many numbers an [`Embedding`](crate::ops::Embedding) has for each category of an
    /// [`index`](Columns::index). By default half as many as there are categories, and at most 50 (Howard and Gugger,
    /// 2020, advise this for a start).
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

/// An error about a field.
fn cell(name: &str, row: RowNumber, column: &str, fault: super::CellFault) -> DataError {
    ColumnsError::Cell {
        name: name.to_owned(),
        row,
        column: column.to_owned(),
        fault,
    }
    .into()
}
