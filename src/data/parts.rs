//! Selects rows and splits rows into parts, for any kind of data set.

mod copies;

use std::ops::Range;

use super::sampling::{permute, saturated};
use super::{DataError, Labels, RowsError};
use crate::memory;
use crate::random::split_key;

/// The name and the number of rows of a data set from which rows are selected.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) name: &'a str,
    pub(super) len: usize,
}

impl Rows<'_> {
    /// The name of a part of this data set that has `rows` rows.
    pub(super) fn name_of_part(&self, rows: usize) -> String {
        format!("{}, {rows} of {} rows", self.name, self.len)
    }

    /// Checks that there is at least one index, that all indices are in range, and that there is enough memory for
    /// `row_bytes` bytes per row.
    pub(super) fn check(&self, indices: &[usize], row_bytes: usize) -> Result<(), DataError> {
        if indices.is_empty() {
            return Err(self.none_chosen().into());
        }
        match indices.iter().find(|&&index| index >= self.len) {
            Some(&index) => Err(RowsError::Index {
                name: self.name.to_owned(),
                index,
                rows: self.len,
            }
            .into()),
            None => self.check_memory(indices.len(), row_bytes),
        }
    }

    /// Checks that there is enough memory for `rows` rows of `row_bytes` bytes each.
    fn check_memory(&self, rows: usize, row_bytes: usize) -> Result<(), DataError> {
        let needed = (rows as u64).saturating_mul(row_bytes as u64);
        memory::check(String::new, needed).map_err(|_| DataError::TooLarge {
            name: self.name_of_part(rows),
            examples: rows,
        })
    }

    /// Returns the row indices of a range, after checking the range.
    pub(super) fn cut(&self, range: Range<usize>) -> Result<Vec<usize>, DataError> {
        if range.is_empty() {
            return Err(self.none_chosen().into());
        }
        if range.end > self.len {
            Err(RowsError::Index {
                name: self.name.to_owned(),
                index: range.end - 1,
                rows: self.len,
            }
            .into())
        } else {
            Ok(range.collect())
        }
    }

    /// Shuffles all rows by the seed and splits them. The first part gets the fraction `share` of the rows.
    pub(super) fn split(&self, share: f64, seed: u64) -> Result<[Vec<usize>; 2], DataError> {
        let first = self.first_of(self.len, share)?;
        self.check_parts(share, first)?;
        let mut order = self.shuffled(seed);
        let parts = [order.by_ref().take(first).collect(), order.collect()];
        Ok(parts)
    }

    /// Splits each group like [`split`](Self::split). `group_of` holds the group index of each row. If a group has two
    /// or more rows, both parts get at least one of them.
    pub(super) fn split_by(
        &self,
        group_of: &[u32],
        share: f64,
        seed: u64,
    ) -> Result<[Vec<usize>; 2], DataError> {
        let mut left = Vec::new();
        for size in sizes(group_of) {
            let first = self.first_of(size, share)?;
            left.push(first.clamp(size.min(1), size.saturating_sub(1).max(1)));
        }
        self.check_parts(share, left.iter().sum())?;
        let mut parts = [Vec::new(), Vec::new()];
        for row in self.shuffled(seed) {
            let left = &mut left[group_of[row] as usize];
            let is_second = usize::from(*left == 0);
            *left = left.saturating_sub(1);
            parts[is_second].push(row);
        }
        Ok(parts)
    }

    /// Returns the indices of `count` rows of each class. The classes alternate. If a class has fewer than `count`
    /// rows, its rows repeat.
    pub(super) fn of_each(
        &self,
        labels: &Labels,
        count: usize,
        seed: u64,
    ) -> Result<Vec<usize>, DataError> {
        if count == 0 {
            return Err(self.none_chosen().into());
        }
        let classes = labels.classes();
        self.check_memory(count.saturating_mul(classes), size_of::<usize>())?;
        let mut rows_of = vec![Vec::new(); classes];
        for row in self.shuffled(seed) {
            rows_of[labels.indices()[row] as usize].push(row);
        }
        if let Some(class) = rows_of.iter().position(Vec::is_empty) {
            return Err(RowsError::EmptyClass {
                name: self.name.to_owned(),
                class,
                classes,
            }
            .into());
        }
        let turn = |turn: usize| rows_of.iter().map(move |rows| rows[turn % rows.len()]);
        Ok((0..count).flat_map(turn).collect())
    }

    fn none_chosen(&self) -> RowsError {
        RowsError::NoneChosen {
            name: self.name.to_owned(),
            rows: self.len,
        }
    }

    /// Returns `share * rows`, rounded, after checking that `share` is between 0 and 1.
    fn first_of(&self, rows: usize, share: f64) -> Result<usize, RowsError> {
        match share > 0.0 && share < 1.0 {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and a count"
            )]
            true => Ok((share * rows as f64).round() as usize),
            false => Err(RowsError::Share {
                name: self.name.to_owned(),
                found: share,
            }),
        }
    }

    /// Checks that both parts have rows.
    fn check_parts(&self, share: f64, first: usize) -> Result<(), RowsError> {
        if first == 0 || first == self.len {
            Err(RowsError::EmptyPart {
                name: self.name.to_owned(),
                share,
                rows: self.len,
                first,
            })
        } else {
            Ok(())
        }
    }

    fn shuffled(&self, seed: u64) -> impl Iterator<Item = usize> + use<> {
        let key = split_key(seed);
        let rows = saturated(self.len);
        (0..rows).map(move |position| permute(key, rows, 0, position) as usize)
    }
}

/// Number of rows per group.
fn sizes(group_of: &[u32]) -> Vec<usize> {
    let groups = group_of.iter().max().map_or(0, |&last| last as usize + 1);
    let mut sizes = vec![0; groups];
    for &group in group_of {
        sizes[group as usize] += 1;
    }
    sizes
}
