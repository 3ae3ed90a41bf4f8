//! Fast multiresolution hash encoding, in `f32`. Positions and the table's gradient are computed in the integer
//! arithmetic of the GPU kernels, so that the table's gradient has the same bits on CPU and GPU, and with any number of
//! threads. In `f64`, the reference is used. Several cores divide the rows among them; for the table's gradient, they
//! divide the levels.

mod cell;
#[cfg(test)]
mod tests;

use ndarray::Array2;

use super::cores::{for_each_part, rows_of_part};
use super::dense::dense;
use crate::error::Error;
use crate::ops;
use crate::ops::Layer as _;
use crate::ops::hash_grid::{Level, Levels, unit};
use crate::reference::{Backward, Float, Forward, Layer, Twin};
use cell::{Cell, contributions, point};

/// Minimum number of output elements of a minibatch for which several cores share the work. For fewer, one core is
/// faster.
const SHARED: usize = 1 << 12;
/// Maximum number of features per entry.
const MOST_FEATURES: usize = 8;
/// The bits of infinity. Without the sign bit, the bits of a NaN are larger.
const INFINITE: u32 = 0x7f80_0000;

/// The layer. All arrays are contiguous in memory, row by row.
#[derive(Debug, Clone)]
pub(super) struct HashGrid {
    levels: Levels,
    definition: Twin,
}

impl HashGrid {
    /// Returns the fast form of a layer, for positions of `dimensions` dimensions.
    ///
    /// # Errors
    /// The errors of the layer's specification (`ops::Layer::spec`).
    pub(super) fn of(layer: &ops::HashGrid, dimensions: usize) -> Result<Self, Error> {
        Ok(Self {
            levels: layer.levels_in(dimensions)?,
            definition: layer.reference(),
        })
    }

    /// Scratch memory of a backward pass, as a number of `f32` elements: one 64-bit sum for each element of the table.
    pub(super) fn scratch(&self) -> u64 {
        2 * self.levels.numbers() as u64
    }

    fn is_shared(&self, rows: usize) -> bool {
        rows * self.levels.columns() >= SHARED
    }
}

impl Layer<f64> for HashGrid {
    fn forward(&self, pass: Forward<'_, f64>) {
        f64::of(&self.definition).forward(pass);
    }

    fn backward(&self, pass: Backward<'_, f64>) {
        f64::of(&self.definition).backward(pass);
    }
}

impl Layer<f32> for HashGrid {
    fn forward(&self, pass: Forward<'_, f32>) {
        let (rows, dimensions) = pass.x.dim();
        let x = dense(pass.x.to_slice());
        let y = dense(pass.y.into_slice());
        let table = numbers(&pass.parameters[0]);
        let of_part = rows_of_part(rows);
        let columns = self.levels.columns();
        let parts = x
            .chunks(of_part * dimensions)
            .zip(y.chunks_mut(of_part * columns));
        for_each_part(parts, self.is_shared(rows), |(x, y)| match dimensions {
            2 => encode::<2>(&self.levels, table, x, y),
            _ => encode::<3>(&self.levels, table, x, y),
        });
    }

    fn backward(&self, pass: Backward<'_, f32>) {
        let (rows, dimensions) = pass.x.dim();
        let [x, dy] = [pass.x, pass.dy].map(|of| dense(of.to_slice()));
        let dtable = dense(pass.gradients[0].as_slice_mut());
        let of_levels = self.of_levels(dtable);
        for_each_part(of_levels, self.is_shared(rows), |(at, of_level)| {
            let from = (&self.levels, at);
            match dimensions {
                2 => table_gradient::<2>(from, x, dy, of_level),
                _ => table_gradient::<3>(from, x, dy, of_level),
            }
        });
        let Some(dx) = pass.dx else { return };
        let table = numbers(&pass.parameters[0]);
        let dx = dense(dx.into_slice());
        let of_part = rows_of_part(rows);
        let columns = self.levels.columns();
        let from = x
            .chunks(of_part * dimensions)
            .zip(dy.chunks(of_part * columns));
        let parts = from.zip(dx.chunks_mut(of_part * dimensions));
        for_each_part(
            parts,
            self.is_shared(rows),
            |((x, dy), dx)| match dimensions {
                2 => input_gradient::<2>(&self.levels, table, [x, dy], dx),
                _ => input_gradient::<3>(&self.levels, table, [x, dy], dx),
            },
        );
    }
}

impl HashGrid {
    /// Splits the table's gradient into levels. Returns each level's index and its part of the gradient.
    fn of_levels<'a>(&self, dtable: &'a mut [f32]) -> impl Iterator<Item = (usize, &'a mut [f32])> {
        let mut rest = dtable;
        let parts = self.levels.of.iter().enumerate().map(|(at, level)| {
            let (of_level, behind) =
                std::mem::take(&mut rest).split_at_mut(level.entries * self.levels.features);
            rest = behind;
            (at, of_level)
        });
        parts.collect::<Vec<_>>().into_iter()
    }
}

fn numbers(table: &Array2<f32>) -> &[f32] {
    dense(table.as_slice())
}

/// Computes `y = Σ weight·table` for each level. The compiler unrolls the loops for two features, the usual number.
fn encode<const D: usize>(levels: &Levels, table: &[f32], x: &[f32], y: &mut [f32]) {
    for (at, level) in levels.of.iter().enumerate() {
        let rows = x.chunks_exact(D).zip(y.chunks_exact_mut(levels.columns()));
        let first = at * levels.features;
        match levels.features {
            2 => encode_level::<D>(level, 2, table, rows, first),
            features => encode_level::<D>(level, features, table, rows, first),
        }
    }
}

#[inline(always)]
fn encode_level<'a, const D: usize>(
    level: &Level,
    features: usize,
    table: &[f32],
    rows: impl Iterator<Item = (&'a [f32], &'a mut [f32])>,
    first: usize,
) {
    for (x, y) in rows {
        let y = &mut y[first..][..features];
        let Some(x) = point::<D>(x) else {
            y.fill(f32::NAN);
            continue;
        };
        let cell = Cell::new(level, x);
        let mut sums = [0.0; MOST_FEATURES];
        for (entry, weight) in cell.entries.into_iter().zip(cell.weights()).take(1 << D) {
            let entry = &table[entry * features..][..features];
            for (sum, number) in sums.iter_mut().zip(entry) {
                *sum += weight * number;
            }
        }
        y.copy_from_slice(&sums[..features]);
    }
}

/// Computes `dx = Σ_level N·Σ ±(weight along the other axes)·(dy·table)`, where `N` is the number of cells per axis; 0
/// for coordinates outside 0…1.
fn input_gradient<const D: usize>(
    levels: &Levels,
    table: &[f32],
    [x, dy]: [&[f32]; 2],
    dx: &mut [f32],
) {
    dx.fill(0.0);
    for (at, level) in levels.of.iter().enumerate() {
        let from = x.chunks_exact(D).zip(dy.chunks_exact(levels.columns()));
        let rows = from.zip(dx.chunks_exact_mut(D));
        let first = at * levels.features;
        match levels.features {
            2 => add_slopes::<D>(level, 2, table, rows, first),
            features => add_slopes::<D>(level, features, table, rows, first),
        }
    }
    for (x, dx) in x.chunks_exact(D).zip(dx.chunks_exact_mut(D)) {
        let is_number = point::<D>(x).is_some();
        for (x, dx) in x.iter().zip(dx) {
            *dx = match (is_number, (0.0..=1.0).contains(x)) {
                (false, _) => f32::NAN,
                (true, true) => *dx,
                (true, false) => 0.0,
            };
        }
    }
}

#[inline(always)]
fn add_slopes<'a, const D: usize>(
    level: &Level,
    features: usize,
    table: &[f32],
    rows: impl Iterator<Item = ((&'a [f32], &'a [f32]), &'a mut [f32])>,
    first: usize,
) {
    for ((x, dy), dx) in rows {
        let Some(x) = point::<D>(x) else { continue };
        let dy = &dy[first..][..features];
        let cell = Cell::new(level, x);
        let mut slopes = [0.0; D];
        for (corner, entry) in cell.entries.into_iter().enumerate().take(1 << D) {
            let entry = &table[entry * features..][..features];
            let product = dy.iter().zip(entry).fold(0.0, |sum, (dy, t)| sum + dy * t);
            for (slope, along) in slopes.iter_mut().zip(cell.slopes(corner)) {
                *slope += along * product;
            }
        }
        for (dx, slope) in dx.iter_mut().zip(slopes) {
            *dx += level.cells as f32 * slope;
        }
    }
}

/// Computes `dtable = Σ weight·dy` for the level with index `at`, in integers.
fn table_gradient<const D: usize>(
    (levels, at): (&Levels, usize),
    x: &[f32],
    dy: &[f32],
    dtable: &mut [f32],
) {
    let first = at * levels.features;
    let dy = dy.chunks_exact(levels.columns()).map(|dy| &dy[first..]);
    match levels.features {
        2 => level_gradient::<D>(&levels.of[at], 2, (x, dy), dtable),
        features => level_gradient::<D>(&levels.of[at], features, (x, dy), dtable),
    }
}

#[inline(always)]
fn level_gradient<'a, const D: usize>(
    level: &Level,
    features: usize,
    (x, dy): (&[f32], impl Iterator<Item = &'a [f32]> + Clone),
    dtable: &mut [f32],
) {
    let bits = |dy: &f32| dy.to_bits() & !(1 << 31);
    let of_row = |largest: u32, dy: &[f32]| dy[..features].iter().map(bits).fold(largest, u32::max);
    let largest = dy.clone().fold(0, of_row);
    if largest >= INFINITE {
        return dtable.fill(f32::NAN);
    }
    let unit = unit(largest);
    let scale = power_of_two(-unit);
    let mut sums = vec![0; dtable.len()];
    for (x, dy) in x.chunks_exact(D).zip(dy) {
        let Some(x) = point::<D>(x) else { continue };
        let cell = Cell::new(level, x);
        for (f, &dy) in dy[..features].iter().enumerate() {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "what is below 1 is cut off"
            )]
            let parts = contributions(i64::from((dy * scale) as i32), cell.fraction);
            for (entry, part) in cell.entries.into_iter().zip(parts).take(1 << D) {
                sums[(entry - level.first) * features + f] += part;
            }
        }
    }
    for (number, sum) in dtable.iter_mut().zip(sums) {
        *number = rounded(sum, unit);
    }
}

/// Returns `2^exponent`, which must be a normal number.
#[expect(
    clippy::cast_sign_loss,
    reason = "the exponents of normal numbers are above −127"
)]
fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127) as u32) << 23)
}

/// Returns `sum·2^unit`, rounded once (halves away from 0), as in the GPU kernel.
fn rounded(sum: i64, unit: i32) -> f32 {
    let magnitude = sum.unsigned_abs();
    let places = (64 - magnitude.leading_zeros()).saturating_sub(24);
    let half = (1u64 << places) >> 1;
    let kept = ((magnitude + half) >> places) as f32;
    let value = kept * power_of_two(places.cast_signed()) * power_of_two(unit);
    if sum < 0 { -value } else { value }
}
