//! Rows as images, (rows, channels, height, width), and the pixels under a window.

use ndarray::{ArrayView2, ArrayView4, ArrayViewMut2, ArrayViewMut4};

use crate::shape::Shape;

/// Returns rows as images. A row holds one channel after another, and each channel row by row.
pub(super) fn images<F>(x: ArrayView2<'_, F>, shape: [usize; 3]) -> ArrayView4<'_, F> {
    let [channels, height, width] = shape;
    let all = (x.nrows(), channels, height, width);
    match x.into_shape_with_order(all) {
        Ok(images) => images,
        Err(error) => panic!("images of {shape:?}: {error}"),
    }
}

/// Returns rows as mutable images: see [`images`].
pub(super) fn images_mut<F>(x: ArrayViewMut2<'_, F>, shape: [usize; 3]) -> ArrayViewMut4<'_, F> {
    let [channels, height, width] = shape;
    let all = (x.nrows(), channels, height, width);
    match x.into_shape_with_order(all) {
        Ok(images) => images,
        Err(error) => panic!("images of {shape:?}: {error}"),
    }
}

/// Returns the channels, height and width of an image.
pub(super) fn extents(shape: Shape) -> [usize; 3] {
    match *shape.extents() {
        [channels, height, width] => [channels, height, width],
        _ => panic!("{shape} is no image"),
    }
}

/// Returns the number of positions of a window of `kernel` pixels along an axis of `extent` pixels.
pub(super) fn places(extent: usize, [kernel, stride, padding, dilation]: [usize; 4]) -> usize {
    (extent + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1
}

/// Returns the position in the image, along one axis, of pixel `of_kernel` of the window at position `place`. Returns
/// `None` if the pixel is in the padding.
pub(super) fn pixel(
    [place, of_kernel]: [usize; 2],
    [stride, padding, dilation]: [usize; 3],
    extent: usize,
) -> Option<usize> {
    let padded = place * stride + of_kernel * dilation;
    padded.checked_sub(padding).filter(|&pixel| pixel < extent)
}
