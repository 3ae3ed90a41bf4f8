//! Fast convolution: the formulas of [`reference::Conv2d`](crate::reference::Conv2d) as matrix products (im2col). At
//! each of its positions on an image (`places`), the kernel gives one output pixel. The pixels under the kernel at one
//! position are copied to a column of a matrix. An image is computed in blocks: a block is some rows of kernel
//! positions. The matrix of a block fits in a core's cache. Several cores divide the images among them.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};

use super::cores::{PARTS, for_each_part, rows_of_part};
use super::dense::dense;
use super::product::{add_product, is_shared, product};
use super::relu::rectify;
use super::workspace::{matrix, matrix_mut};
use crate::ops;
use crate::ops::Window;
use crate::reference::{Backward, Float, Forward, Layer};
use crate::shape::Shape;

/// Number of elements that the im2col matrix of a block should have at most: this many fit in a core's second-level
/// cache. A block consists of whole rows of kernel positions, so its matrix may have more elements, but the excess is
/// less than one row of positions.
const BLOCK: usize = 1 << 16;

/// The layer. All arrays are contiguous in memory, row by row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conv2d {
    outputs: usize,
    window: Window,
}

/// The sizes of images, kernel and outputs in a pass.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    window: Window,
    channels: usize,
    image: [usize; 2],
    outputs: usize,
    /// Number of rows of kernel positions, and of positions per row: the height and width of an output image.
    places: [usize; 2],
}

impl Conv2d {
    /// Returns the fast form of a layer.
    pub(super) fn of(layer: &ops::Conv2d) -> Self {
        Self {
            outputs: layer.outputs(),
            window: layer.window(),
        }
    }

    /// Returns the maximum number of elements of scratch memory of a pass: the im2col matrix of a block and the sums
    /// of gradients, for every part of the images.
    pub(super) fn scratch(&self, input: Shape) -> u64 {
        let sizes = self.sizes(input);
        let sums = self.outputs.saturating_mul(sizes.depth() + 1);
        (PARTS as u64).saturating_mul(sizes.block().saturating_add(sums) as u64)
    }

    fn sizes(&self, input: Shape) -> Sizes {
        let &[channels, height, width] = input.extents() else {
            unreachable!("cpu::Conv2d: {input} is no image");
        };
        let Ok(places) = self.window.output(&input) else {
            unreachable!("cpu::Conv2d: its specification has refused {input}");
        };
        Sizes {
            window: self.window,
            channels,
            image: [height, width],
            outputs: self.outputs,
            places,
        }
    }
}

impl Sizes {
    /// Number of products per output pixel: the kernel's weights, over all input channels.
    fn depth(&self) -> usize {
        self.channels * self.window.len()
    }

    /// Number of kernel positions per image.
    fn area(&self) -> usize {
        self.places[0] * self.places[1]
    }

    /// Number of rows of kernel positions per block.
    fn rows_of_block(&self) -> usize {
        let blocks = (self.depth() * self.area()).div_ceil(BLOCK);
        self.places[0].div_ceil(blocks).max(1)
    }

    /// Number of elements in the im2col matrix of a block.
    fn block(&self) -> usize {
        self.depth() * self.rows_of_block() * self.places[1]
    }

    /// Returns, for each block, its range of rows of kernel positions.
    fn blocks(self) -> impl Iterator<Item = Range<usize>> {
        let rows = self.rows_of_block();
        let firsts = (0..self.places[0]).step_by(rows);
        firsts.map(move |first| first..self.places[0].min(first + rows))
    }

    /// Returns the range of kernel positions in a range of rows of positions.
    fn columns(&self, rows: &Range<usize>) -> Range<usize> {
        rows.start * self.places[1]..rows.end * self.places[1]
    }

    /// Whether several cores share the work on `images` images.
    fn is_shared(&self, images: usize) -> bool {
        let of_image = self.outputs.saturating_mul(self.depth() * self.area());
        is_shared(of_image.saturating_mul(images))
    }

    /// Loops over every weight of the kernel and every row of kernel positions in `rows`. For each weight, the
    /// positions of a row read a line of pixels: one pixel each. Calls `see` with the index in `columns` at which the
    /// line begins, the range of positions in the row whose pixel is inside the image, and the index in the image of
    /// the first of these pixels. If no pixel of the line is inside the image, calls `none` with the index in `columns`
    /// at which the line begins.
    fn for_each_line<C>(
        &self,
        rows: &Range<usize>,
        columns: &mut C,
        mut see: impl FnMut(&mut C, usize, &Range<usize>, usize),
        none: impl Fn(&mut C, usize),
    ) {
        let Window {
            kernel,
            stride,
            padding,
            dilation,
        } = self.window;
        let [height, width] = self.image;
        let mut at = 0;
        for channel in 0..self.channels {
            for u in 0..kernel.height {
                for v in 0..kernel.width {
                    let (inner, first) = self.inner(v);
                    let mut padded = rows.start * stride.height + u * dilation.height;
                    for _ in rows.clone() {
                        let row = padded.wrapping_sub(padding.height);
                        if row < height && !inner.is_empty() {
                            let pixel = (channel * height + row) * width + first;
                            see(columns, at, &inner, pixel);
                        } else {
                            none(columns, at);
                        }
                        padded += stride.height;
                        at += self.places[1];
                    }
                }
            }
        }
    }

    /// For the weights in column `v` of the kernel: returns the range of kernel positions, within a row, at which these
    /// weights lie on the image and not on its padding. Also returns the image column on which they lie at the first of
    /// these positions.
    fn inner(&self, v: usize) -> (Range<usize>, usize) {
        let stride = self.window.stride.width;
        let padding = self.window.padding.width;
        let offset = v * self.window.dilation.width;
        let first = padding.saturating_sub(offset).div_ceil(stride);
        let end = (self.image[1] + padding)
            .saturating_sub(offset)
            .div_ceil(stride)
            .min(self.places[1]);
        let first = first.min(end);
        (
            first..end,
            (first * stride + offset).saturating_sub(padding),
        )
    }

    /// Copies the pixels under the kernel to `columns` (im2col): one row per weight, one column per kernel
    /// position.
    fn gather<F: Float>(&self, image: &[F], rows: &Range<usize>, mut columns: &mut [F]) {
        let width = self.places[1];
        let stride = self.window.stride.width;
        let see = |columns: &mut &mut [F], at: usize, inner: &Range<usize>, pixel: usize| {
            let to = &mut columns[at..at + width];
            to[..inner.start].fill(F::zero());
            to[inner.end..].fill(F::zero());
            let to = &mut to[inner.clone()];
            let from = &image[pixel..];
            match stride {
                1 => to.copy_from_slice(&from[..to.len()]),
                _ => {
                    let from = from.iter().step_by(stride);
                    to.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
                }
            }
        };
        self.for_each_line(rows, &mut columns, see, |columns, at| {
            columns[at..at + width].fill(F::zero());
        });
    }

    /// The reverse of [`gather`](Self::gather): adds each element of `columns` to the pixel from which `gather` would
    /// copy it.
    fn scatter<F: Float>(&self, columns: &[F], rows: &Range<usize>, mut image: &mut [F]) {
        let stride = self.window.stride.width;
        let see = |image: &mut &mut [F], at: usize, inner: &Range<usize>, pixel: usize| {
            let from = &columns[at + inner.start..at + inner.end];
            let to = &mut image[pixel..];
            match stride {
                1 => to.iter_mut().zip(from).for_each(|(to, &from)| *to += from),
                _ => {
                    let to = to.iter_mut().step_by(stride);
                    to.zip(from).for_each(|(to, &from)| *to += from);
                }
            }
        };
        self.for_each_line(rows, &mut image, see, |_, _| {});
    }

    /// Returns an output image as a matrix: one row per channel, one column per pixel.
    fn outputs_of<'a, F>(&self, image: &'a [F]) -> ArrayView2<'a, F> {
        matrix(image, [self.outputs, self.area()])
    }
}

impl Conv2d {
    /// Computes the forward pass of the layer; with `relu`, also of the `Relu` after it.
    pub(super) fn forward_with<F: Float>(&self, pass: Forward<'_, F>, relu: bool) {
        let sizes = self.sizes(pass.input);
        let x = pass.x;
        let mut y = pass.y;
        let w = pass.parameters[0].view();
        let b = pass.parameters.get(1);
        let images = rows_of_part(x.nrows());
        let parts = x.axis_chunks_iter(Axis(0), images);
        let parts = parts.zip(y.axis_chunks_iter_mut(Axis(0), images));
        for_each_part(parts, sizes.is_shared(x.nrows()), |(x, mut y)| {
            let mut columns = vec![F::zero(); sizes.block()];
            for (x, mut y) in x.outer_iter().zip(y.outer_iter_mut()) {
                let x = dense(x.as_slice());
                let y = dense(y.as_slice_mut());
                for rows in sizes.blocks() {
                    let places = sizes.columns(&rows);
                    sizes.gather(x, &rows, &mut columns);
                    let columns = matrix(&columns, [sizes.depth(), places.len()]);
                    let mut y = matrix_mut(y, [sizes.outputs, sizes.area()]);
                    let mut y = y.slice_mut(s![.., places]);
                    match b {
                        Some(b) => {
                            let lines = y.outer_iter_mut().zip(b);
                            lines.for_each(|(mut line, &b)| line.fill(b));
                            add_product(&w, &columns, &mut y);
                        }
                        None => product(&w, &columns, &mut y),
                    }
                }
                if relu {
                    rectify(y);
                }
            }
        });
    }
}

impl<F: Float> Layer<F> for Conv2d {
    fn forward(&self, pass: Forward<'_, F>) {
        self.forward_with(pass, false);
    }

    fn backward(&self, pass: Backward<'_, F>) {
        let sizes = self.sizes(pass.input);
        let x = pass.x;
        let dy = pass.dy;
        let w = pass.parameters[0].view();
        let images = rows_of_part(x.nrows());
        let is_shared = sizes.is_shared(x.nrows());
        let mut sums: Vec<Sums<F>> = Vec::new();
        sums.resize_with(x.nrows().div_ceil(images), || Sums::new(&sizes));
        let parts = x.axis_chunks_iter(Axis(0), images);
        let parts = parts.zip(dy.axis_chunks_iter(Axis(0), images));
        for_each_part(parts.zip(&mut sums), is_shared, |((x, dy), sums)| {
            sums.add(&sizes, x, dy);
        });
        if let [dw, others @ ..] = pass.gradients {
            Sums::total(&sums, dw, others.first_mut());
        }
        if let Some(mut dx) = pass.dx {
            let parts = dy.axis_chunks_iter(Axis(0), images);
            let parts = parts.zip(dx.axis_chunks_iter_mut(Axis(0), images));
            for_each_part(parts, is_shared, |(dy, dx)| {
                input_gradient(&sizes, w, dy, dx);
            });
        }
    }
}

/// The gradients with respect to the parameters, summed over one part of the images. They are later summed over all
/// parts in order, so that their bits depend only on the number of images, not on the number of cores.
struct Sums<F> {
    dw: Array2<F>,
    db: Vec<F>,
}

impl<F: Float> Sums<F> {
    fn new(sizes: &Sizes) -> Self {
        Self {
            dw: Array2::zeros((sizes.outputs, sizes.depth())),
            db: vec![F::zero(); sizes.outputs],
        }
    }

    fn add(&mut self, sizes: &Sizes, x: ArrayView2<'_, F>, dy: ArrayView2<'_, F>) {
        let mut columns = vec![F::zero(); sizes.block()];
        for (x, dy) in x.outer_iter().zip(dy.outer_iter()) {
            let dy = sizes.outputs_of(dense(dy.to_slice()));
            for rows in sizes.blocks() {
                let places = sizes.columns(&rows);
                sizes.gather(dense(x.to_slice()), &rows, &mut columns);
                let columns = matrix(&columns, [sizes.depth(), places.len()]);
                let dy = dy.slice(s![.., places]);
                add_product(&dy, &columns.t(), &mut self.dw.view_mut());
            }
            for (db, dy) in self.db.iter_mut().zip(dy.outer_iter()) {
                *db += dy.sum();
            }
        }
    }

    /// Sums the gradients of all parts, in order.
    fn total(parts: &[Self], dw: &mut Array2<F>, db: Option<&mut Array2<F>>) {
        dw.fill(F::zero());
        for part in parts {
            *dw += &part.dw;
        }
        if let Some(db) = db {
            db.fill(F::zero());
            for part in parts {
                db.iter_mut()
                    .zip(&part.db)
                    .for_each(|(db, &part)| *db += part);
            }
        }
    }
}

fn input_gradient<F: Float>(
    sizes: &Sizes,
    w: ArrayView2<'_, F>,
    dy: ArrayView2<'_, F>,
    mut dx: ArrayViewMut2<'_, F>,
) {
    let mut columns = vec![F::zero(); sizes.block()];
    dx.fill(F::zero());
    for (dy, mut dx) in dy.outer_iter().zip(dx.outer_iter_mut()) {
        let dy = sizes.outputs_of(dense(dy.to_slice()));
        let dx = dense(dx.as_slice_mut());
        for rows in sizes.blocks() {
            let places = sizes.columns(&rows);
            let mut of_columns = matrix_mut(&mut columns, [sizes.depth(), places.len()]);
            product(&w.t(), &dy.slice(s![.., places]), &mut of_columns);
            sizes.scatter(&columns, &rows, dx);
        }
    }
}

#[cfg(test)]
mod tests;
