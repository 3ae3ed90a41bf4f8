//! Learns the scale or the categories of each column, row by row.

use std::collections::HashMap;

use super::super::{CellFault, CellKind, ColumnsError, DataError, Records};
use super::categories::{self, Blanks, Categories, Known};
use super::missing::{Missing, missing};
use super::scale::{Scale, Spread};
use super::{Blank, Category, Number, fitted};

/// A column of the training part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column<'a> {
    pub(super) name: &'a str,
    /// Index of the column in the header.
    pub(super) place: usize,
    train: &'a Records,
}

impl<'a> Column<'a> {
    pub(super) fn of(train: &'a Records, name: &'a str) -> Result<Self, DataError> {
        Ok(Self {
            name,
            place: train.place_of(name)?,
            train,
        })
    }

    fn is_constant(&self, found: &str, rows: u64) -> ColumnsError {
        ColumnsError::Constant {
            name: self.train.name_of_table(),
            column: self.name.to_owned(),
            found: found.to_owned(),
            rows,
        }
    }
}

/// Learns from one column. `add` takes the field of the next row, without surrounding white space.
pub(super) trait Learn<'a> {
    fn column(&self) -> Column<'a>;
    fn add(&mut self, field: &'a str, words: &Missing) -> Result<(), CellFault>;
}

/// Learns the mean and standard deviation of a feature or target column.
#[derive(Debug)]
pub(super) struct Numbers<'a> {
    column: Column<'a>,
    /// The replacement for blanks; `None` for a target.
    blank: Option<Blank>,
    spread: Spread,
    /// The first field that contains a number.
    first: &'a str,
    has_blanks: bool,
}

impl<'a> Numbers<'a> {
    pub(super) fn new(column: Column<'a>, number: Option<&Number>) -> Self {
        Self {
            column,
            blank: number.map(|number| number.blank),
            spread: Spread::new(),
            first: "",
            has_blanks: false,
        }
    }

    pub(super) fn feature(&self) -> Result<fitted::Kind, ColumnsError> {
        let blank = match self.blank.unwrap_or(Blank::Refused) {
            Blank::Mean { .. } => Blank::Mean {
                has_flag: self.has_blanks,
            },
            other => other,
        };
        Ok(fitted::Kind::Number {
            scale: self.scale()?,
            blank,
        })
    }

    pub(super) fn scale(&self) -> Result<Scale, ColumnsError> {
        let name = self.column.train.name_of_table();
        let column = self.column.name.to_owned();
        if self.spread.count == 0 {
            return Err(ColumnsError::AllMissing { name, column });
        }
        if self.spread.is_constant() {
            return Err(self.column.is_constant(self.first, self.spread.count));
        }
        self.spread.scale().ok_or(ColumnsError::Scale {
            name,
            column,
            least: self.spread.least,
            most: self.spread.most,
        })
    }
}

impl<'a> Learn<'a> for Numbers<'a> {
    fn column(&self) -> Column<'a> {
        self.column
    }

    fn add(&mut self, field: &'a str, words: &Missing) -> Result<(), CellFault> {
        let number = match (words.number(field)?, self.blank) {
            (Some(number), _) => number,
            (None, None) => return Err(missing(field, CellKind::Value)),
            (None, Some(Blank::Refused)) => return Err(missing(field, CellKind::Number)),
            (None, Some(Blank::Value(number))) => number,
            (None, Some(Blank::Mean { .. })) => {
                self.has_blanks = true;
                return Ok(());
            }
        };
        if self.spread.count == 0 {
            self.first = field;
        }
        self.spread.add(number);
        Ok(())
    }
}

/// Learns the categories of a feature or target column.
#[derive(Debug)]
pub(super) struct Names<'a> {
    column: Column<'a>,
    /// The options of the column; `None` for a target.
    category: Option<&'a Category>,
    /// Number of rows per category.
    rows: HashMap<&'a str, u64>,
    blanks: u64,
}

impl<'a> Names<'a> {
    pub(super) fn new(column: Column<'a>, category: Option<&'a Category>) -> Self {
        Self {
            column,
            category,
            rows: HashMap::new(),
            blanks: 0,
        }
    }

    /// Returns the categories of a feature.
    pub(super) fn known(&self, category: &Category) -> Result<Known, ColumnsError> {
        let blanks = match (category.has_blanks, self.blanks) {
            (false, _) => Blanks::Refused,
            (true, 0) => Blanks::Unknown,
            (true, _) => Blanks::Category,
        };
        let known = Known {
            categories: self.categories(category.at_least)?,
            has_others: category.has_others,
            blanks,
        };
        match known.len() {
            0 => Err(ColumnsError::AllRare {
                name: self.column.train.name_of_table(),
                column: self.column.name.to_owned(),
                at_least: category.at_least,
            }),
            _ => Ok(known),
        }
    }

    pub(super) fn categories(&self, at_least: u64) -> Result<Categories, ColumnsError> {
        if self.rows.len() + usize::from(self.blanks > 0) == 1 {
            let only = self
                .rows
                .iter()
                .next()
                .map_or(("", self.blanks), |(name, rows)| (*name, *rows));
            return Err(self.column.is_constant(only.0, only.1));
        }
        let kept = self.rows.iter().filter(|(_, rows)| **rows >= at_least);
        let names: Vec<&str> = kept.map(|(name, _)| *name).collect();
        if names.len() >= categories::MOST {
            Err(ColumnsError::Categories {
                name: self.column.train.name_of_table(),
                column: self.column.name.to_owned(),
                most: categories::MOST,
                found: names.len(),
            })
        } else {
            Ok(Categories::sorted(names))
        }
    }
}

impl<'a> Learn<'a> for Names<'a> {
    fn column(&self) -> Column<'a> {
        self.column
    }

    fn add(&mut self, field: &'a str, words: &Missing) -> Result<(), CellFault> {
        if !words.is(field) {
            *self.rows.entry(field).or_default() += 1;
            return Ok(());
        }
        match self.category {
            None => Err(missing(field, CellKind::Class)),
            Some(category) if !category.has_blanks => Err(missing(field, CellKind::Category)),
            Some(_) => {
                self.blanks += 1;
                Ok(())
            }
        }
    }
}

/// Counts the yes-or-no answers of a target column.
#[derive(Debug)]
pub(super) struct Answers<'a> {
    column: Column<'a>,
    first: &'a str,
    /// Number of rows with the answer no, and number of rows with the answer yes.
    rows: [u64; 2],
}

impl<'a> Answers<'a> {
    pub(super) fn new(column: Column<'a>) -> Self {
        Self {
            column,
            first: "",
            rows: [0; 2],
        }
    }

    /// Fails unless both answers, yes and no, occur in the column.
    pub(super) fn check(&self) -> Result<(), ColumnsError> {
        match self.rows {
            [0, rows] | [rows, 0] => Err(self.column.is_constant(self.first, rows)),
            _ => Ok(()),
        }
    }
}

impl<'a> Learn<'a> for Answers<'a> {
    fn column(&self) -> Column<'a> {
        self.column
    }

    fn add(&mut self, field: &'a str, words: &Missing) -> Result<(), CellFault> {
        let is = words.label(field)?;
        if self.rows == [0; 2] {
            self.first = field;
        }
        self.rows[usize::from(is)] += 1;
        Ok(())
    }
}
