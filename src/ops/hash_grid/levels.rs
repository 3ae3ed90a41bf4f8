//! The levels of a hash grid, and the integer units of their gradients.

use super::HashGrid;
use crate::error::Error;

/// Maximum number of levels: the kernels' settings have an array of this length.
pub(super) const MOST_LEVELS: usize = 32;
/// Maximum number of cells along an axis. It must fit in 16 bits, because the kernels compute positions, in units of
/// 2⁻³¹ of a cell, as products of 16-bit words.
const MOST_CELLS: usize = (1 << 16) - 1;
/// Maximum number of elements in a table. An element's index, and twice this index, must fit in 32 bits.
const MOST_NUMBERS: usize = 1 << 30;

/// One resolution of a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    /// The level's first entry in the table.
    pub(crate) first: usize,
    /// Cells along an axis.
    pub(crate) cells: usize,
    /// Number of the level's entries.
    pub(crate) entries: usize,
    /// Whether a hash of a corner's coordinates selects its entry, so that several corners share an entry.
    pub(crate) is_hashed: bool,
}

/// All resolutions of a grid, from the coarsest to the finest.
#[derive(Debug, Clone)]
pub(crate) struct Levels {
    pub(crate) of: Vec<Level>,
    pub(crate) dimensions: usize,
    /// Features per entry.
    pub(crate) features: usize,
}

impl Levels {
    /// Computes the levels of a grid for positions with this number of coordinates.
    ///
    /// # Errors
    /// [`Error::Setting`] if a level has more cells, or the table has more elements, than the kernels' words can hold.
    pub(super) fn new(grid: &HashGrid, dimensions: usize) -> Result<Self, Error> {
        let mut of = Vec::new();
        let mut first = 0usize;
        // Repeated multiplication, because the result of a floating-point power differs between platforms.
        let mut resolution = grid.base_resolution as f64;
        for level in 0..grid.levels {
            if resolution >= (MOST_CELLS + 1) as f64 {
                let name = format!("cells along an axis of level {level} of a HashGrid");
                let expected = format!(
                    "at most {MOST_CELLS}, so that positions are exact; take fewer levels, a lower base resolution or \
                     a lower growth"
                );
                return Err(Error::setting(name, expected, resolution.floor()));
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "just found to be small, and at least 1"
            )]
            let cells = resolution as usize;
            let corners = (0..dimensions).fold(1u64, |corners, _| corners * (cells as u64 + 1));
            let is_hashed = corners > grid.table_size as u64;
            let entries = if is_hashed {
                grid.table_size
            } else {
                // `corners` is at most the table size here.
                usize::try_from(corners).unwrap_or(grid.table_size)
            };
            of.push(Level {
                first,
                cells,
                entries,
                is_hashed,
            });
            first += entries;
            resolution *= f64::from(grid.growth);
        }
        let numbers = first.saturating_mul(grid.features_per_level);
        if numbers > MOST_NUMBERS {
            let expected =
                format!("at most {MOST_NUMBERS}; take a smaller table size or fewer levels");
            return Err(Error::setting(
                "numbers in the table of a HashGrid",
                expected,
                numbers,
            ));
        }
        Ok(Self {
            of,
            dimensions,
            features: grid.features_per_level,
        })
    }

    /// Returns the number of entries of all levels.
    pub(crate) fn entries(&self) -> usize {
        self.of.iter().map(|level| level.entries).sum()
    }

    /// Returns the number of corners of a cell.
    pub(crate) fn corners(&self) -> usize {
        1 << self.dimensions
    }

    /// Returns the number of output features per row.
    pub(crate) fn columns(&self) -> usize {
        self.of.len() * self.features
    }

    /// Returns the operations per row in the forward pass: computing the weight of each corner, and multiplying by it.
    pub(super) fn flops(&self) -> u64 {
        (self.of.len() * self.corners() * (self.dimensions + 2 * self.features)) as u64
    }

    /// Returns the number of elements in the table.
    pub(crate) fn numbers(&self) -> usize {
        self.entries() * self.features
    }
}

/// Maximum number of bits in one contribution to a gradient. The kernels multiply contributions in halves of 16 bits.
const BITS: i32 = 30;

/// Returns the exponent of a level's unit: the unit is 2 to this power. `largest` is the bit pattern of the largest
/// absolute gradient of the level. The unit and its reciprocal are not subnormal.
pub(crate) fn unit(largest: u32) -> i32 {
    // The eight bits of the exponent.
    let exponent = (largest >> 23).cast_signed();
    (exponent - 126 - BITS).max(-126)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::Level;
    use crate::error::Error;
    use crate::ops::{HashGrid, Layer as _};

    #[test]
    fn levels_are_dense_while_the_table_has_room() {
        let grid = HashGrid::new().levels(4).table_size(1 << 10).growth(2.0);
        let levels = grid.base_resolution(15).levels_in(2).unwrap();
        let level = |first, cells, entries, is_hashed| Level {
            first,
            cells,
            entries,
            is_hashed,
        };
        let expected = [
            level(0, 15, 256, false),
            level(256, 30, 961, false),
            level(1217, 60, 1024, true),
            level(2241, 120, 1024, true),
        ];
        assert_eq!(levels.of, expected);
        // 32² = 1,024: the level's corners exactly fill the table.
        let exact = HashGrid::new()
            .levels(1)
            .table_size(1 << 10)
            .base_resolution(31);
        assert_eq!(exact.levels_in(2).unwrap().of, [level(0, 31, 1024, false)]);
    }

    #[test]
    fn mistakes_are_named() {
        let grid = HashGrid::new;
        for (grid, input, expected) in [
            (grid(), 1.into(), "shape of the input of a HashGrid"),
            (grid(), [2, 1].into(), "shape of the input of a HashGrid"),
            (grid().levels(0), 2.into(), "levels"),
            (grid().levels(33), 2.into(), "levels"),
            (grid().features_per_level(3), 2.into(), "features per level"),
            (grid().table_size(1000), 2.into(), "table size"),
            (grid().table_size(1), 2.into(), "table size"),
            (grid().table_size(1 << 25), 2.into(), "table size"),
            (grid().base_resolution(0), 2.into(), "base resolution"),
            (grid().base_resolution(usize::MAX), 2.into(), "of level 0"),
            (grid().growth(0.99), 2.into(), "growth"),
            (grid().growth(f32::NAN), 2.into(), "growth"),
            (grid().growth(f32::INFINITY), 2.into(), "growth"),
            (
                grid().growth(2.0),
                3.into(),
                "cells along an axis of level 12",
            ),
            (
                grid()
                    .growth(1.7)
                    .table_size(1 << 24)
                    .levels(16)
                    .features_per_level(8),
                3.into(),
                "numbers in the table",
            ),
        ] {
            let error = grid.spec(&input).unwrap_err();
            let text = error.to_string();
            assert!(
                matches!(error, Error::Setting { .. }) && text.contains(expected),
                "{text}"
            );
        }
        let exact = grid().levels(1).base_resolution(65_535);
        assert!(exact.spec(&3.into()).is_ok());
        assert!(exact.base_resolution(65_536).spec(&3.into()).is_err());
    }
}
