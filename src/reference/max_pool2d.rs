use ndarray::ArrayView2;

use super::images::{extents, images, images_mut, pixel, places};
use super::{Backward, Float, Forward, Layer};
use crate::shape::Shape;

/// Max pooling with the stride `s` and the padding `p`: `y[r,c,i,j] = max_{u,v} x[r,c,i·s+u−p, j·s+v−p]` over the
/// pixels inside the image. The gradient goes to the winner: the first of a window's largest values, row by row. A NaN
/// counts as the largest value.
#[derive(Debug, Clone, Copy)]
pub struct MaxPool2d {
    /// Height and width of a window.
    pub kernel: [usize; 2],
    /// Distance in pixels from one window to the next.
    pub stride: [usize; 2],
    /// Number of pixels by which windows may extend beyond each side of the image.
    pub padding: [usize; 2],
}

impl MaxPool2d {
    /// Calls `see` for every element of `y`, with its indices (row, channel, i, j), the indices of its winner in the
    /// image, and the winner's position in its window.
    fn for_each_winner<F: Float>(
        &self,
        (x, input): (ArrayView2<'_, F>, Shape),
        mut see: impl FnMut([usize; 4], [usize; 2], usize),
    ) {
        let [channels, height, width] = extents(input);
        let [kernel_height, kernel_width] = self.kernel;
        let of_axis = |axis: usize| [self.stride[axis], self.padding[axis], 1];
        let [rows_of_y, columns_of_y] = self.output(input);
        let x = images(x, [channels, height, width]);
        for r in 0..x.dim().0 {
            for c in 0..channels {
                for i in 0..rows_of_y {
                    for j in 0..columns_of_y {
                        let mut winner: Option<(F, [usize; 2], usize)> = None;
                        for at in 0..kernel_height * kernel_width {
                            let [u, v] = [at / kernel_width, at % kernel_width];
                            let row = pixel([i, u], of_axis(0), height);
                            let column = pixel([j, v], of_axis(1), width);
                            let (Some(row), Some(column)) = (row, column) else {
                                continue;
                            };
                            let value = x[(r, c, row, column)];
                            let is_larger = winner.is_none_or(|(largest, ..)| {
                                value > largest || (value.is_nan() && !largest.is_nan())
                            });
                            if is_larger {
                                winner = Some((value, [row, column], at));
                            }
                        }
                        if let Some((_, pixel, at)) = winner {
                            see([r, c, i, j], pixel, at);
                        }
                    }
                }
            }
        }
    }

    fn output(&self, input: Shape) -> [usize; 2] {
        let [_, height, width] = extents(input);
        [(0, height), (1, width)].map(|(axis, extent)| {
            let [kernel, stride, padding] =
                [self.kernel, self.stride, self.padding].map(|of| of[axis]);
            places(extent, [kernel, stride, padding, 1])
        })
    }
}

impl<F: Float> Layer<F> for MaxPool2d {
    fn forward(&self, pass: Forward<'_, F>) {
        let image = extents(pass.input);
        let [rows_of_y, columns_of_y] = self.output(pass.input);
        let output = [image[0], rows_of_y, columns_of_y];
        let x = images(pass.x, image);
        let mut y = images_mut(pass.y, output);
        // Callers allocate this array if they follow the layer's spec, but the function also works without it.
        let mut kept = pass
            .kept
            .first_mut()
            .map(|kept| images_mut(kept.view_mut(), output));
        self.for_each_winner((pass.x, pass.input), |[r, c, i, j], [p, q], at| {
            y[(r, c, i, j)] = x[(r, c, p, q)];
            if let Some(kept) = &mut kept {
                kept[(r, c, i, j)] = F::from_f64(at as f64);
            }
        });
    }

    fn backward(&self, pass: Backward<'_, F>) {
        let Some(dx) = pass.dx else { return };
        let image = extents(pass.input);
        let [rows_of_y, columns_of_y] = self.output(pass.input);
        let dy = images(pass.dy, [image[0], rows_of_y, columns_of_y]);
        let mut dx = images_mut(dx, image);
        dx.fill(F::zero());
        self.for_each_winner((pass.x, pass.input), |[r, c, i, j], [p, q], _| {
            dx[(r, c, p, q)] += dy[(r, c, i, j)];
        });
    }
}
