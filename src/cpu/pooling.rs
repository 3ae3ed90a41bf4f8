//! Fast pooling: the formulas of [`reference::MaxPool2d`](crate::reference::MaxPool2d) and
//! [`reference::AvgPool2d`](crate::reference::AvgPool2d), computed for a row of windows at a time. Several cores divide
//! the images among them.

use std::ops::Range;

use multiversion::multiversion;
use ndarray::{ArrayView2, ArrayViewMut2};

use super::cores::{for_each_part, rows_of_part};
use super::dense::dense;
use crate::ops;
use crate::ops::{Size2, Window};
use crate::reference::{Backward, Float, Forward, Layer};
use crate::shape::Shape;

/// Minimum number of pixels for which several cores share them. For fewer, one core is faster.
const SHARED: usize = 1 << 16;

/// Max pooling. All arrays are contiguous in memory, row by row.
#[derive(Debug, Clone, Copy)]
pub(super) struct MaxPool2d {
    window: Window,
    /// Whether the backward pass of the `Relu` before the layer is fused with this layer's. Then a window whose largest
    /// value is at most 0 has no winner (no pixel that counts as the largest), so that no pixel gets the gradient of
    /// this window.
    is_behind_relu: bool,
}

/// Average pooling. All arrays are contiguous in memory, row by row.
#[derive(Debug, Clone, Copy)]
pub(super) struct AvgPool2d {
    layer: ops::AvgPool2d,
}

impl MaxPool2d {
    /// Returns the fast form of a layer.
    pub(super) fn of(layer: ops::MaxPool2d, is_behind_relu: bool) -> Self {
        Self {
            window: layer.window(),
            is_behind_relu,
        }
    }
}

impl AvgPool2d {
    /// Returns the fast form of a layer.
    pub(super) fn of(layer: ops::AvgPool2d) -> Self {
        Self { layer }
    }

    fn planes(self, input: Shape) -> Planes {
        match *input.extents() {
            [_, height, width] => Planes::new(self.layer.window([height, width]), input),
            _ => unreachable!("cpu::AvgPool2d: {input} is no image"),
        }
    }
}

/// The windows over a plane of pixels. Each channel of an image is a plane.
#[derive(Debug, Clone, Copy)]
struct Planes {
    window: Window,
    /// Height and width of a plane.
    image: [usize; 2],
    /// Number of rows of windows, and number of windows per row.
    places: [usize; 2],
}

/// For a row of windows and one pixel of the kernel: the pixels of the plane on which this kernel pixel lies.
struct Line {
    /// The windows of the row in which the kernel pixel lies on the image, not on its padding, as a range of window
    /// indices in the plane.
    windows: Range<usize>,
    /// The index in the plane of the pixel on which the kernel pixel lies in the first of `windows`.
    pixel: usize,
    /// The index of the kernel pixel within a window.
    at: usize,
}

impl Planes {
    fn new(window: Window, input: Shape) -> Self {
        let (&[_, height, width], Ok(places)) = (input.extents(), window.output(&input)) else {
            unreachable!("cpu::pooling: the specification has refused {input}");
        };
        Self {
            window,
            image: [height, width],
            places,
        }
    }

    /// Number of pixels of a plane.
    fn pixels(&self) -> usize {
        self.image[0] * self.image[1]
    }

    /// Number of windows of a plane.
    fn windows(&self) -> usize {
        self.places[0] * self.places[1]
    }

    /// Distance in pixels between neighboring windows of a row.
    fn stride(&self) -> usize {
        self.window.stride.width
    }

    /// Whether the windows are 2×2 pixels without overlap, gaps or padding.
    fn are_pairs(&self) -> bool {
        let two = Size2::from(2);
        let Window {
            kernel,
            stride,
            padding,
            ..
        } = self.window;
        kernel == two && stride == two && padding == Size2::from(0)
    }

    /// Calls `see` with every line of a plane, except lines without a pixel inside the image. The lines of a row of
    /// windows come in the order of the kernel's pixels.
    #[inline(always)]
    fn for_each_line(&self, mut see: impl FnMut(Line)) {
        let Window {
            kernel,
            stride,
            padding,
            ..
        } = self.window;
        for row in 0..self.places[0] {
            for u in 0..kernel.height {
                let pixel = (row * stride.height + u).checked_sub(padding.height);
                let Some(pixel) = pixel.filter(|&pixel| pixel < self.image[0]) else {
                    continue;
                };
                for v in 0..kernel.width {
                    let first = padding.width.saturating_sub(v).div_ceil(stride.width);
                    let end = (self.image[1] + padding.width).saturating_sub(v);
                    let end = end.div_ceil(stride.width).min(self.places[1]);
                    if first < end {
                        let windows = row * self.places[1];
                        let column = first * stride.width + v - padding.width;
                        see(Line {
                            windows: windows + first..windows + end,
                            pixel: pixel * self.image[1] + column,
                            at: u * kernel.width + v,
                        });
                    }
                }
            }
        }
    }
}

/// Cuts the rows into parts and returns the elements of each part.
fn parts<'a, F>(x: &ArrayView2<'a, F>) -> impl Iterator<Item = &'a [F]> + use<'a, F> {
    dense(x.to_slice()).chunks(len_of_part(x.dim()))
}

/// Cuts the rows into parts and returns the mutable elements of each part.
fn parts_mut<'a, F>(x: ArrayViewMut2<'a, F>) -> impl Iterator<Item = &'a mut [F]> + use<'a, F> {
    let len = len_of_part(x.dim());
    dense(x.into_slice()).chunks_mut(len)
}

fn len_of_part((rows, columns): (usize, usize)) -> usize {
    (rows_of_part(rows) * columns).max(1)
}

impl<F: Float> Layer<F> for MaxPool2d {
    fn forward(&self, pass: Forward<'_, F>) {
        let planes = Planes::new(self.window, pass.input);
        let [winner] = pass.kept else {
            unreachable!("cpu::MaxPool2d keeps one value of each window");
        };
        let is_shared = pass.x.len() >= SHARED;
        let outputs = parts_mut(pass.y).zip(parts_mut(winner.view_mut()));
        let parts = parts(&pass.x).zip(outputs);
        for_each_part(parts, is_shared, |(x, (y, winner))| {
            if planes.are_pairs() {
                largest_of_pairs(&planes, x, y, winner);
            } else {
                largest(&planes, x, y, winner);
            }
            if self.is_behind_relu {
                forget_winners(y, winner);
            }
        });
    }

    fn backward(&self, pass: Backward<'_, F>) {
        let Some(dx) = pass.dx else { return };
        let planes = Planes::new(self.window, pass.input);
        let winner = pass.kept[0].view();
        let is_shared = pass.x.len() >= SHARED;
        let from = parts(&pass.dy).zip(parts(&winner));
        for_each_part(parts_mut(dx).zip(from), is_shared, |(dx, (dy, winner))| {
            if planes.are_pairs() {
                to_winners_of_pairs(&planes, [dy, winner], dx);
            } else {
                to_winners(&planes, [dy, winner], dx);
            }
        });
    }
}

/// Whether `x` replaces `largest`, the largest of a window's pixels so far. A NaN counts as larger than all numbers.
#[inline(always)]
fn is_larger<F: Float>(x: F, largest: F) -> bool {
    (x > largest) | (x.is_nan() & !largest.is_nan())
}

/// Writes the largest value of every window to `y`, and the index of its pixel within the window to `winner`.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn largest<F: Float>(planes: &Planes, x: &[F], y: &mut [F], winner: &mut [F]) {
    y.fill(F::neg_infinity());
    let none = F::zero() - F::one();
    winner.fill(none);
    let y = y.chunks_mut(planes.windows());
    let winner = winner.chunks_mut(planes.windows());
    for (x, (y, winner)) in x.chunks(planes.pixels()).zip(y.zip(winner)) {
        planes.for_each_line(|line| {
            let y = &mut y[line.windows.clone()];
            let winner = &mut winner[line.windows];
            let at = F::from_f64(line.at as f64);
            let x = x[line.pixel..].iter().step_by(planes.stride());
            for ((y, winner), &x) in y.iter_mut().zip(winner).zip(x) {
                if is_larger(x, *y) | (*winner < F::zero()) {
                    (*y, *winner) = (x, at);
                }
            }
        });
    }
}

/// Removes the winner of windows whose largest value is at most 0: the `Relu` before the pooling passes no gradient
/// there.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn forget_winners<F: Float>(y: &[F], winner: &mut [F]) {
    let none = F::zero() - F::one();
    for (&y, winner) in y.iter().zip(winner) {
        *winner = if y <= F::zero() { none } else { *winner };
    }
}

/// Adds each window's gradient to the pixel that was the largest in the window.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn to_winners<F: Float>(planes: &Planes, [dy, winner]: [&[F]; 2], dx: &mut [F]) {
    dx.fill(F::zero());
    let dy = dy.chunks(planes.windows());
    let winner = winner.chunks(planes.windows());
    for (dx, (dy, winner)) in dx.chunks_mut(planes.pixels()).zip(dy.zip(winner)) {
        planes.for_each_line(|line| {
            let dy = &dy[line.windows.clone()];
            let winner = &winner[line.windows];
            let at = F::from_f64(line.at as f64);
            let dx = dx[line.pixel..].iter_mut().step_by(planes.stride());
            for ((dx, &dy), &winner) in dx.zip(dy).zip(winner) {
                *dx += if winner == at { dy } else { F::zero() };
            }
        });
    }
}

/// A faster [`largest`] for adjacent 2×2 windows.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn largest_of_pairs<F: Float>(planes: &Planes, x: &[F], y: &mut [F], winner: &mut [F]) {
    let [zero, one] = [F::zero(), F::one()];
    let width = planes.image[1];
    let lines = y.chunks_mut(planes.places[1]);
    let lines = lines.zip(winner.chunks_mut(planes.places[1]));
    let pairs = x
        .chunks(planes.pixels())
        .flat_map(|plane| plane.chunks_exact(2 * width));
    for (pair, (y, winner)) in pairs.zip(lines) {
        let (upper, lower) = pair.split_at(width);
        let pixels = upper.chunks_exact(2).zip(lower.chunks_exact(2));
        for ((upper, lower), (y, winner)) in pixels.zip(y.iter_mut().zip(winner)) {
            let mut best = upper[0];
            let mut at = zero;
            for (x, of) in [
                (upper[1], one),
                (lower[0], one + one),
                (lower[1], one + one + one),
            ] {
                let is_larger = is_larger(x, best);
                best = if is_larger { x } else { best };
                at = if is_larger { of } else { at };
            }
            (*y, *winner) = (best, at);
        }
    }
}

/// A faster [`to_winners`] for adjacent 2×2 windows.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn to_winners_of_pairs<F: Float>(planes: &Planes, [dy, winner]: [&[F]; 2], dx: &mut [F]) {
    let [zero, one] = [F::zero(), F::one()];
    let [width, places] = [planes.image[1], planes.places[1]];
    let of_plane = dy
        .chunks(planes.windows())
        .zip(winner.chunks(planes.windows()));
    for (dx, (dy, winner)) in dx.chunks_mut(planes.pixels()).zip(of_plane) {
        let (covered, below) = dx.split_at_mut(2 * width * planes.places[0]);
        below.fill(zero);
        let lines = dy.chunks(places).zip(winner.chunks(places));
        for (pair, (dy, winner)) in covered.chunks_exact_mut(2 * width).zip(lines) {
            let (upper, lower) = pair.split_at_mut(width);
            // If the width is odd, the last column is in no window.
            (upper[width - 1], lower[width - 1]) = (zero, zero);
            let pixels = upper.chunks_exact_mut(2).zip(lower.chunks_exact_mut(2));
            for ((upper, lower), (&dy, &winner)) in pixels.zip(dy.iter().zip(winner)) {
                let share = |at: F| if winner == at { dy } else { zero };
                (upper[0], upper[1]) = (share(zero), share(one));
                (lower[0], lower[1]) = (share(one + one), share(one + one + one));
            }
        }
    }
}

impl<F: Float> Layer<F> for AvgPool2d {
    fn forward(&self, pass: Forward<'_, F>) {
        let planes = self.planes(pass.input);
        let is_shared = pass.x.len() >= SHARED;
        let pixels = F::from_f64(planes.window.len() as f64);
        for_each_part(
            parts(&pass.x).zip(parts_mut(pass.y)),
            is_shared,
            |(x, y)| {
                y.fill(F::zero());
                let all = x
                    .chunks(planes.pixels())
                    .zip(y.chunks_mut(planes.windows()));
                for (x, y) in all {
                    planes.for_each_line(|line| {
                        let x = x[line.pixel..].iter().step_by(planes.stride());
                        let y = &mut y[line.windows];
                        y.iter_mut().zip(x).for_each(|(y, &x)| *y += x);
                    });
                    y.iter_mut().for_each(|y| *y /= pixels);
                }
            },
        );
    }

    fn backward(&self, pass: Backward<'_, F>) {
        let Some(dx) = pass.dx else { return };
        let planes = self.planes(pass.input);
        let is_shared = pass.x.len() >= SHARED;
        let pixels = F::from_f64(planes.window.len() as f64);
        for_each_part(parts(&pass.dy).zip(parts_mut(dx)), is_shared, |(dy, dx)| {
            dx.fill(F::zero());
            let all = dy
                .chunks(planes.windows())
                .zip(dx.chunks_mut(planes.pixels()));
            for (dy, dx) in all {
                planes.for_each_line(|line| {
                    let dx = dx[line.pixel..].iter_mut().step_by(planes.stride());
                    let dy = &dy[line.windows];
                    dx.zip(dy).for_each(|(dx, &dy)| *dx += dy / pixels);
                });
            }
        });
    }
}
