//! Checks that the columns fit together, before any rows are read.

use std::collections::HashSet;

use super::super::ColumnsError;
use super::{Blank, Columns, Feature, Kind, fitted};

/// The kind that all targets have.
#[derive(Debug, Clone, Copy)]
pub(super) enum TargetKind<'a> {
    Values,
    /// A class. The field is the name of its column.
    Class(&'a str),
    Labels,
}

impl Columns {
    /// Checks the columns and returns the kind of the targets.
    pub(super) fn check(&self) -> Result<TargetKind<'_>, ColumnsError> {
        let features = self.features.iter().map(Feature::name);
        let targets = self.targets.iter().map(|(_, name)| name.as_str());
        let mut seen = HashSet::new();
        for column in features.chain(targets) {
            if column.trim().is_empty() {
                return Err(ColumnsError::Unnamed);
            }
            if !seen.insert(column.trim()) {
                return Err(ColumnsError::UsedTwice {
                    column: column.to_owned(),
                });
            }
        }
        if self.features.is_empty() {
            return Err(ColumnsError::NoFeatures);
        }
        for feature in &self.features {
            feature.check()?;
        }
        self.target_kind()
    }

    fn target_kind(&self) -> Result<TargetKind<'_>, ColumnsError> {
        let [(kind, first), others @ ..] = self.targets.as_slice() else {
            return Err(ColumnsError::NoTarget);
        };
        let differs = |(other, _): &&(Kind, String)| other != kind || *kind == Kind::Class;
        if let Some((other, second)) = others.iter().find(differs) {
            return Err(ColumnsError::Targets {
                first: first.clone(),
                second: second.clone(),
                found: format!("{} and {}", kind.one(), other.one()),
            });
        }
        Ok(match kind {
            Kind::Value => TargetKind::Values,
            Kind::Class => TargetKind::Class(first),
            Kind::Label => TargetKind::Labels,
        })
    }
}

impl Kind {
    fn one(self) -> &'static str {
        match self {
            Self::Value => "a value",
            Self::Class => "a class",
            Self::Label => "a label",
        }
    }
}

impl Feature {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Number(number) => &number.name,
            Self::OneHot(category) | Self::Index(category) => &category.name,
        }
    }

    fn check(&self) -> Result<(), ColumnsError> {
        let (expected, found) = match self {
            Self::Number(number) => match number.blank {
                Blank::Value(value) if !value.is_finite() => (
                    "a finite number in place of a blank, as set with `Number::missing_as`",
                    value.to_string(),
                ),
                _ => return Ok(()),
            },
            Self::OneHot(category) => match category.width {
                Some(width) => (
                    "no `Category::width`, because each one-hot category is one feature (only `Columns::index` has a width)",
                    width.to_string(),
                ),
                None => return Ok(()),
            },
            Self::Index(category) => match category.width {
                Some(width) if !fitted::WIDTHS.contains(&width) => (
                    "a `Category::width` from 1 to 65,536: how many numbers represent a category",
                    width.to_string(),
                ),
                _ => return Ok(()),
            },
        };
        Err(ColumnsError::Setting {
            column: self.name().to_owned(),
            expected,
            found,
        })
    }
}
