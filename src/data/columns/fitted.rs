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

/// Numbers that may stand for a category.
pub(super) const WIDTHS: std::ops::RangeInclusive<usize> = 1..=65_536;

/// [`Columns`](super::Columns) with the means, deviations and categories of the part to train on: they make numbers
/// of any rows with such columns, and units of what a network gives.
///
/// A row is first its plain features: numbers, each with a 1 where it is missing if it has that feature, and one-hot
/// categories, in the order of the columns. Then comes an index for each column of [`index`](super::Columns::index).
///
/// Cloning is cheap: clones share what they know.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedColumns {
    inner: Arc<Inner>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Inner {
    pub(super) missing: Missing,
    pub(super) features: Vec<Feature>,
    pub(super) target: Target,
    /// The classes of the target; none where it has no classes.
    pub(super) classes: Categories,
    pub(super) plain: usize,
    pub(super) width: usize,
}

/// A column with features, and the place of the first one in a row.
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

/// What is predicted of a row.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Target {
    /// Values, scaled to mean 0 and deviation 1 over the part to train on: an output each.
    Values {
        /// Names of their columns.
        names: Vec<String>,
        /// The mean of each, in its unit.
        means: Vec<f64>,
        /// The standard deviation of each, in its unit.
        deviations: Vec<f64>,
    },
    /// A class: an output for each.
    Classes {
        /// Name of the column.
        name: String,
        /// The classes, in the order of the outputs.
        classes: Vec<String>,
    },
    /// Yes or no, as 1 or 0: an output each.
    Labels {
        /// Names of their columns.
        names: Vec<String>,
    },
}

impl Target {
    /// What a network should give for each row: so many values, or a logit for every class or label.
    #[must_use]
    pub fn outputs(&self) -> usize {
        match self {
            Self::Values { names, .. } | Self::Labels { names } => names.len(),
            Self::Classes { classes, .. } => classes.len(),
        }
    }

    pub(super) fn of_values(names: Vec<String>, scales: &[Scale]) -> Self {
        Self::Values {
            names,
            means: scales.iter().map(|scale| scale.mean).collect(),
            deviations: scales.iter().map(|scale| scale.deviation).collect(),
        }
    }

    /// Names of its columns.
    pub(super) fn columns(&self) -> &[String] {
        match self {
            Self::Values { names, .. } | Self::Labels { names } => names,
            Self::Classes { name, .. } => std::slice::from_ref(name),
        }
    }
}

impl FittedColumns {
    /// Gives the features their places.
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

    /// Features of a row.
    #[must_use]
    pub fn features(&self) -> usize {
        self.inner.width
    }

    /// Features of a row that are numbers as they are, which come first: all but the indices.
    #[must_use]
    pub fn plain(&self) -> usize {
        self.inner.plain
    }

    /// The indices of a row, which come last: of each the name of its column, how many indices there are, and how many
    /// numbers an [`Embedding`](crate::ops::Embedding) should have for each.
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

    /// What a network should give for each row.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.target().outputs()
    }

    /// What is predicted.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.inner.target
    }

    /// What each feature of a row says, such as `area`, `age is missing` or `town = Berlin`; an index has the name of
    /// its column.
    #[must_use]
    pub fn feature_names(&self) -> Vec<String> {
        let features = || self.inner.features.iter();
        let plain = features().filter(|feature| !feature.is_index());
        let indices = features().filter(|feature| feature.is_index());
        plain.chain(indices).flat_map(Feature::names).collect()
    }

    /// Rows as a network sees them, with what it should predict, for trainings and evaluations.
    ///
    /// # Errors
    /// [`RowsError::NoColumn`](super::super::RowsError::NoColumn) when the header lacks a column,
    /// [`ColumnsError::Cell`] when a field is not what its column needs, with its line, and [`ColumnsError::Memory`]
    /// when there is no room for the table.
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

    /// Rows as a network sees them, to be predicted: (rows, features). They need no target, and may have further
    /// columns, in any order.
    ///
    /// # Errors
    /// As [`table`](Self::table).
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

    /// What makes features of one row at a time, of fields in the order of this header; `name` stands for the rows in
    /// messages.
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
    /// [`RowsError::NoColumn`](super::super::RowsError::NoColumn) when the header lacks a column of a feature.
    pub fn row(
        &self,
        name: impl Into<String>,
        header: &[impl AsRef<str>],
    ) -> Result<RowEncoder, DataError> {
        RowEncoder::of_features(self, name.into(), header)
    }

    /// Values in their units, of outputs (rows, outputs) of a network.
    ///
    /// # Errors
    /// [`ColumnsError::Width`] when there are more or fewer outputs, and [`ColumnsError::NoValues`] when classes or
    /// labels are predicted.
    pub fn values(&self, outputs: ArrayView2<'_, f32>) -> Result<Array2<f32>, DataError> {
        let scales = self.scales_of_values()?;
        super::numbers::check_width("outputs of a network", scales.len(), outputs.ncols())?;
        Ok(super::numbers::mapped(outputs, &scales, Scale::unscaled))
    }

    /// How values are scaled, where values are predicted.
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

    /// Features that the column has.
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
