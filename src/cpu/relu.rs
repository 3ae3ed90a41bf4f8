//! Fast `Relu`: the formulas of [`reference::Relu`](crate::reference::Relu). Several cores share large arrays.

use multiversion::multiversion;
use ndarray::{ArrayView2, ArrayViewMut2};

use super::cores::for_each_part;
use super::dense::dense;
use crate::reference::{Backward, Float, Forward, Layer};

/// Number of elements per part of an array.
const PART: usize = 1 << 14;
/// Minimum number of elements for which several cores share an array. For fewer, one core is faster.
const SHARED: usize = 1 << 17;

/// The layer. All arrays are contiguous in memory, row by row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Relu;

impl<F: Float> Layer<F> for Relu {
    fn forward(&self, pass: Forward<'_, F>) {
        let x = dense(pass.x.to_slice());
        let y = dense(pass.y.into_slice());
        let is_shared = x.len() >= SHARED;
        let parts = x.chunks(PART).zip(y.chunks_mut(PART));
        for_each_part(parts, is_shared, |(x, y)| keep_above(x, x, y));
    }

    fn backward(&self, pass: Backward<'_, F>) {
        let Some(dx) = pass.dx else { return };
        let [y, dy] = [pass.y, pass.dy].map(|of| dense(of.to_slice()));
        let dx = dense(dx.into_slice());
        let is_shared = y.len() >= SHARED;
        let from = y.chunks(PART).zip(dy.chunks(PART));
        let parts = from.zip(dx.chunks_mut(PART));
        for_each_part(parts, is_shared, |((y, dy), dx)| keep_above(y, dy, dx));
    }
}

/// Applies the `Relu` in place.
pub(super) fn in_place<F: Float>(y: ArrayViewMut2<'_, F>) {
    let y = dense(y.into_slice());
    let is_shared = y.len() >= SHARED;
    for_each_part(y.chunks_mut(PART), is_shared, rectify);
}

/// Applies the `Relu` in place, on one core.
pub(super) fn rectify<F: Float>(y: &mut [F]) {
    for y in y {
        *y = if *y <= F::zero() { F::zero() } else { *y };
    }
}

/// Backward pass in place: on entry, `dx` has the gradient with respect to the `Relu`'s output `y`; on return, the
/// gradient with respect to its input.
pub(super) fn mask<F: Float>(y: ArrayView2<'_, F>, dx: ArrayViewMut2<'_, F>) {
    let y = dense(y.to_slice());
    let dx = dense(dx.into_slice());
    let is_shared = y.len() >= SHARED;
    let parts = y.chunks(PART).zip(dx.chunks_mut(PART));
    for_each_part(parts, is_shared, |(y, dx)| mask_part(y, dx));
}

#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn mask_part<F: Float>(y: &[F], dx: &mut [F]) {
    for (&y, dx) in y.iter().zip(dx) {
        *dx = if y <= F::zero() { F::zero() } else { *dx };
    }
}

/// Writes, for each element, `b` if `a` is above 0 or NaN, otherwise 0.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn keep_above<F: Float>(a: &[F], b: &[F], to: &mut [F]) {
    for ((&a, &b), to) in a.iter().zip(b).zip(to) {
        *to = if a <= F::zero() { F::zero() } else { b };
    }
}
