use super::super::{ColumnsError, DataError, Records};
use super::check::TargetKind;
use super::fitted::{self, FittedColumns, Target};
use super::learn::{Answers, Column, Learn, Names, Numbers};
use super::missing::Missing;
use super::scale::Scale;
use super::{Category, Columns, Feature, cell};

/// What [`fit`] learns from the column of a feature.
enum Learned<'a> {
    Number(Numbers<'a>),
    OneHot(Names<'a>, &'a Category),
    Index(Names<'a>, &'a Category),
}

/// What [`fit`] learns from the target columns.
enum LearnedTarget<'a> {
    Values(Vec<Numbers<'a>>),
    Class(Names<'a>),
    Labels(Vec<Answers<'a>>),
}

pub(super) fn fit(columns: &Columns, train: &Records) -> Result<FittedColumns, DataError> {
    let kind = columns.check()?;
    let words = Missing::new(&columns.missing);
    let features = columns.features.iter();
    let features = features.map(|feature| Learned::new(feature, train));
    let mut features = features.collect::<Result<Vec<_>, _>>()?;
    let mut target = LearnedTarget::new(kind, columns, train)?;
    for row in 0..train.len() {
        for feature in &mut features {
            add(feature.learn(), train, row, &words)?;
        }
        target.add(train, row, &words)?;
    }
    let features = features.iter().map(Learned::feature);
    let features = features.collect::<Result<_, ColumnsError>>()?;
    Ok(FittedColumns::new(words, features, target.target()?))
}

fn add<'a>(
    to: &mut dyn Learn<'a>,
    train: &'a Records,
    row: usize,
    words: &Missing,
) -> Result<(), DataError> {
    let column = to.column();
    let added = to.add(train.field(row, column.place).trim(), words);
    added.map_err(|fault| cell(train.name(), train.number(row), column.name, fault))
}

impl<'a> Learned<'a> {
    fn new(feature: &'a Feature, train: &'a Records) -> Result<Self, DataError> {
        let column = Column::of(train, feature.name())?;
        Ok(match feature {
            Feature::Number(number) => Self::Number(Numbers::new(column, Some(number))),
            Feature::OneHot(category) => Self::OneHot(Names::new(column, Some(category)), category),
            Feature::Index(category) => Self::Index(Names::new(column, Some(category)), category),
        })
    }

    fn learn(&mut self) -> &mut dyn Learn<'a> {
        match self {
            Self::Number(numbers) => numbers,
            Self::OneHot(names, _) | Self::Index(names, _) => names,
        }
    }

    fn feature(&self) -> Result<(String, fitted::Kind), ColumnsError> {
        Ok(match self {
            Self::Number(numbers) => (numbers.column().name.to_owned(), numbers.feature()?),
            Self::OneHot(names, category) => {
                let known = names.known(category)?;
                (category.name.clone(), fitted::Kind::OneHot(known))
            }
            Self::Index(names, category) => {
                let known = names.known(category)?;
                let usual = known.len().div_ceil(2).min(50);
                let width = category.width.unwrap_or(usual);
                (category.name.clone(), fitted::Kind::Index { known, width })
            }
        })
    }
}

impl<'a> LearnedTarget<'a> {
    fn new(
        kind: TargetKind<'a>,
        columns: &'a Columns,
        train: &'a Records,
    ) -> Result<Self, DataError> {
        let all = columns.targets.iter();
        let all = all.map(|(_, name)| Column::of(train, name));
        Ok(match kind {
            TargetKind::Values => {
                let values = all.map(|column| Ok(Numbers::new(column?, None)));
                Self::Values(values.collect::<Result<_, DataError>>()?)
            }
            TargetKind::Class(column) => Self::Class(Names::new(Column::of(train, column)?, None)),
            TargetKind::Labels => {
                let labels = all.map(|column| Ok(Answers::new(column?)));
                Self::Labels(labels.collect::<Result<_, DataError>>()?)
            }
        })
    }

    fn add(&mut self, train: &'a Records, row: usize, words: &Missing) -> Result<(), DataError> {
        match self {
            Self::Values(values) => {
                let mut values = values.iter_mut();
                values.try_for_each(|value| add(value, train, row, words))
            }
            Self::Class(names) => add(names, train, row, words),
            Self::Labels(labels) => {
                let mut labels = labels.iter_mut();
                labels.try_for_each(|label| add(label, train, row, words))
            }
        }
    }

    fn target(&self) -> Result<Target, ColumnsError> {
        match self {
            Self::Values(values) => {
                let scales = values.iter().map(Numbers::scale);
                let scales = scales.collect::<Result<Vec<Scale>, _>>()?;
                Ok(Target::of_values(names(values), &scales))
            }
            Self::Class(class) => Ok(Target::Classes {
                name: class.column().name.to_owned(),
                classes: class.categories(1)?.names().to_vec(),
            }),
            Self::Labels(labels) => {
                labels.iter().try_for_each(Answers::check)?;
                Ok(Target::Labels {
                    names: names(labels),
                })
            }
        }
    }
}

fn names<'a>(columns: &[impl Learn<'a>]) -> Vec<String> {
    let names = columns.iter().map(|column| column.column().name.to_owned());
    names.collect()
}
