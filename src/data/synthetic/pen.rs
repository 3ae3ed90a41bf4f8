//! Draws strokes. A stroke is a smooth curve through points. The ink of a pixel depends on its distance from the curve.

use super::glyphs::Point;

/// Pixels per side of an image.
pub(super) const SIDE: usize = 28;

/// Pixels per image.
pub(super) const PIXELS: usize = SIDE * SIDE;

/// The center of the image in pixel coordinates, in which the centers of pixels are integers.
const MIDDLE: f32 = 13.5;

/// Number of straight lines that approximate the curve between two neighboring points.
const PIECES: u8 = 5;

/// A point of the pen's path, with the radius of the pen at this point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Dot {
    pub(super) at: Point,
    pub(super) radius: f32,
}

/// An image that is being drawn. For every pixel, it stores how deep the pixel's center is inside the ink.
///
/// Depth is in pixels, and negative outside the ink. Where strokes overlap, the larger depth counts, so that their ink
/// does not add up.
pub(super) struct Canvas {
    depth: [f32; PIXELS],
    /// Distance outside the ink, in pixels, up to which a pixel still gets some ink.
    reach: f32,
}

impl Canvas {
    pub(super) fn new(softness: f32) -> Self {
        Self {
            depth: [f32::NEG_INFINITY; PIXELS],
            reach: softness / 2.0,
        }
    }

    /// Draws one stroke: a Catmull-Rom curve through `dots`. Two equal neighboring dots make a corner. If the first and
    /// the last dot are equal, the curve closes smoothly.
    pub(super) fn stroke(&mut self, dots: &[Dot]) {
        let spans = dots.len() - 1;
        let ring = dots[0] == dots[spans];
        let before = |index: usize| match index {
            0 if ring => spans - 1,
            _ => index.saturating_sub(1),
        };
        let after = |index: usize| match index {
            _ if index <= spans => index,
            _ if ring => 1,
            _ => spans,
        };
        for (index, pair) in dots.windows(2).enumerate() {
            if pair[0] == pair[1] {
                continue;
            }
            let around = [
                dots[before(index)].at,
                pair[0].at,
                pair[1].at,
                dots[after(index + 2)].at,
            ];
            let mut from = pair[0];
            for piece in 1..=PIECES {
                let t = f32::from(piece) / f32::from(PIECES);
                let to = Dot {
                    at: [0, 1].map(|axis| catmull_rom(around.map(|point| point[axis]), t)),
                    radius: pair[0].radius + (pair[1].radius - pair[0].radius) * t,
                };
                self.line(from, to);
                from = to;
            }
        }
    }

    /// Draws a straight line.
    fn line(&mut self, from: Dot, to: Dot) {
        let reach = from.radius.max(to.radius) + self.reach;
        let span = |axis: usize| {
            let a = from.at[axis] + MIDDLE;
            let b = to.at[axis] + MIDDLE;
            (pixel(a.min(b) - reach), pixel(a.max(b) + reach + 1.0))
        };
        let (left, right) = span(0);
        let (top, bottom) = span(1);
        let [dx, dy] = [to.at[0] - from.at[0], to.at[1] - from.at[1]];
        let scale = 1.0 / (dx * dx + dy * dy).max(1e-6);
        for row in top..bottom {
            let y = coordinate(row) - from.at[1];
            for column in left..right {
                let x = coordinate(column) - from.at[0];
                let along = ((x * dx + y * dy) * scale).clamp(0.0, 1.0);
                let off_x = x - along * dx;
                let off_y = y - along * dy;
                let distance = (off_x * off_x + off_y * off_y).sqrt();
                let depth = from.radius + (to.radius - from.radius) * along - distance;
                let pixel = &mut self.depth[row * SIDE + column];
                *pixel = pixel.max(depth);
            }
        }
    }

    /// The ink of every pixel, from 0 to 1. It is 1 inside a stroke and decreases to 0 across the edge.
    pub(super) fn ink(&self) -> impl Iterator<Item = f32> {
        let softness = 2.0 * self.reach;
        self.depth.iter().map(move |depth| {
            let t = (depth / softness + 0.5).clamp(0.0, 1.0);
            t * t * (3.0 - 2.0 * t)
        })
    }
}

/// Returns one coordinate of the point at `t` in 0..=1 on the curve from the second to the third of four points.
/// `points` has the same coordinate of these points.
fn catmull_rom(points: [f32; 4], t: f32) -> f32 {
    let [before, from, to, after] = points;
    let linear = to - before;
    let square = 2.0 * before - 5.0 * from + 4.0 * to - after;
    let cube = 3.0 * (from - to) + after - before;
    from + 0.5 * t * (linear + t * (square + t * cube))
}

/// The center of a row or column, in pixels from the center of the image.
fn coordinate(index: usize) -> f32 {
    index as f32 - MIDDLE
}

/// The row or column of a coordinate, rounded down and clamped to the image.
#[expect(clippy::cast_possible_truncation, reason = "clamped to the image")]
fn pixel(coordinate: f32) -> usize {
    coordinate.clamp(0.0, 28.0) as usize
}
