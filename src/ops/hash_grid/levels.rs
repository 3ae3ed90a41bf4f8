//! The levels of a grid, and how many bits their gradients have.

use super::HashGrid;
use crate::error::Error;

/// Levels that the block of a kernel has room for.
pub(super) const MOST_LEVELS: usize = 32;
/// Cells along an axis at the most: positions in units of 2⁻³¹ of a cell are products of words of 16 bits.
const MOST_CELLS: usize = (1 << 16) - 1;
/// Numbers of a table at the most: an index of one, and twice of it, fits a word.
const MOST_NUMBERS: usize = 1 << 30;

/// One resolution of a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    /// Its first entry in the table.
    pub(crate) first: usize,
    /// Cells along an axis.
    pub(crate) cells: usize,
    /// Its number of entries.
    pub(crate) entries: usize,
    /// Whether corners share entries by a hash.
    pub(crate) is_hashed: bool,
}

/// All resolutions of a grid, from the coarsest on.
#[derive(Debug, Clone)]
pub(crate) struct Levels {
    pub(crate) of: Vec<Level>,
    pub(crate) dimensions: usize,
    /// Features of an entry.
    pub(crate) features: usize,
}

impl Levels {
    /// # Errors
    /// [`Error::Setting`] where a level has more cells, or the table more numbers, than kernels have words for.
    pub(super) fn new(grid: &HashGrid, dimensions: usize) -> Result<Self, Error> {
        let (mut of, mut first) = (Vec::new(), 0usize);
        // Products one after another, as a power of floats is another number on another platform.
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
            let entries = match is_hashed {
                true => grid.table_size,
                // At most as many.
                false => usize::try_from(corners).unwrap_or(grid.table_size),
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

    /// Entries of all levels.
    pub(crate) fn entries(&self) -> usize {
        self.of.iter().map(|level| level.entries).sum()
    }

    /// Corners of a cell.
    pub(crate) fn corners(&self) -> usize {
        1 << self.dimensions
    }

    /// Features of a row.
    pub(crate) fn columns(&self) -> usize {
        self.of.len() * self.features
    }

    /// Operations of a row in the forward pass: the product of a corner's weight, and with it.
    pub(super) fn flops(&self) -> u64 {
        (self.of.len() * self.corners() * (self.dimensions + 2 * self.features)) as u64
    }

    /// Corners of a cell that a hash may give the same entry: neighbours along one axis differ in the lowest bit of
    /// their hashes, as all factors of it are odd, and so do all corners with an odd number of upper coordinates from
    /// those with an even one.
    fn hits(&self) -> usize {
        match self.of.iter().any(|level| level.is_hashed) {
            true => self.corners() / 2,
            false => 1,
        }
    }

    /// How gradients of a minibatch of so many rows are summed in integers.
    pub(crate) fn limbs(&self, rows: usize) -> Limbs {
        Limbs::new(rows, self.hits())
    }
}

/// A sum of integers as two words without a carry between them.
///
/// A contribution `q` of at most `2^bits` adds its lowest `low_bits` to one word and `⌊q / 2^low_bits⌋` to the other, which is
/// signed. A row has at most `hits` contributions to an entry, whose magnitudes add up to at most `2^bits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limbs {
    /// Bits of the low word's share of a contribution.
    pub(crate) low_bits: u32,
    /// Bits of the largest contribution.
    pub(crate) bits: u32,
}

impl Limbs {
    /// Bits of a contribution at the most: products of it are taken in halves of 16 bits.
    const MOST_BITS: u32 = 30;
    /// Bits of the low word's share at the most: what is left of it is a float, exactly.
    const MOST_LOW_BITS: u32 = 24;

    /// The most bits with which neither word overflows. The low word stays below
    /// `rows·hits·2^low_bits ≤ 2³²`. The magnitude of the high word is at most
    /// `rows·(2^(bits − low_bits) + hits) ≤ 2³⁰ + 2^(32 − low_bits) ≤ 2³¹`, up to 2³⁰ rows times hits.
    fn new(rows: usize, hits: usize) -> Self {
        let log2 = |count: usize| count.max(1).next_power_of_two().trailing_zeros();
        let low_bits = 32u32.saturating_sub(log2(rows) + log2(hits)).max(2);
        let bits = (low_bits + 30).saturating_sub(log2(rows));
        Self {
            low_bits: low_bits.min(Self::MOST_LOW_BITS),
            bits: bits.min(Self::MOST_BITS),
        }
    }

    /// The exponent of the unit of a level whose largest gradient has these bits, without its sign: the unit is a normal
    /// number, as is its reciprocal.
    #[expect(clippy::cast_possible_wrap, reason = "eight bits, and at most 30")]
    pub(crate) fn unit(self, largest: u32) -> i32 {
        ((largest >> 23) as i32 - 126 - self.bits as i32).max(-126)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Level, Limbs};
    use crate::error::Error;
    use crate::ops::{HashGrid, Layer as _};

    /// The worst that rows can do, counted in wide integers.
    #[test]
    fn no_limb_overflows() {
        for rows in [
            1usize,
            2,
            3,
            127,
            128,
            129,
            1 << 15,
            1 << 18,
            (1 << 20) + 1,
            1 << 28,
        ] {
            for hits in [1, 2, 4] {
                let Limbs { low_bits, bits } = Limbs::new(rows, hits);
                let count = (rows * hits) as u64;
                assert!(count * ((1 << low_bits) - 1) < 1 << 32, "{rows}, {hits}");
                let rows = rows as u64;
                // The magnitude of a negative contribution is rounded up.
                let high = rows * ((1u64 << bits).div_ceil(1 << low_bits) + hits as u64);
                assert!(high <= 1 << 31, "{rows}, {hits}: {high}");
            }
        }
        let of = |rows, hits| {
            let Limbs { low_bits, bits } = Limbs::new(rows, hits);
            (low_bits, bits)
        };
        assert_eq!(of(1, 1), (24, 30));
        assert_eq!(of(1 << 15, 2), (16, 30));
        assert_eq!(of(1 << 18, 2), (13, 25));
        assert_eq!(of(1 << 18, 4), (12, 24));
    }

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
        // 32² is 1,024.
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
