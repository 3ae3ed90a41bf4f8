use super::super::records::place_in;
use super::super::{CellFault, CellKind, DataError, Records, RowNumber, RowsError};
use super::fitted::{FittedColumns, Kind, Target};
use super::missing::missing;
use super::scale::Scale;
use super::{Blank, cell};

/// Converts one row at a time from text fields to features. [`FittedColumns::row`] creates the encoder, and fixes the
/// order of the fields.
#[derive(Debug, Clone)]
pub struct RowEncoder {
    columns: FittedColumns,
    name: String,
    /// The use of each field of a row; `None` for fields that are ignored.
    uses: Vec<Option<Use>>,
    width: usize,
}

/// The use of a field: as the feature column or target column with this index.
#[derive(Debug, Clone, Copy)]
enum Use {
    Feature(usize),
    Target(usize),
}

impl RowEncoder {
    pub(super) fn of_features(
        columns: &FittedColumns,
        name: String,
        header: &[impl AsRef<str>],
    ) -> Result<Self, DataError> {
        let mut uses = vec![None; header.len()];
        for (at, feature) in columns.inner().features.iter().enumerate() {
            uses[place_in(&name, header, &feature.name)?] = Some(Use::Feature(at));
        }
        Ok(Self {
            columns: columns.clone(),
            name,
            uses,
            width: columns.features(),
        })
    }

    /// Creates an encoder of targets. It writes scaled values, the index of a class, or 1 or 0 for each label.
    pub(super) fn of_target(columns: &FittedColumns, of: &Records) -> Result<Self, DataError> {
        let mut uses = vec![None; of.header().len()];
        let names = columns.target().columns();
        for (at, column) in names.iter().enumerate() {
            uses[of.place_of(column)?] = Some(Use::Target(at));
        }
        Ok(Self {
            columns: columns.clone(),
            name: of.name().to_owned(),
            uses,
            width: names.len(),
        })
    }

    /// Number of elements per encoded row.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Writes the features of a row to `to`, without allocating memory.
    ///
    /// The `fields` must be in the order of the header. Error messages show the number `row`. The slice `to` must have
    /// [`FittedColumns::features`] elements.
    ///
    /// # Errors
    /// [`ColumnsError::Cell`](super::super::ColumnsError::Cell) when a field is not valid for its column,
    /// [`RowsError::Fields`] when the row has more or fewer fields than the header, and
    /// [`ColumnsError::Width`](super::super::ColumnsError::Width) when `to` has the wrong length.
    pub fn encode<'a>(
        &self,
        fields: impl IntoIterator<Item = &'a str>,
        row: RowNumber,
        to: &mut [f32],
    ) -> Result<(), DataError> {
        super::numbers::check_width("slice for the features of a row", self.width, to.len())?;
        to.fill(0.0);
        let mut found = 0;
        for field in fields {
            if let Some(Some(place)) = self.uses.get(found) {
                let field = field.trim();
                let encoded = match *place {
                    Use::Feature(at) => self.feature(at, field, to),
                    Use::Target(at) => self.target(at, field).map(|target| to[at] = target),
                };
                encoded.map_err(|fault| cell(&self.name, row, self.column(*place), fault))?;
            }
            found += 1;
        }
        if found == self.uses.len() {
            Ok(())
        } else {
            Err(RowsError::Fields {
                name: self.name.clone(),
                row,
                expected: self.uses.len(),
                found,
            }
            .into())
        }
    }

    fn column(&self, of: Use) -> &str {
        match of {
            Use::Feature(at) => &self.columns.inner().features[at].name,
            Use::Target(at) => &self.columns.target().columns()[at],
        }
    }

    fn feature(&self, at: usize, field: &str, to: &mut [f32]) -> Result<(), CellFault> {
        let inner = self.columns.inner();
        let feature = &inner.features[at];
        let to = &mut to[feature.first..];
        match &feature.kind {
            Kind::Number { scale, blank } => match (inner.missing.number(field)?, *blank) {
                (Some(number), _) => to[0] = scale.scaled_field(number, field)?,
                (None, Blank::Value(number)) => to[0] = scale.scaled_field(number, field)?,
                (None, Blank::Mean { has_flag: true }) => to[1] = 1.0,
                (None, Blank::Mean { has_flag: false }) => {}
                (None, Blank::Refused) => return Err(missing(field, CellKind::Number)),
            },
            Kind::OneHot(known) => {
                if let Some(category) = known.number(field, &inner.missing)? {
                    to[category] = 1.0;
                }
            }
            Kind::Index { known, .. } => {
                let category = known.number(field, &inner.missing)?;
                let first = usize::from(known.has_others);
                to[0] = category.map_or(0.0, |category| (first + category) as f32);
            }
        }
        Ok(())
    }

    fn target(&self, at: usize, field: &str) -> Result<f32, CellFault> {
        let inner = self.columns.inner();
        match &inner.target {
            Target::Values {
                means, deviations, ..
            } => {
                let number = inner.missing.number(field)?;
                let number = number.ok_or_else(|| missing(field, CellKind::Value))?;
                let scale = Scale {
                    mean: means[at],
                    deviation: deviations[at],
                };
                scale.scaled_field(number, field)
            }
            Target::Labels { .. } => inner.missing.label(field).map(|is| f32::from(u8::from(is))),
            Target::Classes { .. } => {
                if inner.missing.is(field) {
                    return Err(missing(field, CellKind::Class));
                }
                let class = inner.classes.number(field);
                let unknown = || inner.classes.unknown(field, true);
                class.map(|class| class as f32).ok_or_else(unknown)
            }
        }
    }
}
