use std::collections::HashMap;

use super::super::sampling::saturated;
use super::super::{CellFault, CellKind};
use super::missing::{Missing, missing};

/// The most categories per column. An `Embedding` takes indices as `f32`, which represents all integers up to this one.
pub(super) const MOST: usize = 1 << 24;

/// The categories of a column, in order. They are numbered from 0.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Categories {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Categories {
    /// Creates categories from distinct names, in this order.
    pub(super) fn new(names: Vec<String>) -> Self {
        let numbered = names.iter().zip(0..);
        Self {
            numbers: numbered
                .map(|(name, number)| (name.clone(), number))
                .collect(),
            names,
        }
    }

    /// Creates categories that are sorted by number if all names are numbers, and otherwise by name.
    pub(super) fn sorted(mut names: Vec<&str>) -> Self {
        let numbers: Option<Vec<f64>> = names.iter().map(|name| name.parse().ok()).collect();
        names.sort_unstable();
        if numbers.is_some() {
            let number = |name: &str| name.parse::<f64>().unwrap_or(f64::NAN);
            names.sort_by(|one, other| number(one).total_cmp(&number(other)));
        }
        Self::new(names.into_iter().map(str::to_owned).collect())
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn number(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).map(|&number| number as usize)
    }

    /// Creates the error for an unknown category.
    pub(super) fn unknown(&self, found: &str, is_target: bool) -> CellFault {
        const MOST_LISTED: usize = 10;
        CellFault::Unknown {
            found: found.to_owned(),
            known: self.names.iter().take(MOST_LISTED).cloned().collect(),
            of: saturated(self.len()),
            is_target,
        }
    }
}

/// The categories of a feature, and how to treat blanks and unknown categories.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known {
    pub(super) categories: Categories,
    pub(super) has_others: bool,
    pub(super) blanks: Blanks,
}

/// How to treat a blank in a column of categories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blanks {
    Refused,
    /// A blank is the last category.
    Category,
    /// A blank is an unknown category.
    Unknown,
}

impl Known {
    /// Number of categories, including the category of blanks if there is one.
    pub(super) fn len(&self) -> usize {
        self.categories.len() + usize::from(self.blanks == Blanks::Category)
    }

    /// Returns the number of the category in a field, given without surrounding white space. `None` for an unknown
    /// category.
    pub(super) fn number(&self, field: &str, words: &Missing) -> Result<Option<usize>, CellFault> {
        if words.is(field) {
            return match self.blanks {
                Blanks::Refused => Err(missing(field, CellKind::Category)),
                Blanks::Category => Ok(Some(self.categories.len())),
                Blanks::Unknown => self.unknown(field),
            };
        }
        match self.categories.number(field) {
            None => self.unknown(field),
            number => Ok(number),
        }
    }

    fn unknown(&self, field: &str) -> Result<Option<usize>, CellFault> {
        if self.has_others {
            Ok(None)
        } else {
            Err(self.categories.unknown(field, false))
        }
    }

    /// Names of the features, one per category of a column.
    pub(super) fn feature_names(&self, column: &str) -> impl Iterator<Item = String> {
        let names = self.categories.names().iter();
        let blank = (self.blanks == Blanks::Category).then(|| is_missing(column));
        names
            .map(move |name| format!("{column} = {name}"))
            .chain(blank)
    }
}

/// The name of the feature that is 1 for a blank in this column.
pub(super) fn is_missing(column: &str) -> String {
    format!("{column} is missing")
}

#[cfg(test)]
mod tests {
    use super::Categories;

    #[test]
    fn categories_are_in_the_order_of_numbers_or_letters() {
        let names = |names: &[&str]| Categories::sorted(names.to_vec()).names().join(" ");
        assert_eq!(names(&["10", "9", "-1", "1.5"]), "-1 1.5 9 10");
        assert_eq!(names(&["1.0", "1", "0"]), "0 1 1.0");
        assert_eq!(names(&["b10", "b9", "a", "B"]), "B a b10 b9");
        assert_eq!(Categories::sorted(vec!["b", "a"]).number("b"), Some(1));
    }
}
