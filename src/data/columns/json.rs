//! Converts fitted columns to JSON text and back, so that a file can store them together with a network.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::super::{ColumnsError, DataError};
use super::Blank;
use super::categories::{self, Blanks, Categories, Known};
use super::fitted::{Feature, FittedColumns, Kind, Target, WIDTHS};
use super::missing::Missing;
use super::scale::Scale;

/// Version of the JSON format. A program reads only this version.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnsText {
    version: u32,
    missing: Vec<String>,
    features: Vec<FeatureText>,
    target: TargetText,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum FeatureText {
    Number {
        scale: ScaleText,
        blank: BlankText,
    },
    OneHot(CategoriesText),
    Index {
        categories: CategoriesText,
        width: usize,
    },
}

/// The numbers of a scale, as strings. Each string has the fewest digits that parse to the same number. JSON numbers
/// are avoided, because some JSON readers do not round to the nearest `f64`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScaleText {
    name: String,
    mean: String,
    deviation: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BlankText {
    Refused,
    Mean,
    /// The mean, and a second feature that is 1 for a blank.
    FlaggedMean,
    Value(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CategoriesText {
    name: String,
    categories: Vec<String>,
    others: bool,
    blanks: BlanksText,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BlanksText {
    Refused,
    Category,
    Unknown,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum TargetText {
    Values(Vec<ScaleText>),
    Classes { name: String, classes: Vec<String> },
    Labels(Vec<String>),
}

impl FittedColumns {
    /// Returns the complete fitted columns as JSON text, to store with a network. Equal columns give equal texts.
    ///
    /// ```
    /// use wgrad::data::{Columns, FittedColumns, Records};
    ///
    /// let houses = Records::new("houses", ["area", "price"], [["90", "400"], ["60", "300"]])?;
    /// let columns = Columns::new().number("area").value("price").fit(&houses)?;
    /// assert_eq!(FittedColumns::from_json(&columns.to_json())?, columns);
    /// # Ok::<(), wgrad::data::DataError>(())
    /// ```
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "texts, lists of them and counts are JSON"
    )]
    pub fn to_json(&self) -> String {
        let inner = self.inner();
        let text = ColumnsText {
            version: VERSION,
            missing: inner.missing.words().to_vec(),
            features: inner.features.iter().map(FeatureText::of).collect(),
            target: TargetText::of(&inner.target),
        };
        serde_json::to_string(&text).expect("a text of fitted columns")
    }

    /// Reads fitted columns from the JSON text that [`to_json`](Self::to_json) returns.
    ///
    /// The text may come from an untrusted source. It is checked completely, and the memory used is proportional to the
    /// length of the text.
    ///
    /// # Errors
    /// [`ColumnsError::Text`] when the text is not valid. The error says what is wrong with it.
    pub fn from_json(text: &str) -> Result<Self, DataError> {
        Self::read(text).map_err(|fault| ColumnsError::Text { fault }.into())
    }

    fn read(text: &str) -> Result<Self, String> {
        let text: ColumnsText = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if text.version != VERSION {
            return Err(format!(
                "expected columns of version {VERSION}, found version {}",
                text.version
            ));
        }
        let words = Missing::new(&text.missing);
        if words.words() != text.missing {
            return Err(
                "expected the words for a missing field sorted and different, found another list"
                    .to_owned(),
            );
        }
        let mut names = Names::default();
        let features = text.features.into_iter();
        let features = features.map(|feature| feature.read(&mut names));
        let features = features.collect::<Result<Vec<_>, String>>()?;
        let target = text.target.read(&mut names)?;
        if features.is_empty() || target.outputs() == 0 {
            return Err("expected a feature and a target, found none".to_owned());
        }
        Ok(Self::new(words, features, target))
    }
}

/// The column names that have been read. All must be different.
#[derive(Default)]
struct Names {
    seen: HashSet<String>,
}

impl Names {
    fn check(&mut self, name: &str) -> Result<(), String> {
        if name.trim().is_empty() || name.trim() != name {
            return Err(format!("expected the name of a column, found {name:?}"));
        }
        if self.seen.insert(name.to_owned()) {
            Ok(())
        } else {
            Err(format!("expected different columns, found {name:?} twice"))
        }
    }
}

impl FeatureText {
    fn of(feature: &Feature) -> Self {
        let name = &feature.name;
        match &feature.kind {
            Kind::Number { scale, blank } => Self::Number {
                scale: ScaleText::of(name, *scale),
                blank: match blank {
                    Blank::Refused => BlankText::Refused,
                    Blank::Mean { has_flag: false } => BlankText::Mean,
                    Blank::Mean { has_flag: true } => BlankText::FlaggedMean,
                    Blank::Value(value) => BlankText::Value(format!("{value:?}")),
                },
            },
            Kind::OneHot(known) => Self::OneHot(CategoriesText::of(name, known)),
            Kind::Index { known, width } => Self::Index {
                categories: CategoriesText::of(name, known),
                width: *width,
            },
        }
    }

    fn read(self, names: &mut Names) -> Result<(String, Kind), String> {
        match self {
            Self::Number { scale, blank } => {
                let (name, scale) = scale.read(names)?;
                let blank = match blank {
                    BlankText::Refused => Blank::Refused,
                    BlankText::Mean => Blank::Mean { has_flag: false },
                    BlankText::FlaggedMean => Blank::Mean { has_flag: true },
                    BlankText::Value(value) => Blank::Value(number(&value)?),
                };
                Ok((name, Kind::Number { scale, blank }))
            }
            Self::OneHot(categories) => {
                let (name, known) = categories.read(names)?;
                Ok((name, Kind::OneHot(known)))
            }
            Self::Index { categories, width } => {
                let (name, known) = categories.read(names)?;
                if WIDTHS.contains(&width) {
                    Ok((name, Kind::Index { known, width }))
                } else {
                    Err(format!(
                        "column {name:?}: expected another width than {width}"
                    ))
                }
            }
        }
    }
}

impl ScaleText {
    fn of(name: &str, scale: Scale) -> Self {
        Self {
            name: name.to_owned(),
            mean: format!("{:?}", scale.mean),
            deviation: format!("{:?}", scale.deviation),
        }
    }

    fn read(self, names: &mut Names) -> Result<(String, Scale), String> {
        names.check(&self.name)?;
        let scale = Scale {
            mean: number(&self.mean)?,
            deviation: number(&self.deviation)?,
        };
        if scale.is_sound() {
            Ok((self.name, scale))
        } else {
            Err(format!(
                "column {:?}: expected a standard deviation above 0, found {}",
                self.name, self.deviation
            ))
        }
    }
}

fn number(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| format!("expected a finite number, found {text:?}"))
}

impl CategoriesText {
    fn of(name: &str, known: &Known) -> Self {
        Self {
            name: name.to_owned(),
            categories: known.categories.names().to_vec(),
            others: known.has_others,
            blanks: match known.blanks {
                Blanks::Refused => BlanksText::Refused,
                Blanks::Category => BlanksText::Category,
                Blanks::Unknown => BlanksText::Unknown,
            },
        }
    }

    fn read(self, names: &mut Names) -> Result<(String, Known), String> {
        names.check(&self.name)?;
        let known = Known {
            categories: categories(&self.name, self.categories)?,
            has_others: self.others,
            blanks: match self.blanks {
                BlanksText::Refused => Blanks::Refused,
                BlanksText::Category => Blanks::Category,
                BlanksText::Unknown => Blanks::Unknown,
            },
        };
        match known.len() {
            0 => Err(format!(
                "column {:?}: expected a category, found none",
                self.name
            )),
            _ => Ok((self.name, known)),
        }
    }
}

/// Creates categories after checking that all names are different, and that no name is empty or has surrounding white
/// space.
fn categories(column: &str, names: Vec<String>) -> Result<Categories, String> {
    if names.len() >= categories::MOST {
        return Err(format!("column {column:?}: too many categories"));
    }
    let mut seen = HashSet::new();
    for name in &names {
        if name.is_empty() || name.trim() != name || !seen.insert(name) {
            return Err(format!(
                "column {column:?}: expected different categories, found {name:?}"
            ));
        }
    }
    Ok(Categories::new(names))
}

impl TargetText {
    fn of(target: &Target) -> Self {
        match target {
            Target::Values {
                names,
                means,
                deviations,
            } => {
                let scales = means.iter().zip(deviations);
                let scales = scales.map(|(&mean, &deviation)| Scale { mean, deviation });
                let values = names.iter().zip(scales);
                Self::Values(
                    values
                        .map(|(name, scale)| ScaleText::of(name, scale))
                        .collect(),
                )
            }
            Target::Classes { name, classes } => Self::Classes {
                name: name.clone(),
                classes: classes.clone(),
            },
            Target::Labels { names } => Self::Labels(names.clone()),
        }
    }

    fn read(self, names: &mut Names) -> Result<Target, String> {
        match self {
            Self::Values(values) => {
                let values = values.into_iter().map(|value| value.read(names));
                let values = values.collect::<Result<Vec<_>, String>>()?;
                let (names, scales): (Vec<_>, Vec<_>) = values.into_iter().unzip();
                Ok(Target::of_values(names, &scales))
            }
            Self::Classes { name, classes } => {
                names.check(&name)?;
                let classes = categories(&name, classes)?.names().to_vec();
                match classes.len() {
                    0 | 1 => Err(format!("column {name:?}: expected two classes or more")),
                    _ => Ok(Target::Classes { name, classes }),
                }
            }
            Self::Labels(labels) => {
                labels.iter().try_for_each(|name| names.check(name))?;
                Ok(Target::Labels { names: labels })
            }
        }
    }
}
