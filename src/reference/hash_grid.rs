use ndarray::{Array2, ArrayView1};

use super::{Backward, Float, Forward, Layer};

/// Multiresolution hash encoding (Müller, Evans, Schied and Keller, 2022, section 3).
/// `y[level] = Σ weight·table[entry]` over the corners of the cell that contains a position. A corner's `weight` is a
/// product over the axes: the factor of an axis is `fraction` for the upper corner along this axis, and `1 − fraction`
/// for the lower one. `dtable[entry] = Σ weight·dy`. `dx` follows from the derivative of `weight`, and is 0 outside of
/// 0…1. A row with a NaN gives NaN in `y` and `dx`, and adds nothing to `dtable`.
#[derive(Debug, Clone, Copy)]
pub struct HashGrid {
    /// Number of levels (resolutions).
    pub levels: usize,
    /// Features per entry.
    pub features: usize,
    /// Maximum number of entries per level.
    pub table_size: usize,
    /// Number of cells along an axis of the coarsest level.
    pub base_resolution: usize,
    /// Along an axis, a level has this many times the cells of the next coarser level.
    pub growth: f64,
}

/// A corner of the cell that contains a position.
struct Corner<F> {
    /// The corner's row of the table.
    entry: usize,
    /// The corner's weight in the position's features.
    weight: F,
    /// Derivative of the weight along each axis.
    slope: Vec<F>,
}

impl HashGrid {
    /// Returns the corners of the cell that contains a position, for each level. The coordinates must be in 0…1.
    fn corners<F: Float>(&self, position: &[F]) -> Vec<Vec<Corner<F>>> {
        let mut first = 0;
        let mut resolution = self.base_resolution as f64;
        let mut levels = Vec::new();
        for _ in 0..self.levels {
            let cells = whole(resolution);
            let dense = position
                .iter()
                .fold(1, |dense: usize, _| dense.saturating_mul(cells + 1));
            let is_hashed = dense > self.table_size;
            let entry = |at: &[usize]| {
                if is_hashed {
                    hashed(at) % self.table_size
                } else {
                    at.iter()
                        .rev()
                        .fold(0, |entry, at| entry * (cells + 1) + at)
                }
            };
            let corners = (0..1 << position.len()).map(|corner| {
                let corner = corner_of(position, cells, corner, entry);
                Corner {
                    entry: first + corner.entry,
                    ..corner
                }
            });
            levels.push(corners.collect());
            first += dense.min(self.table_size);
            resolution *= self.growth;
        }
        levels
    }
}

/// Returns the integer part of a number that is not negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "cells along an axis are at most 65,535"
)]
fn whole(value: f64) -> usize {
    value as usize
}

/// Returns a corner of the cell that contains a position. Bit `d` of `corner` says whether it is the upper corner along
/// axis `d`.
fn corner_of<F: Float>(
    position: &[F],
    cells: usize,
    corner: usize,
    entry: impl Fn(&[usize]) -> usize,
) -> Corner<F> {
    let mut at = Vec::new();
    let mut shares = Vec::new();
    for (axis, x) in position.iter().enumerate() {
        let x = x.into_f64() * cells as f64;
        let cell = whole(x).min(cells - 1);
        let fraction = x - cell as f64;
        let upper = corner >> axis & 1;
        at.push(cell + upper);
        shares.push(match upper {
            1 => [fraction, cells as f64],
            _ => [1.0 - fraction, -(cells as f64)],
        });
    }
    let along = |axis: usize| {
        let shares = shares.iter().enumerate();
        let shares =
            shares.map(|(other, [share, slope])| if other == axis { slope } else { share });
        F::from_f64(shares.product())
    };
    Corner {
        entry: entry(&at),
        weight: along(shares.len()),
        slope: (0..shares.len()).map(along).collect(),
    }
}

/// Returns the hash of a corner's coordinates, with the paper's primes. Only its lower bits are used.
fn hashed(at: &[usize]) -> usize {
    let primes = [1, 2_654_435_761, 805_459_861];
    let factors = at.iter().zip(primes);
    factors.fold(0, |hash, (at, prime)| hash ^ at.wrapping_mul(prime))
}

/// Returns the coordinates, clamped to 0…1, or `None` if one is NaN.
fn position<F: Float>(x: ArrayView1<'_, F>) -> Option<Vec<F>> {
    let is_number = x.iter().all(|x| !x.is_nan());
    is_number.then(|| x.iter().map(|x| x.max(F::zero()).min(F::one())).collect())
}

impl<F: Float> Layer<F> for HashGrid {
    fn forward(&self, mut pass: Forward<'_, F>) {
        let table: &Array2<F> = &pass.parameters[0];
        for (x, mut y) in pass.x.outer_iter().zip(pass.y.outer_iter_mut()) {
            let Some(position) = position(x) else {
                y.fill(F::nan());
                continue;
            };
            y.fill(F::zero());
            let levels = self.corners(&position).into_iter();
            for (corners, mut y) in levels.zip(y.exact_chunks_mut(self.features)) {
                for corner in corners {
                    y.scaled_add(corner.weight, &table.row(corner.entry));
                }
            }
        }
    }

    fn backward(&self, mut pass: Backward<'_, F>) {
        let table = &pass.parameters[0];
        let dtable = &mut pass.gradients[0];
        dtable.fill(F::zero());
        for (row, (x, dy)) in pass.x.outer_iter().zip(pass.dy.outer_iter()).enumerate() {
            let mut dx = vec![F::zero(); x.len()];
            match position(x) {
                None => dx.fill(F::nan()),
                Some(position) => {
                    let levels = self.corners(&position).into_iter();
                    for (corners, dy) in levels.zip(dy.exact_chunks(self.features)) {
                        for corner in corners {
                            dtable.row_mut(corner.entry).scaled_add(corner.weight, &dy);
                            let product = table.row(corner.entry).dot(&dy);
                            let slopes = dx.iter_mut().zip(corner.slope);
                            slopes.for_each(|(dx, slope)| *dx += product * slope);
                        }
                    }
                    let outside = x.iter().map(|&x| x < F::zero() || x > F::one());
                    let of_outside = dx.iter_mut().zip(outside).filter(|(_, is)| *is);
                    of_outside.for_each(|(dx, _)| *dx = F::zero());
                }
            }
            if let Some(of_rows) = &mut pass.dx {
                of_rows.row_mut(row).assign(&ArrayView1::from(&dx));
            }
        }
    }
}
