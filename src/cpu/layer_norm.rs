//! Fast layer normalization: the formulas of [`reference::LayerNorm`](crate::reference::LayerNorm), with sums in a
//! fixed number of lanes. Several cores divide the rows among them.

use multiversion::multiversion;
use ndarray::{Array2, ArrayView2};

use super::cores::{for_each_part, rows_of_part};
use super::dense::dense;
use crate::reference::{Backward, Float, Forward, Layer};

/// Number of partial sums that are computed in parallel.
const LANES: usize = 16;
/// Minimum number of elements for which several cores share the rows. For fewer, one core is faster.
const SHARED: usize = 1 << 15;

/// The layer. All arrays are contiguous in memory, row by row.
#[derive(Debug, Clone, Copy)]
pub(super) struct LayerNorm {
    eps: f64,
}

impl LayerNorm {
    /// Makes the layer; `eps` is added to each variance.
    pub(super) fn new(eps: f64) -> Self {
        Self { eps }
    }
}

impl<F: Float> Layer<F> for LayerNorm {
    fn forward(&self, pass: Forward<'_, F>) {
        let (rows, columns) = pass.x.dim();
        let [weight, bias] = [0, 1].map(|at| parameter(&pass.parameters[at]));
        let [mean, inverse] = pass.kept else {
            unreachable!("LayerNorm keeps two numbers of a row");
        };
        let x = dense(pass.x.to_slice());
        let y = dense(pass.y.into_slice());
        let [mean, inverse] = [mean, inverse].map(|kept| dense(kept.as_slice_mut()));
        let of_part = rows_of_part(rows);
        let kept = mean.chunks_mut(of_part).zip(inverse.chunks_mut(of_part));
        let rows = x
            .chunks(of_part * columns)
            .zip(y.chunks_mut(of_part * columns));
        for_each_part(
            rows.zip(kept),
            x.len() >= SHARED,
            |((x, y), (mean, inverse))| {
                let rows = x.chunks_exact(columns).zip(y.chunks_exact_mut(columns));
                for ((x, y), (mean, inverse)) in rows.zip(mean.iter_mut().zip(inverse)) {
                    [*mean, *inverse] = normalize(x, [weight, bias], self.eps, y);
                }
            },
        );
    }

    fn backward(&self, pass: Backward<'_, F>) {
        let columns = pass.x.ncols();
        let weight = parameter(&pass.parameters[0]);
        let [x, dy] = [pass.x, pass.dy].map(|of: ArrayView2<'_, F>| dense(of.to_slice()));
        let [mean, inverse] = [0, 1].map(|at| dense(pass.kept[at].as_slice()));
        let kept = mean.iter().zip(inverse);
        if let Some(dx) = pass.dx {
            let dx = dense(dx.into_slice());
            let of_part = rows_of_part(mean.len());
            let kept = mean.chunks(of_part).zip(inverse.chunks(of_part));
            let size = of_part * columns;
            let rows = x.chunks(size).zip(dy.chunks(size)).zip(dx.chunks_mut(size));
            for_each_part(
                rows.zip(kept),
                x.len() >= SHARED,
                |(((x, dy), dx), (mean, inverse))| {
                    let rows = x.chunks_exact(columns).zip(dy.chunks_exact(columns));
                    let rows = rows.zip(dx.chunks_exact_mut(columns));
                    for (((x, dy), dx), (&mean, &inverse)) in rows.zip(mean.iter().zip(inverse)) {
                        gradient(x, [mean, inverse], weight, dy, dx);
                    }
                },
            );
        }
        let [dweight, dbias] = pass.gradients else {
            unreachable!("LayerNorm has two parameters");
        };
        let [dweight, dbias] = [dweight, dbias].map(|of| {
            of.fill(F::zero());
            dense(of.as_slice_mut())
        });
        let rows = x.chunks_exact(columns).zip(dy.chunks_exact(columns));
        for ((x, dy), (&mean, &inverse)) in rows.zip(kept) {
            add_gradients(x, [mean, inverse], dy, [dweight, dbias]);
        }
    }
}

fn parameter<F>(parameter: &Array2<F>) -> &[F] {
    dense(parameter.as_slice())
}

/// Normalizes the row `x` and writes it to `y`. Returns the row's mean and the inverse of its standard deviation.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn normalize<F: Float>(x: &[F], [weight, bias]: [&[F]; 2], eps: f64, y: &mut [F]) -> [F; 2] {
    let n = x.len() as f64;
    let mean = sum([x, x], |[x, _]| x.into_f64()) / n;
    let squares = sum([x, x], |[x, _]| {
        let deviation = x.into_f64() - mean;
        deviation * deviation
    });
    let [mean, inverse] = [mean, 1.0 / (squares / n + eps).sqrt()].map(F::from_f64);
    for ((y, &x), (&weight, &bias)) in y.iter_mut().zip(x).zip(weight.iter().zip(bias)) {
        *y = weight * ((x - mean) * inverse) + bias;
    }
    [mean, inverse]
}

/// Computes the gradient with respect to a row, `dx`.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn gradient<F: Float>(x: &[F], [mean, inverse]: [F; 2], weight: &[F], dy: &[F], dx: &mut [F]) {
    let n = x.len() as f64;
    for ((dx, &dy), &weight) in dx.iter_mut().zip(dy).zip(weight) {
        *dx = dy * weight;
    }
    let all = sum([dx, x], |[g, _]| g.into_f64());
    let along = sum([dx, x], |[g, x]| (g * ((x - mean) * inverse)).into_f64());
    let [all, along] = [all, along].map(|sum| F::from_f64(sum / n));
    for (dx, &x) in dx.iter_mut().zip(x) {
        let normal = (x - mean) * inverse;
        *dx = inverse * (*dx - (all + normal * along));
    }
}

/// Adds a row's part of the gradients with respect to the parameters.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn add_gradients<F: Float>(
    x: &[F],
    [mean, inverse]: [F; 2],
    dy: &[F],
    [dweight, dbias]: [&mut [F]; 2],
) {
    let sums = dweight.iter_mut().zip(dbias);
    for ((&x, &dy), (dweight, dbias)) in x.iter().zip(dy).zip(sums) {
        *dweight += dy * ((x - mean) * inverse);
        *dbias += dy;
    }
}

/// Returns the sum of `term([a, b])` over the elements of two slices.
#[inline(always)]
fn sum<F: Float>([a, b]: [&[F]; 2], term: impl Fn([F; 2]) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let whole = a.len() - a.len() % LANES;
    for (a, b) in a[..whole].chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for (lane, (&a, &b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += term([a, b]);
        }
    }
    let rest = a[whole..].iter().zip(&b[whole..]);
    let rest: f64 = rest.map(|(&a, &b)| term([a, b])).sum();
    lanes.iter().sum::<f64>() + rest
}
