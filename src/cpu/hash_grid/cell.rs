//! The grid cell that contains a position, computed in integers as in `shaders/hash_grid_cell.wgsl`.

use crate::ops::hash_grid::Level;

/// The fraction 1 in fixed point, in units of 2⁻²⁴.
const ONE: u32 = 1 << 24;
/// The primes of the hash function.
const PRIMES: [u32; 3] = [1, 2_654_435_761, 805_459_861];

/// Returns a position with coordinates clamped to 0…1; `None` if a coordinate is NaN.
#[inline(always)]
pub(super) fn point<const D: usize>(x: &[f32]) -> Option<[f32; D]> {
    let x: [f32; D] = std::array::from_fn(|d| x[d]);
    let is_number = !x.iter().any(|x| x.is_nan());
    is_number.then(|| x.map(|x| x.clamp(0.0, 1.0)))
}

/// The cell of one level that contains a position.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell<const D: usize> {
    /// The row of the table for each corner of the cell. Bit `d` of a corner's index says whether the corner is the
    /// upper one along axis `d`. In two dimensions, only the first four are used.
    pub(super) entries: [usize; 8],
    /// The position within the cell along each axis, in units of 2⁻²⁴.
    pub(super) fraction: [u32; D],
}

impl<const D: usize> Cell<D> {
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a coordinate is in 0…1, cells and entries fit a word"
    )]
    pub(super) fn new(level: &Level, x: [f32; D]) -> Self {
        let cells = level.cells as u64;
        let positions = x.map(|x| u64::from((x * 2f32.powi(31)) as u32) * cells);
        let at = positions.map(|position| (position >> 31).min(cells - 1));
        let fraction = std::array::from_fn(|d| ((positions[d] - (at[d] << 31)) >> 7) as u32);
        let mask = level.entries as u32 - 1;
        let mut entries = [0; 8];
        let mut stride = 1u32;
        // Before the iteration for axis `d`, `entries` has the corners that are lower along `d` and all later axes.
        for d in 0..D {
            let lower = at[d] as u32;
            let factor = if level.is_hashed { PRIMES[d] } else { stride };
            let [lower, upper] = [lower, lower + 1].map(|at| at.wrapping_mul(factor));
            for corner in 0..1 << d {
                let before = entries[corner];
                [entries[corner], entries[corner + (1 << d)]] = if level.is_hashed {
                    [before ^ lower, before ^ upper]
                } else {
                    [before + lower, before + upper]
                };
            }
            stride = stride.wrapping_mul(level.cells as u32 + 1);
        }
        let mask = if level.is_hashed { mask } else { u32::MAX };
        Self {
            entries: entries.map(|entry| level.first + (entry & mask) as usize),
            fraction,
        }
    }

    /// Returns, for each axis, the interpolation weights of a lower and of an upper corner.
    #[inline(always)]
    fn shares(&self) -> [[f32; 2]; D] {
        let shares = |fraction: u32| [ONE - fraction, fraction].map(|of| of as f32 / ONE as f32);
        self.fraction.map(shares)
    }

    /// Returns the interpolation weight of each corner.
    #[inline(always)]
    pub(super) fn weights(&self) -> [f32; 8] {
        let mut weights = [1.0; 8];
        for (d, [lower, upper]) in self.shares().into_iter().enumerate() {
            for corner in 0..1 << d {
                weights[corner + (1 << d)] = weights[corner] * upper;
                weights[corner] *= lower;
            }
        }
        weights
    }

    /// Returns the derivative of a corner's weight along each axis, with respect to the position in units of cells.
    #[inline(always)]
    pub(super) fn slopes(&self, corner: usize) -> [f32; D] {
        let shares = self.shares();
        std::array::from_fn(|axis| {
            let mut slope = if corner >> axis & 1 == 1 { 1.0 } else { -1.0 };
            for (other, share) in shares.iter().enumerate() {
                if other != axis {
                    slope *= share[corner >> other & 1];
                }
            }
            slope
        })
    }
}

/// Distributes the gradient `whole` over the corners of the cell that contains a position. `whole` is in fixed point.
/// `fraction` is the position within the cell. The contributions add up exactly to `whole`.
#[inline(always)]
pub(super) fn contributions<const D: usize>(whole: i64, fraction: [u32; D]) -> [i64; 8] {
    let mut parts = [0; 8];
    parts[0] = whole;
    for (d, fraction) in fraction.into_iter().enumerate() {
        for corner in 0..1 << d {
            let product = parts[corner] * i64::from(fraction);
            // Round halves away from 0.
            let half = i64::from(ONE / 2) + (product >> 63);
            let upper = (product + half) >> 24;
            parts[corner + (1 << d)] = upper;
            parts[corner] -= upper;
        }
    }
    parts
}
