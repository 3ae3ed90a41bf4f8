//! Products of dense matrices. Only this module knows whether the crate `gemm` or `ndarray` computes them.

use ndarray::{ArrayBase, ArrayViewMut2, Axis, Data, Ix2};

use super::cores::{self, for_each_part};
use crate::reference::Float;

/// Computes `c = a·b`.
pub(super) fn product<F: Float>(
    a: &ArrayBase<impl Data<Elem = F>, Ix2>,
    b: &ArrayBase<impl Data<Elem = F>, Ix2>,
    c: &mut ArrayViewMut2<'_, F>,
) {
    multiply(a, b, F::zero(), c);
}

/// Computes `c = c + a·b`.
pub(super) fn add_product<F: Float>(
    a: &ArrayBase<impl Data<Elem = F>, Ix2>,
    b: &ArrayBase<impl Data<Elem = F>, Ix2>,
    c: &mut ArrayViewMut2<'_, F>,
) {
    multiply(a, b, F::one(), c);
}

#[cfg(feature = "gemm")]
use self::by_gemm as multiply_alone;
#[cfg(not(feature = "gemm"))]
use self::by_ndarray as multiply_alone;

/// Computes `c = beta·c + a·b`, where `beta` is 0 or 1; for 0, the old contents of `c` are ignored. Several cores share
/// a large product: each computes some columns of `c`, or some rows if `c` has few columns. The order of additions is
/// the same as on a single core.
fn multiply<F: Float>(
    a: &ArrayBase<impl Data<Elem = F>, Ix2>,
    b: &ArrayBase<impl Data<Elem = F>, Ix2>,
    beta: F,
    c: &mut ArrayViewMut2<'_, F>,
) {
    let (m, k) = a.dim();
    let n = b.ncols();
    let by_columns = n >= COLUMNS;
    let (cut, other) = if by_columns { (n, m) } else { (m, n) };
    let pieces = cores::width().min(cut / LEAST);
    let is_large = is_shared(m.saturating_mul(n).saturating_mul(k));
    if pieces <= 1 || other <= NARROW || !is_large {
        return multiply_alone(a, b, beta, c);
    }
    let axis = Axis(usize::from(by_columns));
    let mut a = a.view();
    let mut b = b.view();
    let mut c = c.view_mut();
    let mut parts = Vec::with_capacity(pieces);
    let bound = |piece: usize| piece * cut / pieces / REGISTERS * REGISTERS;
    for piece in 1..pieces {
        let size = bound(piece) - bound(piece - 1);
        let (of_c, rest) = c.split_at(axis, size);
        c = rest;
        if by_columns {
            let (of_b, rest) = b.split_at(axis, size);
            parts.push((a, of_b, of_c));
            b = rest;
        } else {
            let (of_a, rest) = a.split_at(axis, size);
            parts.push((of_a, b, of_c));
            a = rest;
        }
    }
    parts.push((a, b, c));
    for_each_part(parts.into_iter(), true, |(a, b, mut c)| {
        multiply_alone(&a, &b, beta, &mut c);
    });
}

/// Computes `c = beta·c + a·b` by the crate `ndarray`, where `beta` is 0 or 1; for 0, the old contents of `c` are
/// ignored.
#[cfg(any(test, not(feature = "gemm")))]
fn by_ndarray<F: Float>(
    a: &ArrayBase<impl Data<Elem = F>, Ix2>,
    b: &ArrayBase<impl Data<Elem = F>, Ix2>,
    beta: F,
    c: &mut ArrayViewMut2<'_, F>,
) {
    ndarray::linalg::general_mat_mul(F::one(), a, b, beta, c);
}

/// Minimum number of multiplications of a product that several cores share. Below it, one core is faster (measured on
/// two cores of an AMD EPYC).
const PARALLEL: usize = 1 << 22;
/// Minimum number of columns of `c` for which the columns are divided among cores, not the rows. Each core then reads
/// only a part of `b`.
const COLUMNS: usize = 256;
/// Each core's part of `c`, except the last part, has a multiple of this number of columns (or rows). This number is
/// itself a multiple of the number of columns whose sums fit in registers.
const REGISTERS: usize = 64;
/// Each core's part has more than `LEAST`/2 columns (or rows), and more than `NARROW` rows (or columns). The reason:
/// the crate `gemm` adds in another order if a product is at most 64×64, has one row or one column, or has at most 256
/// elements. Such a part would have other bits than the whole product.
const LEAST: usize = 128;
const NARROW: usize = 4;

/// Whether several cores share a product of `multiplications` multiplications.
pub(super) fn is_shared(multiplications: usize) -> bool {
    multiplications >= PARALLEL
}

/// Computes `c = beta·c + a·b` by the crate `gemm`, where `beta` is 0 or 1; for 0, the old contents of `c` are ignored.
#[cfg(feature = "gemm")]
fn by_gemm<F: Float>(
    a: &ArrayBase<impl Data<Elem = F>, Ix2>,
    b: &ArrayBase<impl Data<Elem = F>, Ix2>,
    beta: F,
    c: &mut ArrayViewMut2<'_, F>,
) {
    let (m, k) = a.dim();
    let n = b.ncols();
    assert_eq!((b.nrows(), c.dim()), (k, (m, n)), "product: shapes");
    let [a_row, a_column] = strides(a);
    let [b_row, b_column] = strides(b);
    let [c_row, c_column] = strides(c);
    #[allow(unsafe_code)]
    // SAFETY: the pointers and strides are those of arrays of m×k, k×n and m×n elements, which live until the call
    // returns. `c` is borrowed mutably, so it overlaps neither `a` nor `b`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            c_column,
            c_row,
            beta != F::zero(),
            a.as_ptr(),
            a_column,
            a_row,
            b.as_ptr(),
            b_column,
            b_row,
            beta,
            F::one(),
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(feature = "gemm")]
fn strides<F>(matrix: &ArrayBase<impl ndarray::RawData<Elem = F>, Ix2>) -> [isize; 2] {
    [matrix.strides()[0], matrix.strides()[1]]
}

/// All tests are built with the feature `gemm`, so that only the tests in this module cover `by_ndarray`.
#[cfg(test)]
mod tests {
    use ndarray::{Array2, ArrayView2, s};

    #[cfg(feature = "gemm")]
    use super::by_gemm;
    use super::{Float, by_ndarray, product};
    use crate::cpu::cores::with_threads;
    use crate::testing::Numbers;

    /// A matrix of small integers, whose products and sums are exact in any order.
    fn integers<F: Float>(shape: [usize; 2], seed: usize) -> Array2<F> {
        Array2::from_shape_fn(shape, |(row, column)| {
            let value = (row * 7 + column * 5 + row * column + seed) % 17;
            F::from_f64(value as f64 - 8.0)
        })
    }

    /// Returns `c + a·b`, computed by its definition.
    fn expected<F: Float>(
        a: &ArrayView2<'_, F>,
        b: &ArrayView2<'_, F>,
        c: &Array2<F>,
    ) -> Array2<F> {
        Array2::from_shape_fn(c.dim(), |(row, column)| {
            let products = (0..a.ncols()).map(|k| a[(row, k)] * b[(k, column)]);
            products.fold(c[(row, column)], |sum, product| sum + product)
        })
    }

    fn assert_exact<F: Float>([m, k, n]: [usize; 3]) {
        let a = integers::<F>([m, k], 1);
        let a_transposed = integers::<F>([k, m], 1);
        let b = integers::<F>([k, n], 2);
        let b_transposed = integers::<F>([n, k], 2);
        // The third matrix is every other column of a wider matrix, so that none of its strides is 1.
        let wide = integers::<F>([m, 2 * k], 3);
        for a in [a.view(), a_transposed.t(), wide.slice(s![.., ..;2])] {
            for b in [b.view(), b_transposed.t()] {
                let before = integers([m, n], 4);
                let nothing = Array2::zeros([m, n]);
                let unwritten = Array2::from_elem([m, n], F::from_f64(f64::NAN));
                for (beta, c, expected) in [
                    (F::one(), &before, expected(&a, &b, &before)),
                    (F::zero(), &unwritten, expected(&a, &b, &nothing)),
                ] {
                    let mut found = c.clone();
                    by_ndarray(&a, &b, beta, &mut found.view_mut());
                    assert_eq!(found, expected, "ndarray: {m}×{k}×{n}, beta {beta:?}");
                    #[cfg(feature = "gemm")]
                    {
                        let mut found = c.clone();
                        by_gemm(&a, &b, beta, &mut found.view_mut());
                        assert_eq!(found, expected, "gemm: {m}×{k}×{n}, beta {beta:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn products_are_exact_with_the_feature_and_without() {
        for shape in [[1, 1, 1], [1, 5, 1], [3, 1, 7], [17, 9, 33], [100, 784, 50]] {
            assert_exact::<f32>(shape);
            assert_exact::<f64>(shape);
        }
    }

    /// Products as in the forward and backward passes of layers, with shapes near those for which the crate `gemm` adds
    /// in another order.
    #[test]
    fn bits_do_not_depend_on_the_number_of_threads() {
        let values = |shape: [usize; 2], seed: u64| {
            let mut numbers = Numbers::new(seed);
            Array2::from_shape_fn(shape, |_| numbers.uniform())
        };
        for [m, k, n] in [
            [64, 1024, 65],
            [256, 784, 300],
            [1024, 520, 10],
            [300, 256, 1024],
        ] {
            let [a, a_transposed] = [values([m, k], 1), values([k, m], 2)];
            let [b, b_transposed] = [values([k, n], 3), values([n, k], 4)];
            for (a, b) in [
                (a.view(), b.view()),
                (a.view(), b_transposed.t()),
                (a_transposed.t(), b.view()),
            ] {
                let run = |threads| {
                    let mut c = Array2::<f32>::zeros([m, n]);
                    with_threads(threads, || product(&a, &b, &mut c.view_mut()));
                    c
                };
                let expected = run(1);
                for threads in [2, 3, 4, 8] {
                    assert!(run(threads) == expected, "{m}×{k}×{n}, {threads} threads");
                }
            }
        }
    }
}
