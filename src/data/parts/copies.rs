//! Parts of labelled data, as copies.

use std::ops::Range;

use super::Rows;
use crate::data::{DataError, Dataset, Labels, RowsError, Table, Targets};

/// Data of which rows can be copied.
trait Parts: Sized {
    fn all(&self) -> Rows<'_>;
    /// Bytes of a row and its target.
    fn row_bytes(&self) -> usize;
    fn classes(&self) -> Result<&Labels, RowsError>;
    /// Rows that are there, and not none.
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

/// These rows of so many elements.
fn copied<T: Copy>(elements: &[T], width: usize, rows: &[usize]) -> Vec<T> {
    let mut copied = Vec::with_capacity(rows.len() * width);
    for &row in rows {
        copied.extend_from_slice(&elements[row * width..][..width]);
    }
    copied
}

/// Parts of a table: copies of some of its rows, whose names say of how many.
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
    /// These rows, in this order, each as often as it is named.
    ///
    /// # Errors
    /// [`RowsError::NoneChosen`] without indices, [`RowsError::Index`] when one is not below [`len`](Self::len), and
    /// [`DataError::TooLarge`] when there is no memory for them.
    pub fn select(&self, rows: &[usize]) -> Result<Self, DataError> {
        self.chosen(rows)
    }

    /// The rows of a range, such as `0..1000`.
    ///
    /// # Errors
    /// As [`select`](Self::select).
    pub fn rows(&self, range: Range<usize>) -> Result<Self, DataError> {
        self.chosen(&self.all().cut(range)?)
    }

    /// Two parts in an order that the seed decides: the first has `share` of the rows, rounded. The same seed gives the
    /// same parts on every machine.
    ///
    /// # Errors
    /// [`RowsError::Share`] unless `share` is between 0 and 1; [`RowsError::EmptyPart`] when a part would have no row;
    /// [`DataError::TooLarge`] when there is no memory for them.
    pub fn split(&self, share: f64, seed: u64) -> Result<[Self; 2], DataError> {
        both(self, self.all().split(share, seed)?)
    }

    /// [`split`](Self::split) by strata: each part has the classes as often as the whole, as far as their numbers of
    /// rows allow. The rows of a class are split by themselves; both parts get one of them where there are two or
    /// more, and the first part where there is one.
    ///
    /// # Errors
    /// As [`split`](Self::split), and [`RowsError::NoClasses`] when the table has values.
    pub fn split_by_class(&self, share: f64, seed: u64) -> Result<[Self; 2], DataError> {
        let group_of = self.classes()?.indices();
        both(self, self.all().split_by(group_of, share, seed)?)
    }

    /// As many rows of each class, by the seed: classes weigh the same then. None is taken twice where a class has
    /// enough of them; otherwise each is taken before any is taken once more (oversampling). The classes take turns.
    ///
    /// # Errors
    /// [`RowsError::EmptyClass`] when a class has no row, [`RowsError::NoneChosen`] when `count` is 0, and
    /// [`DataError::TooLarge`] when there is no memory for them; [`RowsError::NoClasses`] when the
    /// table has values.
    pub fn of_each_class(&self, count: usize, seed: u64) -> Result<Self, DataError> {
        self.chosen(&self.all().of_each(self.classes()?, count, seed)?)
    }
}

/// Parts of a data set: copies of some of its examples, whose names say of how many.
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
    /// These examples, in this order, each as often as it is named.
    ///
    /// # Errors
    /// [`RowsError::NoneChosen`] without indices, [`RowsError::Index`] when one is not below [`len`](Self::len), and
    /// [`DataError::TooLarge`] when there is no memory for them.
    pub fn select(&self, examples: &[usize]) -> Result<Self, DataError> {
        self.chosen(examples)
    }

    /// The examples of a range, such as `0..1000`.
    ///
    /// # Errors
    /// As [`select`](Self::select).
    pub fn rows(&self, range: Range<usize>) -> Result<Self, DataError> {
        self.chosen(&self.all().cut(range)?)
    }

    /// Two parts in an order that the seed decides: the first has `share` of the examples, rounded. The same seed
    /// gives the same parts on every machine.
    ///
    /// # Errors
    /// [`RowsError::Share`] unless `share` is between 0 and 1; [`RowsError::EmptyPart`] when a part would have no
    /// example; [`DataError::TooLarge`] when there is no memory for them.
    pub fn split(&self, share: f64, seed: u64) -> Result<[Self; 2], DataError> {
        both(self, self.all().split(share, seed)?)
    }

    /// [`split`](Self::split) by strata: each part has the classes as often as the whole, as far as their numbers of
    /// examples allow. The examples of a class are split by themselves; both parts get one of them where there are
    /// two or more, and the first part where there is one.
    ///
    /// # Errors
    /// As [`split`](Self::split).
    pub fn split_by_class(&self, share: f64, seed: u64) -> Result<[Self; 2], DataError> {
        let group_of = self.classes()?.indices();
        both(self, self.all().split_by(group_of, share, seed)?)
    }

    /// As many examples of each class, by the seed: classes weigh the same then. None is taken twice where a class has
    /// enough of them; otherwise each is taken before any is taken once more (oversampling). The classes take turns.
    ///
    /// # Errors
    /// [`RowsError::EmptyClass`] when a class has no example, [`RowsError::NoneChosen`] when `count` is 0, and
    /// [`DataError::TooLarge`] when there is no memory for them.
    pub fn of_each_class(&self, count: usize, seed: u64) -> Result<Self, DataError> {
        self.chosen(&self.all().of_each(self.classes()?, count, seed)?)
    }
}
