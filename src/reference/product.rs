//! Products of dense matrices: the one place that knows who computes them.

use ndarray::{Array2, ArrayBase, ArrayViewMut2, Data, Ix2};

use super::Float;

/// `c = a·b`.
pub(super) fn product<F: Float>(
    a: &ArrayBase<impl Data<Elem = F>, Ix2>,
    b: &ArrayBase<impl Data<Elem = F>, Ix2>,
    c: &mut ArrayViewMut2<'_, F>,
) {
    multiply(a, b, F::zero(), c);
}

/// `c = c + a·b`.
pub(super) fn add_product<F: Float>(
    a: &ArrayBase<impl Data<Elem = F>, Ix2>,
    b: &Array2<F>,
    c: &mut ArrayViewMut2<'_, F>,
) {
    multiply(a, b, F::one(), c);
}

/// `c = beta·c + a·b`; `beta` is 0 or 1.
#[cfg(not(feature = "gemm"))]
fn multiply<F: Float>(
    a: &ArrayBase<impl Data<Elem = F>, Ix2>,
    b: &ArrayBase<impl Data<Elem = F>, Ix2>,
    beta: F,
    c: &mut ArrayViewMut2<'_, F>,
) {
    ndarray::linalg::general_mat_mul(F::one(), a, b, beta, c);
}

/// Multiplications from which all cores take part, as two of them share the work with profit
/// (measured on two cores of an AMD EPYC).
#[cfg(feature = "gemm")]
const PARALLEL: usize = 1 << 22;

/// `c = beta·c + a·b`; `beta` is 0 or 1.
#[cfg(feature = "gemm")]
fn multiply<F: Float>(
    a: &ArrayBase<impl Data<Elem = F>, Ix2>,
    b: &ArrayBase<impl Data<Elem = F>, Ix2>,
    beta: F,
    c: &mut ArrayViewMut2<'_, F>,
) {
    let ((m, k), n) = (a.dim(), b.ncols());
    assert_eq!((b.nrows(), c.dim()), (k, (m, n)), "product: shapes");
    let parallelism = match m.saturating_mul(n).saturating_mul(k) {
        PARALLEL.. => gemm::Parallelism::Rayon(0),
        _ => gemm::Parallelism::None,
    };
    let [a_row, a_column] = strides(a);
    let [b_row, b_column] = strides(b);
    let [c_row, c_column] = strides(c);
    #[allow(unsafe_code)]
    // SAFETY: the pointers and strides are those of arrays of m×k, k×n and m×n elements, which live
    // until the call returns; `c` is borrowed mutably and so overlaps neither other.
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
            parallelism,
        );
    }
}

#[cfg(feature = "gemm")]
fn strides<F>(matrix: &ArrayBase<impl ndarray::RawData<Elem = F>, Ix2>) -> [isize; 2] {
    [matrix.strides()[0], matrix.strides()[1]]
}
