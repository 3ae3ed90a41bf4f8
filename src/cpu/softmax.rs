//! Fast softmax cross-entropy for many classes, in `f32`: vectorized exponentials, and sums in a fixed number of lanes.
//! For few classes and in `f64`, the reference is used. Several cores divide the rows among them.

use multiversion::multiversion;

use super::activation::exp;
use super::cores::{PARTS, for_each_part, rows_of_part};
use super::dense::dense;
use crate::ops::{self, unwrapped_loss};
use crate::reference::{self, Criterion, Loss, LossPass, Targets};

/// Minimum number of classes for the fast form, which is then much faster than the reference. With fewer classes, the
/// reference is used.
const CLASSES: usize = 64;
/// Minimum number of elements for which several cores share the rows. For fewer, one core is faster.
const SHARED: usize = 1 << 14;
/// Number of partial sums that are computed in parallel.
const LANES: usize = 16;

/// Returns the fastest form of a loss.
pub(super) fn criterion(loss: &dyn ops::Loss) -> Criterion {
    if unwrapped_loss(loss).is::<ops::SoftmaxCrossEntropy>() {
        Criterion::of(SoftmaxCrossEntropy)
    } else {
        loss.reference()
    }
}

#[derive(Debug, Clone, Copy)]
struct SoftmaxCrossEntropy;

impl Loss<f64> for SoftmaxCrossEntropy {
    fn forward_backward(&self, pass: LossPass<'_, f64>) -> f64 {
        reference::SoftmaxCrossEntropy.forward_backward(pass)
    }
}

/// All arrays are contiguous in memory, row by row.
impl Loss<f32> for SoftmaxCrossEntropy {
    fn forward_backward(&self, pass: LossPass<'_, f32>) -> f32 {
        let (rows, classes) = pass.outputs.dim();
        let Targets::Classes(labels) = pass.targets else {
            unreachable!("checked before the first step");
        };
        if classes < CLASSES {
            return reference::softmax_cross_entropy(pass.outputs, labels, pass.doutputs);
        }
        assert_eq!(rows, labels.len(), "rows and labels");
        let logits = dense(pass.outputs.to_slice());
        let dlogits = dense(pass.doutputs.into_slice());
        let of_part = rows_of_part(rows);
        let mut losses = [0.0; PARTS];
        let parts = logits
            .chunks(of_part * classes)
            .zip(dlogits.chunks_mut(of_part * classes))
            .zip(labels.chunks(of_part).zip(&mut losses));
        let each = 1.0 / rows as f32;
        for_each_part(
            parts,
            logits.len() >= SHARED,
            |((logits, dlogits), (labels, loss))| {
                let rows = logits
                    .chunks_exact(classes)
                    .zip(dlogits.chunks_exact_mut(classes));
                let of_rows = rows
                    .zip(labels)
                    .map(|((z, dz), &label)| row(z, label as usize, each, dz));
                *loss = of_rows.sum();
            },
        );
        losses.iter().sum::<f32>() * each
    }
}

/// Returns the loss of a row of logits `z`. Writes the loss's gradient with respect to `z`, times `each`, to `dz`. The
/// loss is NaN if a logit is infinite or NaN.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn row(z: &[f32], label: usize, each: f32, dz: &mut [f32]) -> f32 {
    let (whole, rest) = z.as_chunks::<LANES>();
    let mut largest = [f32::NEG_INFINITY; LANES];
    // Sums of `z·0`: 0 if all numbers are finite, otherwise NaN.
    let mut zeros = [0.0; LANES];
    for z in whole {
        for ((largest, zero), &z) in largest.iter_mut().zip(&mut zeros).zip(z) {
            *largest = if z > *largest { z } else { *largest };
            *zero += z * 0.0;
        }
    }
    let mut top = largest.into_iter().fold(f32::NEG_INFINITY, f32::max);
    let mut zero: f32 = zeros.into_iter().sum();
    for &z in rest {
        top = top.max(z);
        zero += z * 0.0;
    }
    for (e, &z) in dz.iter_mut().zip(z) {
        *e = exp(z - top);
    }
    let (whole, rest) = dz.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for e in whole {
        for (sum, &e) in sums.iter_mut().zip(e) {
            *sum += e;
        }
    }
    let sum = sums.into_iter().chain(rest.iter().copied()).sum::<f32>();
    let factor = each / sum;
    for e in &mut *dz {
        *e *= factor;
    }
    dz[label] -= each;
    sum.ln() - (z[label] - top) + zero
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::{CLASSES, LANES, SoftmaxCrossEntropy};
    use crate::cpu::cores::with_threads;
    use crate::reference::{self, Float, Loss, LossPass, Targets};
    use crate::testing::Numbers;

    fn passes<F: Float>(loss: &dyn Loss<F>, z: &Array2<f32>, labels: &[u32]) -> (f64, Vec<f64>) {
        let z = z.mapv(|z| F::from_f64(z.into()));
        let mut dz = Array2::from_elem(z.dim(), F::nan());
        let pass = LossPass::new(z.view(), Targets::Classes(labels), dz.view_mut());
        let mean = loss.forward_backward(pass).into_f64();
        (mean, dz.iter().map(|dz| dz.into_f64()).collect())
    }

    fn rows(rows: usize, classes: usize, size: f32) -> (Array2<f32>, Vec<u32>) {
        let mut numbers = Numbers::new((rows * classes) as u64);
        let z = Array2::from_shape_fn((rows, classes), |_| size * numbers.uniform());
        let labels = (0..61).cycle().take(rows);
        (z, labels.collect())
    }

    /// The bounds, where `u` is half a unit in the last place: `z − largest` has an error of `u·|z − largest|`; an
    /// exponential has a relative error of `4·u` (see `activation`); and a sum of n numbers in lanes has a relative
    /// error of `(n/LANES + LANES)·u`. The quotient of an exponential and a sum has the sum of these errors and 3
    /// roundings. `1/rows` and its subtraction are rounded, too. The logarithm adds its own error to the sum's error.
    #[test]
    fn it_is_as_defined() {
        let u = f64::from(f32::EPSILON) / 2.0;
        for (count, classes) in [(1, CLASSES), (3, CLASSES + 1), (40, 1000)] {
            for size in [1.0, 30.0] {
                let (z, labels) = rows(count, classes, size);
                let (loss, dz) = passes::<f32>(&SoftmaxCrossEntropy, &z, &labels);
                let defined = passes::<f64>(&reference::SoftmaxCrossEntropy, &z, &labels);
                let of_sum = (classes / LANES + 2 * LANES) as f64 + 4.0 + 2.0 * f64::from(size);
                let of_loss = u * (of_sum + 4.0 * (1.0 + f64::from(size) + count as f64));
                let case = format!("{count} rows of {classes}, {size}");
                assert!(
                    (loss - defined.0).abs() <= of_loss * (1.0 + defined.0),
                    "{case}: {loss} {}",
                    defined.0
                );
                let relative = u * (2.0 * of_sum + 8.0);
                let each = 1.0 / count as f64;
                for (at, (found, expected)) in dz.iter().zip(&defined.1).enumerate() {
                    let is_label = at % classes == labels[at / classes] as usize;
                    let share = expected + if is_label { each } else { 0.0 };
                    let allowed =
                        relative * share + 2.0 * u * each * f64::from(u8::from(is_label)) + 1e-37;
                    assert!(
                        (found - expected).abs() <= allowed,
                        "{case}, {at}: {found:e} {expected:e}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_row_with_what_is_no_number_has_a_loss_that_is_none() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, CLASSES] {
                let (mut z, labels) = rows(2, CLASSES + 1, 1.0);
                z[(1, at)] = bad;
                assert!(passes::<f32>(&SoftmaxCrossEntropy, &z, &labels).0.is_nan());
            }
        }
    }

    #[test]
    fn few_classes_have_the_bits_of_the_definition_and_many_those_of_any_number_of_threads() {
        let (z, labels) = rows(9, CLASSES - 1, 3.0);
        assert_eq!(
            passes::<f32>(&SoftmaxCrossEntropy, &z, &labels),
            passes::<f32>(&reference::SoftmaxCrossEntropy, &z, &labels)
        );
        let (z, labels) = rows(37, 1000, 3.0);
        let with =
            |threads| with_threads(threads, || passes::<f32>(&SoftmaxCrossEntropy, &z, &labels));
        let alone = with(1);
        for threads in [2, 3, 8] {
            assert_eq!(with(threads), alone, "{threads} threads");
        }
    }
}
