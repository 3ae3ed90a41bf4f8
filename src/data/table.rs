use std::any::Any;
use std::sync::{Arc, OnceLock, Weak};

use ndarray::{ArrayView1, ArrayView2, Axis};
use sha2::Digest;

use super::digest::{self, DataDigest};
use super::{DataError, Dataset, Labels};

/// Rows of `f32` features, each with a class or with target values.
///
/// The network receives the features unchanged, so scale them to about −1…1 first. Cloning is cheap: clones share their
/// memory.
///
/// ```
/// use ndarray::array;
/// use wgrad::data::{Labels, Table};
///
/// let x = array![[0.0, 1.0], [1.0, 0.5], [0.2, 0.3]];
/// let prices = Table::regression("prices", x.view(), array![[0.1], [0.9], [0.4]].view())?;
/// assert_eq!((prices.len(), prices.width(), prices.outputs()), (3, 2, 1));
/// let kinds = Table::classification("kinds", x.view(), Labels::from_classes(vec![0, 1, 1], 2)?)?;
/// assert_eq!(kinds.outputs(), 2);
/// # Ok::<(), wgrad::data::DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Table {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    width: usize,
    features: Vec<f32>,
    targets: Targets,
    digest: OnceLock<DataDigest>,
}

/// The targets of all rows of a [`Table`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Targets {
    /// One class per row.
    Classes(Labels),
    /// One or more values per row.
    Values {
        /// Values per row.
        outputs: usize,
        /// The values of all rows, row by row.
        values: Vec<f32>,
    },
}

impl Table {
    /// Creates a table from `features` of shape (examples, width) and target values `targets` of shape (examples,
    /// outputs).
    ///
    /// # Errors
    /// [`DataError::Empty`] without examples, features or targets; [`DataError::Count`] when `features` and `targets`
    /// have different numbers of rows; [`DataError::NotFinite`] when a number is infinite or NaN;
    /// [`DataError::ColumnsNotFinite`] when all numbers of a column are infinite or NaN. This happens if a constant
    /// column was divided by its standard deviation, which is 0.
    pub fn regression(
        name: impl Into<String>,
        features: ArrayView2<'_, f32>,
        targets: ArrayView2<'_, f32>,
    ) -> Result<Self, DataError> {
        let name = name.into();
        check_finite(&name, "target", targets)?;
        check_count(&name, "rows of targets", features.nrows(), targets.nrows())?;
        let values = Targets::Values {
            outputs: targets.ncols(),
            values: targets.iter().copied().collect(),
        };
        Self::new(name, features, values)
    }

    /// Creates a table from `features` of shape (examples, width) and one class label per row.
    ///
    /// # Errors
    /// The errors of [`regression`](Self::regression).
    pub fn classification(
        name: impl Into<String>,
        features: ArrayView2<'_, f32>,
        labels: Labels,
    ) -> Result<Self, DataError> {
        let name = name.into();
        check_count(&name, "labels", features.nrows(), labels.len())?;
        Self::new(name, features, Targets::Classes(labels))
    }

    fn new(
        name: String,
        features: ArrayView2<'_, f32>,
        targets: Targets,
    ) -> Result<Self, DataError> {
        check_finite(&name, "feature", features)?;
        let all = features.iter().copied().collect();
        let table = Self::of_finite(name, features.ncols(), all, targets);
        let counts = [
            ("examples", features.nrows()),
            ("features", features.ncols()),
            ("targets", table.outputs()),
        ];
        match counts.iter().find(|(_, count)| *count == 0) {
            None => Ok(table),
            Some(&(what, _)) => Err(DataError::Empty {
                name: table.name().to_owned(),
                what,
            }),
        }
    }

    /// Creates a table without checks. All numbers must be finite, and there must be at least one row, feature and
    /// target.
    pub(super) fn of_finite(
        name: String,
        width: usize,
        features: Vec<f32>,
        targets: Targets,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                name,
                width,
                features,
                targets,
                digest: OnceLock::new(),
            }),
        }
    }

    /// The display name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Number of examples.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a table is never empty")]
    pub fn len(&self) -> usize {
        self.inner.features.len() / self.inner.width
    }

    /// Features per example.
    #[must_use]
    pub fn width(&self) -> usize {
        self.inner.width
    }

    /// Number of network outputs per row: one logit per class, or one output per value.
    #[must_use]
    pub fn outputs(&self) -> usize {
        match self.targets() {
            Targets::Classes(labels) => labels.classes(),
            Targets::Values { outputs, .. } => *outputs,
        }
    }

    /// All features, row by row.
    #[must_use]
    pub fn features(&self) -> &[f32] {
        &self.inner.features
    }

    /// The targets of all rows.
    #[must_use]
    pub fn targets(&self) -> &Targets {
        &self.inner.targets
    }

    /// The class labels of all rows; `None` if the targets are values.
    #[must_use]
    pub fn labels(&self) -> Option<&Labels> {
        match self.targets() {
            Targets::Classes(labels) => Some(labels),
            Targets::Values { .. } => None,
        }
    }

    /// See [`Examples::digest`].
    fn digest(&self) -> &DataDigest {
        self.inner.digest.get_or_init(|| {
            let sizes = [self.len(), self.width(), self.outputs()];
            let kind = match self.targets() {
                Targets::Classes(_) => "floats with classes",
                Targets::Values { .. } => "floats with values",
            };
            let mut hash = digest::begin(kind, sizes);
            digest::hash_floats(&mut hash, self.features());
            match self.targets() {
                Targets::Classes(labels) => digest::hash_labels(&mut hash, labels),
                Targets::Values { values, .. } => digest::hash_floats(&mut hash, values),
            }
            hash.finalize().into()
        })
    }
}

fn check_count(name: &str, what: &str, expected: usize, found: usize) -> Result<(), DataError> {
    if expected == found {
        Ok(())
    } else {
        Err(DataError::Count {
            what: format!("{what} of table \"{name}\""),
            expected,
            found,
        })
    }
}

pub(super) fn check_finite(
    name: &str,
    what: &'static str,
    of: ArrayView2<'_, f32>,
) -> Result<(), DataError> {
    if of.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    let first_fault =
        |column: ArrayView1<'_, f32>| column.iter().position(|value| !value.is_finite());
    let faults =
        |column: ArrayView1<'_, f32>| column.iter().filter(|value| !value.is_finite()).count();
    let columns = of.axis_iter(Axis(1)).enumerate();
    let whole = columns
        .clone()
        .filter(|(_, column)| faults(*column) == column.len());
    let whole: Vec<usize> = whole.map(|(at, _)| at).collect();
    // If there is only one row, a bad number may be the fault of the row or of the column. Report the row.
    if !whole.is_empty() && of.nrows() > 1 {
        return Err(DataError::ColumnsNotFinite {
            name: name.to_owned(),
            what,
            found: of[[0, whole[0]]],
            columns: whole,
        });
    }
    let faulty = columns.filter_map(|(at, column)| Some((first_fault(column)?, at, column)));
    match faulty.min_by_key(|&(row, at, _)| (row, at)) {
        None => Ok(()),
        Some((row, at, column)) => Err(DataError::NotFinite {
            name: name.to_owned(),
            what,
            column: at,
            row,
            found: column[row],
            rows: faults(column),
            of: column.len(),
        }),
    }
}

/// Training data: labeled bytes, or a table of floats.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Examples {
    /// Rows of bytes, each with a class.
    Bytes(Dataset),
    /// Rows of floats, each with a class or with values.
    Table(Table),
}

impl From<&Dataset> for Examples {
    fn from(dataset: &Dataset) -> Self {
        Self::Bytes(dataset.clone())
    }
}

impl From<&Table> for Examples {
    fn from(table: &Table) -> Self {
        Self::Table(table.clone())
    }
}

impl From<&Examples> for Examples {
    fn from(examples: &Examples) -> Self {
        examples.clone()
    }
}

/// Data that converts to [`Examples`]: a [`Dataset`], a [`Table`], or [`Examples`].
///
/// The methods of [`Train`](crate::Train) take data as `&dyn ToExamples`. The conversion shares the rows and does not
/// copy them.
pub trait ToExamples {
    /// Returns [`Examples`] that share these rows.
    fn to_examples(&self) -> Examples;
}

impl<T> ToExamples for T
where
    for<'a> &'a T: Into<Examples>,
{
    fn to_examples(&self) -> Examples {
        self.into()
    }
}

impl Examples {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Bytes(dataset) => dataset.name(),
            Self::Table(table) => table.name(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(dataset) => dataset.len(),
            Self::Table(table) => table.len(),
        }
    }

    pub(crate) fn width(&self) -> usize {
        match self {
            Self::Bytes(dataset) => dataset.width(),
            Self::Table(table) => table.width(),
        }
    }

    pub(crate) fn outputs(&self) -> usize {
        match self {
            Self::Bytes(dataset) => dataset.labels().classes(),
            Self::Table(table) => table.outputs(),
        }
    }

    /// The class labels of all examples; `None` if the targets are values.
    pub(crate) fn labels(&self) -> Option<&Labels> {
        match self {
            Self::Bytes(dataset) => Some(dataset.labels()),
            Self::Table(table) => table.labels(),
        }
    }

    /// The target values of all examples, row by row; `None` if the targets are classes.
    pub(crate) fn values(&self) -> Option<&[f32]> {
        match self {
            Self::Bytes(_) => None,
            Self::Table(table) => match table.targets() {
                Targets::Classes(_) => None,
                Targets::Values { values, .. } => Some(values),
            },
        }
    }

    /// SHA-256 of the contents: kind, sizes, features and targets, without the name. The first call computes it, and
    /// all clones share the result.
    pub(crate) fn digest(&self) -> &DataDigest {
        match self {
            Self::Bytes(dataset) => dataset.digest(),
            Self::Table(table) => table.digest(),
        }
    }

    /// Size of the features and targets, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let features = match self {
            Self::Bytes(dataset) => dataset.features().len(),
            Self::Table(table) => size_of_val(table.features()),
        };
        let targets = match self.values() {
            None => 4 * self.len(),
            Some(values) => size_of_val(values),
        };
        (features + targets) as u64
    }

    /// A weak reference to the data, equal for all clones. It does not keep the data alive.
    pub(crate) fn memory(&self) -> Memory {
        match self {
            Self::Bytes(dataset) => dataset.memory(),
            Self::Table(table) => Arc::downgrade(&table.inner) as Memory,
        }
    }
}

/// A weak reference to the data of [`Examples`]: see [`Examples::memory`].
pub(crate) type Memory = Weak<dyn Any + Send + Sync>;
