use std::sync::{Arc, OnceLock};

use ndarray::{ArrayView1, ArrayView2};
use sha2::Digest;

use super::digest::{self, DataDigest};
use super::parts::Rows;
use super::table::Memory;
use super::{DataError, NotOneHot};

/// Class labels, one per example. They are created from class indices or from one-hot rows, and stored as indices.
///
/// ```
/// use ndarray::array;
/// use wgrad::data::Labels;
///
/// let indices = Labels::from_classes(vec![2, 0], 3)?;
/// let one_hot = Labels::from_one_hot(array![[0., 0., 1.], [1., 0., 0.]].view())?;
/// assert_eq!(indices, one_hot);
/// # Ok::<(), wgrad::data::DataError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    indices: Vec<u32>,
    classes: usize,
}

impl Labels {
    /// Creates labels from class indices in `0..classes`.
    ///
    /// # Errors
    /// [`DataError::LabelRange`] when an index is `classes` or greater.
    pub fn from_classes(indices: Vec<u32>, classes: usize) -> Result<Self, DataError> {
        match indices.iter().position(|&label| label as usize >= classes) {
            Some(example) => Err(DataError::LabelRange {
                example,
                classes,
                found: indices[example],
            }),
            None => Ok(Self { indices, classes }),
        }
    }

    /// Creates labels from one-hot rows of shape (examples, classes): each row has a single 1 and is 0 elsewhere.
    ///
    /// # Errors
    /// [`DataError::OneHot`] when a row is not one-hot, for example a smoothed or soft label. For probabilities as
    /// targets, use [`Table::regression`](super::Table::regression).
    pub fn from_one_hot(rows: ArrayView2<'_, f32>) -> Result<Self, DataError> {
        let indices = rows.outer_iter().enumerate().map(|(example, row)| {
            class_of(row).map_err(|fault| DataError::OneHot { example, fault })
        });
        Ok(Self {
            indices: indices.collect::<Result<_, _>>()?,
            classes: rows.ncols(),
        })
    }

    /// Returns the labels of the examples with the indices `examples`, in that order. An index may occur twice.
    ///
    /// # Errors
    /// [`RowsError::NoneChosen`](super::RowsError::NoneChosen) when `examples` is empty,
    /// [`RowsError::Index`](super::RowsError::Index) when an index is [`len`](Self::len) or greater.
    pub fn select(&self, examples: &[usize]) -> Result<Self, DataError> {
        let all = Rows {
            name: "labels",
            len: self.len(),
        };
        all.check(examples, size_of::<u32>())?;
        let indices = examples.iter().map(|&example| self.indices[example]);
        Ok(Self {
            indices: indices.collect(),
            classes: self.classes,
        })
    }

    /// The class index of every example.
    #[must_use]
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Number of classes. Every index is less than this number.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Number of examples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether there are no examples.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }
}

/// Returns the class index of a one-hot row.
fn class_of(row: ArrayView1<'_, f32>) -> Result<u32, NotOneHot> {
    let other = row.iter().position(|&value| value != 0.0 && value != 1.0);
    if let Some(class) = other {
        let found = row[class];
        let are_probabilities = row.iter().all(|value| (0.0..=1.0).contains(value));
        // Probabilities that are written with a few digits sum to 1 only within rounding.
        if are_probabilities && (row.sum() - 1.0).abs() < 0.01 {
            return Err(NotOneHot::Soft { class, found });
        }
        return Err(NotOneHot::Value { class, found });
    }
    let mut ones = row.indexed_iter().filter(|(_, value)| **value == 1.0);
    match (ones.next(), ones.next()) {
        (Some((class, _)), None) => u32::try_from(class).map_err(|_| NotOneHot::NoClass),
        (Some((first, _)), Some((second, _))) => Err(NotOneHot::Classes {
            found: [first, second],
        }),
        (None, _) => Err(NotOneHot::NoClass),
    }
}

/// Labeled examples whose features are stored as bytes. A network receives each byte as `byte / 255`.
///
/// Cloning is cheap: clones share their memory.
#[derive(Clone)]
pub struct Dataset {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    features: Vec<u8>,
    width: usize,
    labels: Labels,
    digest: OnceLock<DataDigest>,
}

impl Dataset {
    /// Creates a data set of `labels.len()` rows of `width` bytes each.
    ///
    /// # Errors
    /// [`DataError::Empty`] without examples, features or classes; [`DataError::FeatureBytes`] when the length of
    /// `features` is not `labels.len() × width`.
    pub fn new(
        name: impl Into<String>,
        width: usize,
        features: Vec<u8>,
        labels: Labels,
    ) -> Result<Self, DataError> {
        let name = name.into();
        let counts = [
            ("examples", labels.len()),
            ("features", width),
            ("classes", labels.classes()),
        ];
        if let Some(&(what, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(DataError::Empty { name, what });
        }
        let expected = labels.len().saturating_mul(width);
        if features.len() != expected {
            return Err(DataError::FeatureBytes {
                name,
                examples: labels.len(),
                width,
                found: features.len(),
            });
        }
        Ok(Self {
            inner: Arc::new(Inner {
                name,
                features,
                width,
                labels,
                digest: OnceLock::new(),
            }),
        })
    }

    /// The display name, for example `MNIST train`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Number of examples.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a data set is never empty")]
    pub fn len(&self) -> usize {
        self.inner.labels.len()
    }

    /// Features per example.
    #[must_use]
    pub fn width(&self) -> usize {
        self.inner.width
    }

    /// All feature bytes, row by row.
    #[must_use]
    pub fn features(&self) -> &[u8] {
        &self.inner.features
    }

    /// The feature bytes of one example.
    ///
    /// # Panics
    /// When `example` is [`len`](Self::len) or greater.
    #[must_use]
    pub fn row(&self, example: usize) -> &[u8] {
        &self.inner.features[example * self.width()..][..self.width()]
    }

    /// The class labels of all examples.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.inner.labels
    }

    /// See [`Examples::digest`](super::Examples::digest).
    pub(super) fn digest(&self) -> &DataDigest {
        self.inner.digest.get_or_init(|| {
            let labels = self.labels();
            let mut hash = digest::begin("bytes", [self.len(), self.width(), labels.classes()]);
            digest::hash_bytes(&mut hash, self.features());
            digest::hash_labels(&mut hash, labels);
            hash.finalize().into()
        })
    }

    /// See [`Examples::memory`](super::Examples::memory).
    pub(super) fn memory(&self) -> Memory {
        Arc::downgrade(&self.inner) as Memory
    }
}

impl std::fmt::Debug for Dataset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dataset")
            .field("name", &self.name())
            .field("examples", &self.len())
            .field("width", &self.width())
            .field("classes", &self.labels().classes())
            .finish_non_exhaustive()
    }
}

/// A data set in two parts: one for training, one for evaluation.
#[derive(Debug, Clone)]
pub struct Split {
    /// The examples to train on.
    pub train: Dataset,
    /// The examples to evaluate on, which are not used for training.
    pub test: Dataset,
}
