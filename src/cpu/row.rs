//! One row times a matrix: a sum of the matrix's rows, which is faster than any general matrix product.

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

use crate::reference::Float;

/// `y = b + Σ_k x[k] · w[k]`, where `w` has one row per element of `x`, stored consecutively. If most of `x` is 0, as
/// in the pixels of a digit, the rows of `w` for zeros are not read: most of the time goes into reading `w`.
#[multiversion(targets("x86_64+avx512f+avx512vl+fma", "x86_64+avx2+fma"))]
pub(super) fn row_times<F: Float>(x: &[F], w: &[F], b: Option<&[F]>, y: &mut [F]) {
    let terms = x.iter().copied().zip(w.chunks_exact(y.len()));
    // A single instruction where the processor has it, otherwise a slow call.
    let is_fused = cfg!(target_arch = "aarch64") || target_cfg_f!(target_feature = "fma");
    let add = |sum, x: F, w| {
        if is_fused {
            x.mul_add(w, sum)
        } else {
            sum + x * w
        }
    };
    // With few zeros, testing each element costs more than it saves.
    let zeros = x.iter().map(|&x| u32::from(x == F::zero())).sum::<u32>() as usize;
    if zeros * 2 > x.len() {
        sum_of_rows(terms.filter(|&(x, _)| x != F::zero()), add, b, y);
    } else {
        sum_of_rows(terms, add, b, y);
    }
}

/// `y = b + Σ x · w` over pairs of a number and a row as long as `y`, in their order. Handles as many columns at a time
/// as registers hold. `add` computes `sum + x · w`.
#[inline(always)]
pub(super) fn sum_of_rows<'w, F: Float>(
    terms: impl Iterator<Item = (F, &'w [F])> + Clone,
    add: impl Fn(F, F, F) -> F + Copy,
    b: Option<&[F]>,
    y: &mut [F],
) {
    // Loops, because closures called by an iterator are not compiled for the caller's instruction set.
    match y.len() {
        32.. => blocks::<F, 32>(&terms, add, b, y),
        8.. => blocks::<F, 8>(&terms, add, b, y),
        _ => blocks::<F, 1>(&terms, add, b, y),
    }
}

/// All columns, two blocks at a time. The last blocks may overlap the ones before them and compute the same sums again.
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

/// Two blocks of columns at once, so that the additions of one need not wait for those of the other.
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
