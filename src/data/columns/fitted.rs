use std::sync::Arc;

use ndarray::{Array2, ArrayView2};

use super::super::{ColumnsError, DataError, Labels, Records, Table, Targets};
use super::Blank;
use super::categories::{Categories, Known, is_missing};
use super::encode::RowEncoder;
use super::missing::Missing;
use super::scale::Scale;
use crate::error::Error;
use crate::memory;

/// Allowed lengths of the embedding vector of a category.
pub(super) const WIDTHS: std::ops::RangeInclusive<usize> = 1..=65_536;

/// [`Columns`](super::Columns) with the means, standard deviations and categories of the training part. They convert
/// rows of text to features and targets, and network outputs back to the units of the target columns.
///
/// A row begins with its plain features: the features of all [`number`](super::Columns::number) and
/// [`one_hot`](super::Columns::one_hot) columns, in the order of the columns. If a number column has a feature that
/// flags blanks, it follows the number. The row ends with one category index for each
/// [`index`](super::Columns::index) column.
///
/// Cloning is cheap: clones share their memory.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedColumns {
    inner: Arc<Inner>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Inner {
    pub(super) missing: Missing,
    pub(super) features: Vec<Feature>,
    pub(super) target: Target,
    /// The classes of the target; empty for other kinds of targets.
    pub(super) classes: Categories,
    pub(super) plain: usize,
    pub(super) width: usize,
}

/// A feature column, with the index of its first feature in a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Feature {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) first: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Number { scale: Scale, blank: Blank },
    OneHot(Known),
    Index { known: Known, width: usize },
}

/// What a network predicts for each row.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Target {
    /// Values, scaled to mean 0 and standard deviation 1 over the training part. The network has one output per value.
    Values {
        /// Names of the columns.
        names: Vec<String>,
        /// Mean of each column over the training part, in the unit of the column.
        means: Vec<f64>,
        /// Standard deviation of each column over the training part, in the unit of the column.
        deviations: Vec<f64>,
    },
    /// A class. The network has one output per class.
    Classes {
        /// Name of the column.
        name: String,
        /// Names of the classes, in the order of the outputs.
        classes: Vec<String>,
    },
    /// Yes-or-no labels, as 1 or 0. The network has one output per label.
    Labels {
        /// Names of the columns.
        names: Vec<String>,
    },
}

impl Target {
    /// Number of network outputs per row: one per value, or one logit per class or label.
    #[must_use]
    pub fn outputs(&self) -> usize {
        match self {
            Self::Values { names, .. } | Self::Labels { names } => names.len(),
            Self::Classes { classes, .. } => classes.len(),
        }
    }

    /// The names of the classes, in the order of the outputs; `None` if the target is not a class.
    ///
    /// ```
    /// use wgrad::Prediction;
    /// use wgrad::data::{Columns, Records};
    /// use wgrad::ndarray::array;
    ///
    /// let fruits = Records::new("fruits", ["weight", "kind"], [["90", "plum"], ["180", "apple"]])?;
    /// let columns = Columns::new().number("weight").class("kind").fit(&fruits)?;
    /// let classes = columns.target().classes().unwrap_or_default();
    /// let prediction = Prediction::of(array![-1.0f32, 2.0].view());
    /// assert_eq!(classes[prediction.class as usize], "plum");
    /// # Ok::<(), wgrad::data::DataError>(())
    /// ```
    #[must_use]
    pub fn classes(&self) -> Option<&[String]> {
        match self {
            Self::Classes { classes, .. } => Some(classes),
            Self::Values { .. } | Self::Labels { .. } => None,
        }
    }

    pub(super) fn of_values(names: Vec<String>, scales: &[Scale]) -> Self {
        Self::Values {
            names,
            means: scales.iter().map(|scale| scale.mean).collect(),
            deviations: scales.iter().map(|scale| scale.deviation).collect(),
        }
    }

    /// Names of the target's columns.
    pub(super) fn columns(&self) -> &[String] {
        match self {
            Self::Values { names, .. } | Self::Labels { names } => names,
            Self::Classes { name, .. } => std::slice::from_ref(name),
        }
    }
}

impl FittedColumns {
    /// Creates the columns, and assigns each feature its index in a row.
    pub(super) fn new(missing: Missing, features: Vec<(String, Kind)>, target: Target) -> Self {
        let features = features.into_iter();
        let mut features: Vec<Feature> = features
            .map(|(name, kind)| Feature {
                name,
                kind,
                first: 0,
            })
            .collect();
        let mut place = 0;
        for feature in features.iter_mut().filter(|feature| !feature.is_index()) {
            feature.first = place;
            place += feature.width();
        }
        let plain = place;
        for feature in features.iter_mut().filter(|feature| feature.is_index()) {
            feature.first = place;
            place += 1;
        }
        let classes = match &target {
            Target::Classes { classes, .. } => Categories::new(classes.clone()),
            _ => Categories::new(Vec::new()),
        };
        Self {
            inner: Arc::new(Inner {
                missing,
                features,
                target,
                classes,
                plain,
                width: place,
            }),
        }
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// Features per row.
    #[must_use]
    pub fn features(&self) -> usize {
        self.inner.width
    }

    /// Plain features per row: all features except the category indices. The plain features come first in a row.
    #[must_use]
    pub fn plain(&self) -> usize {
        self.inner.plain
    }

    /// Describes the category indices, which come last in a row. Each item has the name of the column, the number of
    /// different indices, and the vector length that the column's [`Embedding`](crate::ops::Embedding) should have.
    pub fn indices(&self) -> impl Iterator<Item = (&str, usize, usize)> {
        let features = self.inner.features.iter();
        features.filter_map(|feature| match &feature.kind {
            Kind::Index { known, width } => {
                let count = known.len() + usize::from(known.has_others);
                Some((feature.name.as_str(), count, *width))
            }
            _ => None,
        })
    }

    /// Number of network outputs per row.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.target().outputs()
    }

    /// The target of the network.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.inner.target
    }

    /// The name of each feature of a row, such as `area`, `age is missing` or `town = Berlin`. A category index has the
    /// name of its column.
    #[must_use]
    pub fn feature_names(&self) -> Vec<String> {
        let features = || self.inner.features.iter();
        let plain = features().filter(|feature| !feature.is_index());
        let indices = features().filter(|feature| feature.is_index());
        plain.chain(indices).flat_map(Feature::names).collect()
    }

    /// Converts rows to a table of features and targets, for training or evaluation.
    ///
    /// # Errors
    /// [`RowsError::NoColumn`](super::super::RowsError::NoColumn) when the header lacks a column,
    /// [`ColumnsError::Cell`] when a field is not valid for its column (with the row's number), and
    /// [`ColumnsError::Memory`] when there is not enough memory for the table.
    pub fn table(&self, records: &Records) -> Result<Table, DataError> {
        let target = RowEncoder::of_target(self, records)?;
        let encoder = self.row(records.name(), records.header())?;
        self.check_memory(records, self.features() + target.width())?;
        let mut features = vec![0.0; records.len() * self.features()];
        let mut values = vec![0.0; records.len() * target.width()];
        let rows = features.chunks_exact_mut(self.features());
        for ((row, to), target_to) in (0..).zip(rows).zip(values.chunks_exact_mut(target.width())) {
            let number = records.number(row);
            encoder.encode(records.row(row), number, to)?;
            target.encode(records.row(row), number, target_to)?;
        }
        let targets = match self.target() {
            Target::Classes { classes, .. } => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "an f32 has all indices of classes"
                )]
                let indices = values.into_iter().map(|class| class as u32).collect();
                Targets::Classes(Labels::from_classes(indices, classes.len())?)
            }
            _ => Targets::Values {
                outputs: target.width(),
                values,
            },
        };
        let name = records.name_of_table();
        Ok(Table::of_finite(name, self.features(), features, targets))
    }

    /// Converts rows to an array of features of shape (rows, features), for prediction. The records need no target
    /// columns. They may have additional columns, and their columns may be in any order.
    ///
    /// # Errors
    /// The errors of [`table`](Self::table).
    pub fn features_of(&self, records: &Records) -> Result<Array2<f32>, DataError> {
        let encoder = self.row(records.name(), records.header())?;
        self.check_memory(records, self.features())?;
        let mut features = Array2::zeros((records.len(), self.features()));
        for (row, mut to) in features.outer_iter_mut().enumerate() {
            if let Some(to) = to.as_slice_mut() {
                encoder.encode(records.row(row), records.number(row), to)?;
            }
        }
        Ok(features)
    }

    /// Creates an encoder that converts one row at a time to features. The fields of a row are in the order of
    /// `header`. Error messages call the data `name`.
    ///
    /// ```
    /// use wgrad::data::{Columns, Records, RowNumber};
    ///
    /// let houses = Records::new("houses", ["area", "price"], [["90", "400"], ["60", "300"]])?;
    /// let columns = Columns::new().number("area").value("price").fit(&houses)?;
    /// let encoder = columns.row("asked", &["town", "area"])?;
    /// let mut features = [0.0; 1];
    /// encoder.encode(["Bonn", "75"], RowNumber::Row(0), &mut features)?;
    /// assert_eq!(features, [0.0]);
    /// # Ok::<(), wgrad::data::DataError>(())
    /// ```
    ///
    /// # Errors
    /// [`RowsError::NoColumn`](super::super::RowsError::NoColumn) when the header lacks a feature column.
    pub fn row(
        &self,
        name: impl Into<String>,
        header: &[impl AsRef<str>],
    ) -> Result<RowEncoder, DataError> {
        RowEncoder::of_features(self, name.into(), header)
    }

    /// Converts network outputs of shape (rows, outputs) to values in the units of the target columns.
    ///
    /// # Errors
    /// [`ColumnsError::Width`] when there are more or fewer outputs than values, and [`ColumnsError::NoValues`] when
    /// the target is classes or labels.
    pub fn values(&self, outputs: ArrayView2<'_, f32>) -> Result<Array2<f32>, DataError> {
        let scales = self.scales_of_values()?;
        super::numbers::check_width("outputs of a network", scales.len(), outputs.ncols())?;
        Ok(super::numbers::mapped(outputs, &scales, Scale::unscaled))
    }

    /// Returns the scales of the target values. Fails if the target is classes or labels.
    pub(super) fn scales_of_values(&self) -> Result<Vec<Scale>, ColumnsError> {
        let found = match self.target() {
            Target::Values {
                means, deviations, ..
            } => {
                let scales = means.iter().zip(deviations);
                let scale = |(&mean, &deviation)| Scale { mean, deviation };
                return Ok(scales.map(scale).collect());
            }
            Target::Classes { .. } => "classes",
            Target::Labels { .. } => "labels",
        };
        Err(ColumnsError::NoValues { found })
    }

    fn check_memory(&self, records: &Records, width: usize) -> Result<(), DataError> {
        let row = (width * size_of::<f32>()) as u64;
        let needed = row.saturating_mul(records.len() as u64);
        match memory::check(String::new, needed) {
            Err(Error::Memory {
                available, limit, ..
            }) => Err(ColumnsError::Memory {
                name: records.name_of_table(),
                rows: records.len(),
                width: self.features(),
                needed,
                available,
                limit,
                widest: self.widest(),
            }
            .into()),
            _ => Ok(()),
        }
    }

    /// The one-hot column with the most features.
    fn widest(&self) -> Option<(String, usize)> {
        let features = self.inner.features.iter();
        let one_hot = features.filter(|feature| matches!(feature.kind, Kind::OneHot(_)));
        let widest = one_hot.max_by_key(|feature| feature.width())?;
        Some((widest.name.clone(), widest.width()))
    }
}

impl Feature {
    fn is_index(&self) -> bool {
        matches!(self.kind, Kind::Index { .. })
    }

    /// Number of features that the column has in a row.
    fn width(&self) -> usize {
        match &self.kind {
            Kind::Number { blank, .. } => 1 + usize::from(blank.has_flag()),
            Kind::OneHot(known) => known.len(),
            Kind::Index { .. } => 1,
        }
    }

    fn names(&self) -> Vec<String> {
        let name = self.name.clone();
        match &self.kind {
            Kind::Number { blank, .. } if blank.has_flag() => {
                let flag = is_missing(&name);
                vec![name, flag]
            }
            Kind::OneHot(known) => known.feature_names(&name).collect(),
            _ => vec![name],
        }
    }
}

impl Blank {
    fn has_flag(self) -> bool {
        self == Self::Mean { has_flag: true }
    }
}
