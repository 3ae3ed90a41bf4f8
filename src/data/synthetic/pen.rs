//! Draws strokes: a smooth curve through points, then ink by distance to it.

use super::glyphs::Point;

/// Pixels along each side of an image.
pub(super) const SIDE: usize = 28;

/// Pixels in an image.
pub(super) const PIXELS: usize = SIDE * SIDE;

/// The middle of the image in pixel coordinates, where pixel centres are whole numbers.
const MIDDLE: f32 = 13.5;

/// Straight pieces between two neighbouring points of a curve.
const PIECES: u8 = 5;

/// A place the pen passes, and the radius of its tip there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Dot {
    pub(super) at: Point,
    pub(super) radius: f32,
}

/// An image being drawn: for every pixel, how deep inside the ink its centre lies.
///
/// Depth is in pixels, negative outside. Keeping depth rather than ink lets strokes overlap
/// without adding up.
pub(super) struct Canvas {
    depth: [f32; PIXELS],
    /// Beyond this far outside the ink no pixel is touched.
    reach: f32,
}

impl Canvas {
    pub(super) fn new(softness: f32) -> Self {
        Self {
            depth: [f32::NEG_INFINITY; PIXELS],
            reach: softness / 2.0,
        }
    }

    /// Draws one stroke: a Catmull-Rom curve through `dots`, with a corner at equal neighbours,
    /// that runs on smoothly from its end to its beginning where these are equal.
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

    /// Ink of every pixel from 0 to 1: full inside a stroke, fading to none across its edge.
    pub(super) fn ink(&self) -> impl Iterator<Item = f32> {
        let softness = 2.0 * self.reach;
        self.depth.iter().map(move |depth| {
            let t = (depth / softness + 0.5).clamp(0.0, 1.0);
            t * t * (3.0 - 2.0 * t)
        })
    }
}

/// The curve between `points[1]` and `points[2]` at `t` in 0..=1, given their neighbours.
fn catmull_rom(points: [f32; 4], t: f32) -> f32 {
    let [before, from, to, after] = points;
    let linear = to - before;
    let square = 2.0 * before - 5.0 * from + 4.0 * to - after;
    let cube = 3.0 * (from - to) + after - before;
    from + 0.5 * t * (linear + t * (square + t * cube))
}

/// The centre of a row or column, in pixels from the middle of the image.
fn coordinate(index: usize) -> f32 {
    index as f32 - MIDDLE
}

/// The first row or column at or past a coordinate, kept inside the image.
#[expect(clippy::cast_possible_truncation, reason = "clamped to the image")]
fn pixel(coordinate: f32) -> usize {
    coordinate.clamp(0.0, 28.0) as usize
}
