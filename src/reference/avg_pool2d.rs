use super::images::{extents, images, images_mut, pixel, places};
use super::{Backward, Float, Forward, Layer};
use crate::shape::Shape;

/// Average pooling with the stride `s` and the padding `p`:
/// `y[r,c,i,j] = Σ_{u,v} x[r,c,i·s+u−p, j·s+v−p] / pixels of the window`, without the terms outside of the image. A
/// pixel's `dx` is the sum of `dy / pixels of the window` over all windows that cover the pixel.
#[derive(Debug, Clone, Copy)]
pub struct AvgPool2d {
    /// Kernel size, stride and padding, each as `[height, width]`. `None` for global pooling: each image is one window.
    pub window: Option<[[usize; 2]; 3]>,
}

impl AvgPool2d {
    /// Returns the kernel size, stride and padding for images of this shape.
    fn window(&self, input: Shape) -> [[usize; 2]; 3] {
        let [_, height, width] = extents(input);
        let whole = [height, width];
        self.window.unwrap_or([whole, whole, [0, 0]])
    }

    /// Calls `see` with the indices of `y` and of `x` for every pixel of every window.
    fn for_each_pixel(
        &self,
        input: Shape,
        rows: usize,
        mut see: impl FnMut([usize; 4], [usize; 4]),
    ) {
        let [channels, height, width] = extents(input);
        let [kernel, stride, padding] = self.window(input);
        let [rows_of_y, columns_of_y] = self.output(input);
        let of_axis = |axis: usize| [stride[axis], padding[axis], 1];
        for r in 0..rows {
            for c in 0..channels {
                for i in 0..rows_of_y {
                    for j in 0..columns_of_y {
                        for at in 0..kernel[0] * kernel[1] {
                            let row = pixel([i, at / kernel[1]], of_axis(0), height);
                            let column = pixel([j, at % kernel[1]], of_axis(1), width);
                            if let (Some(row), Some(column)) = (row, column) {
                                see([r, c, i, j], [r, c, row, column]);
                            }
                        }
                    }
                }
            }
        }
    }

    fn output(&self, input: Shape) -> [usize; 2] {
        let [_, height, width] = extents(input);
        let [kernel, stride, padding] = self.window(input);
        [(0, height), (1, width)]
            .map(|(axis, extent)| places(extent, [kernel[axis], stride[axis], padding[axis], 1]))
    }

    fn pixels<F: Float>(&self, input: Shape) -> F {
        let [[height, width], ..] = self.window(input);
        F::from_f64((height * width) as f64)
    }
}

impl<F: Float> Layer<F> for AvgPool2d {
    fn forward(&self, pass: Forward<'_, F>) {
        let image = extents(pass.input);
        let [rows_of_y, columns_of_y] = self.output(pass.input);
        let rows = pass.x.nrows();
        let x = images(pass.x, image);
        let mut y = images_mut(pass.y, [image[0], rows_of_y, columns_of_y]);
        y.fill(F::zero());
        self.for_each_pixel(pass.input, rows, |of_y, of_x| y[of_y] += x[of_x]);
        let pixels = self.pixels::<F>(pass.input);
        y.mapv_inplace(|sum| sum / pixels);
    }

    fn backward(&self, pass: Backward<'_, F>) {
        let Some(dx) = pass.dx else { return };
        let image = extents(pass.input);
        let [rows_of_y, columns_of_y] = self.output(pass.input);
        let rows = pass.x.nrows();
        let dy = images(pass.dy, [image[0], rows_of_y, columns_of_y]);
        let mut dx = images_mut(dx, image);
        dx.fill(F::zero());
        let pixels = self.pixels::<F>(pass.input);
        self.for_each_pixel(pass.input, rows, |of_y, of_x| dx[of_x] += dy[of_y] / pixels);
    }
}
