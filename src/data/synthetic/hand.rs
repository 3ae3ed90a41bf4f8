//! Draws a digit with random variations of shape, position and pen.
//!
//! This module uses only integers and `+ - * /` on `f32`. It avoids sine, logarithm and other functions whose last bit
//! depends on the platform, so the images are the same on all platforms.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::glyphs::{GLYPHS, Point, WAYS};
use super::pen::{Canvas, Dot};

// These ranges determine how hard the digits are to classify. `tests/synthetic.rs` checks the accuracy of a linear
// classifier and of a small network. A pair is the smallest and the largest value.

/// Range of the largest displacement of a digit's points, in pixels. The largest displacement is chosen once per digit.
const WOBBLE: (f32, f32) = (1.0, 3.0);
/// Range of the pen's radius, in pixels.
const RADIUS: (f32, f32) = (0.9, 1.9);
/// Range of the width over which ink fades to black at the edge of a stroke, in pixels.
const SOFTNESS: (f32, f32) = (1.0, 2.0);
/// Range of the ink's brightness, as a fraction of white.
const BRIGHTNESS: (f32, f32) = (0.75, 1.0);
/// Largest fraction of a pixel's ink that the grain of the paper removes.
const GRAIN: f32 = 0.15;
/// Largest change of the pen's radius along a stroke, as a fraction of the radius.
const PRESSURE: f32 = 0.3;
/// Tangent of half the largest rotation angle.
const TURN: f32 = 0.32;
/// Tangent of the largest slant.
const SLANT: f32 = 0.6;
/// Mean size of a digit, as a fraction of its size in [`GLYPHS`], and largest deviation from the mean.
const SIZE: (f32, f32) = (0.95, 0.2);
/// Largest change of a digit's width relative to its height, as a fraction.
const STRETCH: f32 = 0.25;
/// Largest shift of a digit along each axis, in pixels.
const SHIFT: f32 = 3.2;

/// Draws one example, with its own random generator.
pub(super) struct Hand {
    rng: ChaCha8Rng,
}

impl Hand {
    /// Creates the generator for one example: the stream with number `stream` of `seed`.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(stream);
        Self { rng }
    }

    /// Draws a digit into a black image and returns its class.
    pub(super) fn draw(mut self, image: &mut [u8]) -> u32 {
        let digit = self.below(10);
        let glyph = GLYPHS[usize::from(digit)][usize::from(self.below(WAYS))];
        let habit = self.habit();
        let mut canvas = Canvas::new(self.within(SOFTNESS));
        let mut dots = Vec::new();
        for stroke in glyph {
            dots.clear();
            self.trace(stroke, &habit, &mut dots);
            canvas.stroke(&dots);
        }
        self.expose(&canvas, image);
        u32::from(digit)
    }

    /// Computes the pen's positions and radii for a stroke of a glyph.
    fn trace(&mut self, stroke: &[Point], habit: &Habit, dots: &mut Vec<Dot>) {
        for (index, &point) in stroke.iter().enumerate() {
            let corner = index > 0 && stroke[index - 1] == point;
            let closes = index + 1 == stroke.len() && stroke[0] == point;
            // Points that are equal in the table must stay equal. Otherwise corners and rings would have gaps.
            let dot = match (dots.first(), dots.last()) {
                (_, Some(&last)) if corner => last,
                (Some(&first), _) if closes => first,
                _ => self.dot(point, habit),
            };
            dots.push(dot);
        }
    }

    fn dot(&mut self, point: Point, habit: &Habit) -> Dot {
        let strayed = point.map(|coordinate| coordinate + habit.wobble * self.bell());
        Dot {
            at: habit.place(strayed),
            radius: habit.radius * (1.0 + PRESSURE * self.bell()),
        }
    }

    /// Converts ink to bytes, with a random brightness for the image and a random loss of ink for each pixel.
    #[expect(clippy::cast_possible_truncation, reason = "at most 255")]
    fn expose(&mut self, canvas: &Canvas, image: &mut [u8]) {
        let white = 255.0 * self.within(BRIGHTNESS);
        for (byte, ink) in image.iter_mut().zip(canvas.ink()) {
            if ink > 0.0 {
                *byte = (white * ink * (1.0 - self.within((0.0, GRAIN)))) as u8;
            }
        }
    }

    /// Chooses the random variations of the digit.
    fn habit(&mut self) -> Habit {
        // The half-angle's tangent gives sine and cosine without trigonometric functions.
        let half = TURN * self.bell();
        let scale = 1.0 / (1.0 + half * half);
        let cos = (1.0 - half * half) * scale;
        let sin = 2.0 * half * scale;
        let slant = SLANT * self.bell();
        let size = SIZE.0 + SIZE.1 * self.bell();
        let wide = size * (1.0 + STRETCH * self.bell());
        Habit {
            x: [cos * wide, (cos * slant - sin) * size],
            y: [sin * wide, (sin * slant + cos) * size],
            shift: [SHIFT * self.bell(), SHIFT * self.bell()],
            wobble: self.within(WOBBLE),
            radius: self.within(RADIUS),
        }
    }

    /// A random integer below `end`, nearly uniform.
    #[expect(clippy::cast_possible_truncation, reason = "below `end`")]
    fn below(&mut self, end: u8) -> u8 {
        ((u64::from(self.rng.next_u32()) * u64::from(end)) >> 32) as u8
    }

    /// A random number between two bounds, nearly uniform.
    fn within(&mut self, (low, high): (f32, f32)) -> f32 {
        // An `f32` represents 24 bits exactly.
        let unit = (self.rng.next_u32() >> 8) as f32 / 16_777_216.0;
        low + (high - low) * unit
    }

    /// A random number in −1..=1: the mean of three uniform numbers, so mostly near 0.
    fn bell(&mut self) -> f32 {
        let sides = (-1.0, 1.0);
        (self.within(sides) + self.within(sides) + self.within(sides)) / 3.0
    }
}

/// The random variations of one digit.
struct Habit {
    /// Together with `y` and `shift`, the affine map from coordinates of [`GLYPHS`] to coordinates of the image.
    x: [f32; 2],
    y: [f32; 2],
    shift: [f32; 2],
    /// Largest displacement of a point, in pixels.
    wobble: f32,
    /// Radius of the pen, in pixels.
    radius: f32,
}

impl Habit {
    fn place(&self, [x, y]: Point) -> Point {
        [
            self.x[0] * x + self.x[1] * y + self.shift[0],
            self.y[0] * x + self.y[1] * y + self.shift[1],
        ]
    }
}
