use ndarray::{Array2, ArrayView4, ArrayViewMut4, Axis};

use super::images::{extents, images, images_mut, pixel, places};
use super::{Backward, Float, Forward, Layer};
use crate::shape::Shape;

/// Convolution with the stride `s`, the dilation `d` and the padding `p`:
/// `y[r,o,i,j] = b[o] + Σ_{c,u,v} w[o,c,u,v]·x[r,c,i·s+u·d−p, j·s+v·d−p]`, without the terms outside of the image. The
/// gradients are sums of similar products: `dw` sums `dy·x` over all rows and positions, `dx` sums `dy·w` over all
/// weights that a pixel was multiplied by, and `db` sums `dy`. A layer without the parameter `b` omits it.
#[derive(Debug, Clone, Copy)]
pub struct Conv2d {
    /// Height and width of the kernels.
    pub kernel: [usize; 2],
    /// Distance in pixels from one position of the kernel to the next.
    pub stride: [usize; 2],
    /// Width in pixels of the border of zeros around the image.
    pub padding: [usize; 2],
    /// Distance in pixels between neighboring weights of the kernel.
    pub dilation: [usize; 2],
}

impl Conv2d {
    fn output(&self, outputs: usize, input: Shape) -> [usize; 3] {
        let [_, height, width] = extents(input);
        let along = |axis: usize, extent| {
            let settings = [self.kernel, self.stride, self.padding, self.dilation];
            places(extent, settings.map(|of| of[axis]))
        };
        [outputs, along(0, height), along(1, width)]
    }

    /// Calls `see` with the indices of `y`, `w` and `x` for every product that contributes to one output of one row.
    fn for_each_product(
        &self,
        [channels, height, width]: [usize; 3],
        [rows_of_y, columns_of_y]: [usize; 2],
        mut see: impl FnMut([usize; 2], [usize; 3], [usize; 2]),
    ) {
        let axis = |axis: usize| [self.stride[axis], self.padding[axis], self.dilation[axis]];
        for i in 0..rows_of_y {
            for j in 0..columns_of_y {
                for c in 0..channels {
                    for u in 0..self.kernel[0] {
                        let Some(row) = pixel([i, u], axis(0), height) else {
                            continue;
                        };
                        for v in 0..self.kernel[1] {
                            if let Some(column) = pixel([j, v], axis(1), width) {
                                see([i, j], [c, u, v], [row, column]);
                            }
                        }
                    }
                }
            }
        }
    }
}

impl<F: Float> Layer<F> for Conv2d {
    fn forward(&self, pass: Forward<'_, F>) {
        let image = extents(pass.input);
        let outputs = pass.parameters[0].nrows();
        let output = self.output(outputs, pass.input);
        let x = images(pass.x, image);
        let w = self.weights(&pass.parameters[0], image);
        let mut y = images_mut(pass.y, output);
        let places = [output[1], output[2]];
        // ndarray indexes much faster with three indices than with four.
        for (x, mut y) in x.outer_iter().zip(y.outer_iter_mut()) {
            for (o, (w, mut y)) in w.outer_iter().zip(y.outer_iter_mut()).enumerate() {
                y.fill(pass.parameters.get(1).map_or(F::zero(), |b| b[(0, o)]));
                self.for_each_product(image, places, |y_at, [c, u, v], [p, q]| {
                    y[y_at] += w[(c, u, v)] * x[(c, p, q)];
                });
            }
        }
    }

    fn backward(&self, pass: Backward<'_, F>) {
        let image = extents(pass.input);
        let outputs = pass.parameters[0].nrows();
        let output = self.output(outputs, pass.input);
        let x = images(pass.x, image);
        let dy = images(pass.dy, output);
        let w = self.weights(&pass.parameters[0], image);
        let places = [output[1], output[2]];
        let [first, others @ ..] = pass.gradients else {
            return;
        };
        first.fill(F::zero());
        let mut dw = self.weights_mut(first, image);
        let mut dx = pass.dx.map(|dx| images_mut(dx, image));
        if let Some(dx) = &mut dx {
            dx.fill(F::zero());
        }
        for (r, (x, dy)) in x.outer_iter().zip(dy.outer_iter()).enumerate() {
            let mut dx = dx.as_mut().map(|dx| dx.index_axis_mut(Axis(0), r));
            let outputs = w.outer_iter().zip(dw.outer_iter_mut());
            for ((w, mut dw), dy) in outputs.zip(dy.outer_iter()) {
                self.for_each_product(image, places, |y_at, [c, u, v], [p, q]| {
                    dw[(c, u, v)] += dy[y_at] * x[(c, p, q)];
                    if let Some(dx) = &mut dx {
                        dx[(c, p, q)] += dy[y_at] * w[(c, u, v)];
                    }
                });
            }
        }
        if let [db] = others {
            for o in 0..outputs {
                db[(0, o)] = dy.index_axis(Axis(1), o).sum();
            }
        }
    }
}

impl Conv2d {
    /// Returns the weights as (outputs, channels, height, width).
    fn weights<'a, F>(&self, w: &'a Array2<F>, [channels, ..]: [usize; 3]) -> ArrayView4<'a, F> {
        images(w.view(), [channels, self.kernel[0], self.kernel[1]])
    }

    fn weights_mut<'a, F>(
        &self,
        w: &'a mut Array2<F>,
        [channels, ..]: [usize; 3],
    ) -> ArrayViewMut4<'a, F> {
        images_mut(w.view_mut(), [channels, self.kernel[0], self.kernel[1]])
    }
}
