use std::collections::HashMap;

use super::super::sampling::saturated;
use super::super::{CellFault, CellKind};
use super::missing::{Missing, missing};

/// Most categories of a column: an `f32` has all integers up to it, as the index of an `Embedding` needs.
pub(super) const MOST: usize = 1 << 24;

/// The categories of a column, which are numbered from 0 in their order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Categories {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Categories {
    /// Names without repetitions, in this order.
    pub(super) fn new(names: Vec<String>) -> Self {
        let numbered = names.iter().zip(0..);
        Self {
            numbers: numbered
                .map(|(name, number)| (name.clone(), number))
                .collect(),
            names,
        }
    }

    /// In the order of their numbers, or else of their letters.
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

    /// An error about a category that is none of these.
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

/// Categories of a feature, with what is none of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known {
    pub(super) categories: Categories,
    pub(super) has_others: bool,
    pub(super) blanks: Blanks,
}

/// What a blank among categories is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blanks {
    Refused,
    /// The last category.
    Category,
    /// A category that the part to train on does not have.
    Unknown,
}

impl Known {
    /// Categories, with a blank where it is one.
    pub(super) fn len(&self) -> usize {
        self.categories.len() + usize::from(self.blanks == Blanks::Category)
    }

    /// The number of the category in a field without blanks around it; none where it is among the others.
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

    /// Names of the categories of a column, as features.
    pub(super) fn feature_names(&self, column: &str) -> impl Iterator<Item = String> {
        let names = self.categories.names().iter();
        let blank = (self.blanks == Blanks::Category).then(|| is_missing(column));
        names
            .map(move |name| format!("{column} = {name}"))
            .chain(blank)
    }
}

/// Name of the feature that says that a column is blank.
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
