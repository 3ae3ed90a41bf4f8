//! Copies rows of tables and data sets.

use std::ops::Range;

use super::Rows;
use crate::data::{DataError, Dataset, Labels, RowsError, Table, Targets};

/// Data whose rows can be copied.
trait Parts: Sized {
    fn all(&self) -> Rows<'_>;
    /// Bytes per row, including its target.
    fn row_bytes(&self) -> usize;
    fn classes(&self) -> Result<&Labels, RowsError>;
    /// Copies the rows with the indices `rows`: at least one index, all in range.
    fn copied(&self, name: String, rows: &[usize]) -> Result<Self, DataError>;

    fn chosen(&self, rows: &[usize]) -> Result<Self, DataError> {
        self.all().check(rows, self.row_bytes())?;
        self.copied(self.all().name_of_part(rows.len()), rows)
    }
}

fn both<T: Parts>(data: &T, [first, second]: [Vec<usize>; 2]) -> Result<[T; 2], DataError> {
    Ok([data.chosen(&first)?, data.chosen(&second)?])
}

impl Parts for Table {
    fn all(&self) -> Rows<'_> {
        Rows {
            name: self.name(),
            len: self.len(),
        }
    }

    fn row_bytes(&self) -> usize {
        let targets = match self.targets() {
            Targets::Classes(_) => 1,
            Targets::Values { outputs, .. } => *outputs,
        };
        size_of::<f32>() * (self.width() + targets)
    }

    fn classes(&self) -> Result<&Labels, RowsError> {
        match self.targets() {
            Targets::Classes(labels) => Ok(labels),
            Targets::Values { .. } => Err(RowsError::NoClasses {
                name: self.name().to_owned(),
            }),
        }
    }

    fn copied(&self, name: String, rows: &[usize]) -> Result<Self, DataError> {
        let targets = match self.targets() {
            Targets::Classes(labels) => Targets::Classes(labels.select(rows)?),
            Targets::Values { outputs, values } => Targets::Values {
                outputs: *outputs,
                values: copied(values, *outputs, rows),
            },
        };
        let features = copied(self.features(), self.width(), rows);
        Ok(Self::of_finite(name, self.width(), features, targets))
    }
}

impl Parts for Dataset {
    fn all(&self) -> Rows<'_> {
        Rows {
            name: self.name(),
            len: self.len(),
        }
    }

    fn row_bytes(&self) -> usize {
        self.width() + size_of::<u32>()
    }

    fn classes(&self) -> Result<&Labels, RowsError> {
        Ok(self.labels())
    }

    fn copied(&self, name: String, rows: &[usize]) -> Result<Self, DataError> {
        let features = copied(self.features(), self.width(), rows);
        Self::new(name, self.width(), features, self.labels().select(rows)?)
    }
}

/// Copies the rows with the indices `rows` from `elements`, which has `width` elements per row.
fn copied<T: Copy>(elements: &[T], width: usize, rows: &[usize]) -> Vec<T> {
    let mut copied = Vec::with_capacity(rows.len() * width);
    for &row in rows {
        copied.extend_from_slice(&elements[row * width..][..width]);
    }
    copied
}

/// Methods that copy some rows of a table. The name of a copy has both row counts, such as `kinds, 3 of 6 rows`.
///
/// ```
/// use ndarray::array;
/// use wgrad::data::{Labels, Table};
///
/// let x = array![[0.0], [0.1], [0.2], [0.3], [1.0], [1.1]];
/// let table = Table::classification("kinds", x.view(), Labels::from_classes(vec![0, 0, 0, 0, 1, 1], 2)?)?;
/// let [train, test] = table.split_by_class(0.5, 1)?;
/// assert_eq!((train.len(), test.len()), (3, 3));
/// assert_eq!(train.name(), "kinds, 3 of 6 rows");
/// // The rare class as often as the other.
/// assert_eq!(train.of_each_class(2, 1)?.len(), 4);
/// assert_eq!(table.rows(1..3)?.features(), table.select(&[1, 2])?.features());
/// # Ok::<(), wgrad::data::DataError>(())
/// ```
impl Table {
    /// Copies the rows with these indices, in this order. An index may occur twice.
    ///
    /// # Errors
    /// [`RowsError::NoneChosen`] when `rows` is empty, [`RowsError::Index`] when an index is [`len`](Self::len) or
    /// greater, and [`DataError::TooLarge`] when there is not enough memory for the copy.
    pub fn select(&self, rows: &[usize]) -> Result<Self, DataError> {
        self.chosen(rows)
    }

    /// Copies the rows of a range, such as `0..1000`.
    ///
    /// # Errors
    /// The errors of [`select`](Self::select).
    pub fn rows(&self, range: Range<usize>) -> Result<Self, DataError> {
        self.chosen(&self.all().cut(range)?)
    }

    /// Shuffles the rows and splits them into two parts. The first part has the fraction `share` of the rows, rounded.
    /// The same seed gives the same parts on every machine.
    ///
    /// # Errors
    /// [`RowsError::Share`] unless `share` is between 0 and 1; [`RowsError::EmptyPart`] when a part would have no row;
    /// [`DataError::TooLarge`] when there is not enough memory for the parts.
    pub fn split(&self, share: f64, seed: u64) -> Result<[Self; 2], DataError> {
        both(self, self.all().split(share, seed)?)
    }

    /// Splits the rows of each class separately, like [`split`](Self::split) (a stratified split).
    ///
    /// So the proportions of the classes are about the same in both parts. If a class has two or more rows, each part
    /// gets at least one of them. A single row goes to the first part.
    ///
    /// # Errors
    /// The errors of [`split`](Self::split), and [`RowsError::NoClasses`] when the targets of the table are values.
    pub fn split_by_class(&self, share: f64, seed: u64) -> Result<[Self; 2], DataError> {
        let group_of = self.classes()?.indices();
        both(self, self.all().split_by(group_of, share, seed)?)
    }

    /// Copies `count` random rows of each class, so that all classes have the same number of rows.
    ///
    /// If a class has fewer than `count` rows, its rows repeat (oversampling); otherwise no row occurs twice. The
    /// classes alternate in the copy.
    ///
    /// # Errors
    /// [`RowsError::EmptyClass`] when a class has no row, [`RowsError::NoneChosen`] when `count` is 0,
    /// [`RowsError::NoClasses`] when the targets of the table are values, and [`DataError::TooLarge`] when there is
    /// not enough memory for the copy.
    pub fn of_each_class(&self, count: usize, seed: u64) -> Result<Self, DataError> {
        self.chosen(&self.all().of_each(self.classes()?, count, seed)?)
    }
}

/// Methods that copy some examples of a data set. The name of a copy has both counts, such as `digits, 4 of 5 rows`.
///
/// ```
/// use wgrad::data::synthetic;
///
/// let digits = synthetic::digits_of(1, 500, 100)?.train;
/// let [train, validation] = digits.split_by_class(0.8, 1)?;
/// assert_eq!(train.len() + validation.len(), 500);
/// // A small experiment: the same number of each digit.
/// assert_eq!(train.of_each_class(10, 1)?.len(), 100);
/// # Ok::<(), wgrad::data::DataError>(())
/// ```
impl Dataset {
    /// Copies the examples with these indices, in this order. An index may occur twice.
    ///
    /// # Errors
    /// [`RowsError::NoneChosen`] when `examples` is empty, [`RowsError::Index`] when an index is [`len`](Self::len) or
    /// greater, and [`DataError::TooLarge`] when there is not enough memory for the copy.
    pub fn select(&self, examples: &[usize]) -> Result<Self, DataError> {
        self.chosen(examples)
    }

    /// Copies the examples of a range, such as `0..1000`.
    ///
    /// # Errors
    /// The errors of [`select`](Self::select).
    pub fn rows(&self, range: Range<usize>) -> Result<Self, DataError> {
        self.chosen(&self.all().cut(range)?)
    }

    /// Shuffles the examples and splits them into two parts. The first part has the fraction `share` of the examples,
    /// rounded. The same seed gives the same parts on every machine.
    ///
    /// # Errors
    /// [`RowsError::Share`] unless `share` is between 0 and 1; [`RowsError::EmptyPart`] when a part would have no
    /// example; [`DataError::TooLarge`] when there is not enough memory for the parts.
    pub fn split(&self, share: f64, seed: u64) -> Result<[Self; 2], DataError> {
        both(self, self.all().split(share, seed)?)
    }

    /// Splits the examples of each class separately, like [`split`](Self::split) (a stratified split).
    ///
    /// So the proportions of the classes are about the same in both parts. If a class has two or more examples, each
    /// part gets at least one of them. A single example goes to the first part.
    ///
    /// # Errors
    /// The errors of [`split`](Self::split).
    pub fn split_by_class(&self, share: f64, seed: u64) -> Result<[Self; 2], DataError> {
        let group_of = self.classes()?.indices();
        both(self, self.all().split_by(group_of, share, seed)?)
    }

    /// Copies `count` random examples of each class, so that all classes have the same number of examples.
    ///
    /// If a class has fewer than `count` examples, its examples repeat (oversampling); otherwise no example occurs
    /// twice. The classes alternate in the copy.
    ///
    /// # Errors
    /// [`RowsError::EmptyClass`] when a class has no example, [`RowsError::NoneChosen`] when `count` is 0, and
    /// [`DataError::TooLarge`] when there is not enough memory for the copy.
    pub fn of_each_class(&self, count: usize, seed: u64) -> Result<Self, DataError> {
        self.chosen(&self.all().of_each(self.classes()?, count, seed)?)
    }
}
