//! Product of one row and a matrix, computed as a sum of the matrix's rows: faster than a general matrix product.

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use crate::reference::Float;

/// Computes `y = b + Σ_k x[k] · w[k]`, where `w` has one row per element of `x`, stored consecutively. Reading `w`
/// takes most of the time. So if most of `x` is 0, as in the pixels of a digit, the rows of `w` for zeros are not read.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub(super) fn row_times<F: Float>(x: &[F], w: &[F], b: Option<&[F]>, y: &mut [F]) {
    let terms = x.iter().copied().zip(w.chunks_exact(y.len()));
    // `mul_add` is one instruction on processors that have it, and a slow function call on all others.
    let is_fused = cfg!(target_arch = "aarch64") || target_cfg_f!(target_feature = "fma");
    let add = |sum, x: F, w| {
        if is_fused {
            x.mul_add(w, sum)
        } else {
            sum + x * w
        }
    };
    // If there are few zeros, testing each element costs more time than it saves.
    let zeros = x.iter().map(|&x| u32::from(x == F::zero())).sum::<u32>() as usize;
    if zeros * 2 > x.len() {
        sum_of_rows(terms.filter(|&(x, _)| x != F::zero()), add, b, y);
    } else {
        sum_of_rows(terms, add, b, y);
    }
}

/// Computes `y = b + Σ x · w`. Each term is a number `x` and a row `w` as long as `y`; the terms are added in order.
/// Computes as many columns at a time as fit in registers. `add` returns `sum + x · w`.
#[inline(always)]
pub(super) fn sum_of_rows<'w, F: Float>(
    terms: impl Iterator<Item = (F, &'w [F])> + Clone,
    add: impl Fn(F, F, F) -> F + Copy,
    b: Option<&[F]>,
    y: &mut [F],
) {
    // `blocks` and `columns` use loops, because closures that an iterator calls are not compiled for the caller's
    // instruction set.
    match y.len() {
        32.. => blocks::<F, 32>(&terms, add, b, y),
        8.. => blocks::<F, 8>(&terms, add, b, y),
        _ => blocks::<F, 1>(&terms, add, b, y),
    }
}

/// Computes all columns, two blocks of `WIDTH` columns at a time. The last blocks may overlap the blocks before them,
/// and then compute some sums twice.
#[inline(always)]
fn blocks<'w, F: Float, const WIDTH: usize>(
    terms: &(impl Iterator<Item = (F, &'w [F])> + Clone),
    add: impl Fn(F, F, F) -> F + Copy,
    b: Option<&[F]>,
    y: &mut [F],
) {
    let last = y.len() - WIDTH.min(y.len());
    let mut at = 0;
    while at < y.len() {
        let both = [at.min(last), (at + WIDTH).min(last)];
        columns::<F, WIDTH>(terms.clone(), add, b, y, both);
        at += 2 * WIDTH;
    }
}

/// Computes two blocks of columns at once: the additions of one block do not have to wait for those of the other.
#[inline(always)]
fn columns<'w, F: Float, const WIDTH: usize>(
    terms: impl Iterator<Item = (F, &'w [F])>,
    add: impl Fn(F, F, F) -> F,
    b: Option<&[F]>,
    y: &mut [F],
    at: [usize; 2],
) {
    let mut sums = [[F::zero(); WIDTH]; 2];
    if let Some(b) = b {
        for (sums, at) in sums.iter_mut().zip(at) {
            sums.copy_from_slice(&b[at..at + WIDTH]);
        }
    }
    for (x, w) in terms {
        for (sums, at) in sums.iter_mut().zip(at) {
            for (sum, &w) in sums.iter_mut().zip(&w[at..at + WIDTH]) {
                *sum = add(*sum, x, w);
            }
        }
    }
    for (sums, at) in sums.iter().zip(at) {
        y[at..at + WIDTH].copy_from_slice(sums);
    }
}
