//! Who writes the digits: chance, within the habits of a hand.
//!
//! Only integers and `+ - * /` on `f32` here, no sine, logarithm or other function whose last bit
//! depends on the platform: the images are the same everywhere.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::glyphs::{GLYPHS, Point, WAYS};
use super::pen::{Canvas, Dot};

// How much the hands differ. Together these decide how hard the digits are: `tests/synthetic.rs`
// holds what a linear classifier and a small network make of them.

/// How far the points of a digit stray at most, in pixels, for the steadiest and shakiest hand.
const WOBBLE: (f32, f32) = (1.0, 3.0);
/// Radius of the finest and broadest pen, in pixels.
const RADIUS: (f32, f32) = (0.9, 1.9);
/// Width over which ink fades to black at the edge of a stroke, in pixels.
const SOFTNESS: (f32, f32) = (1.0, 2.0);
/// Brightness of the palest and strongest ink.
const BRIGHTNESS: (f32, f32) = (0.75, 1.0);
/// How much of a pixel's ink the grain of the paper takes at most.
const GRAIN: f32 = 0.15;
/// How much the pen's radius varies along a stroke, as a part of it.
const PRESSURE: f32 = 0.3;
/// Tangent of half the greatest turn.
const TURN: f32 = 0.32;
/// Tangent of the greatest slant.
const SLANT: f32 = 0.6;
/// Size of the average digit, as a part of the table's, and how much it varies.
const SIZE: (f32, f32) = (0.95, 0.2);
/// How much width varies against height.
const STRETCH: f32 = 0.25;
/// How far off the middle a digit lies at most along each axis, in pixels.
const SHIFT: f32 = 3.2;

/// Who writes one example: a source of chance of its own.
pub(super) struct Hand {
    rng: ChaCha8Rng,
}

impl Hand {
    /// The hand that writes example `stream` of `seed`, and nothing else.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(stream);
        Self { rng }
    }

    /// Draws a digit into a black image and tells which.
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

    /// Where the pen passes for a stroke of the table.
    fn trace(&mut self, stroke: &[Point], habit: &Habit, dots: &mut Vec<Dot>) {
        for (index, &point) in stroke.iter().enumerate() {
            let corner = index > 0 && stroke[index - 1] == point;
            let closes = index + 1 == stroke.len() && stroke[0] == point;
            // Points that are equal in the table stay so, or corners and rings would come apart.
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

    /// Turns ink into bytes, paler for a light hand and a little uneven.
    #[expect(clippy::cast_possible_truncation, reason = "at most 255")]
    fn expose(&mut self, canvas: &Canvas, image: &mut [u8]) {
        let white = 255.0 * self.within(BRIGHTNESS);
        for (byte, ink) in image.iter_mut().zip(canvas.ink()) {
            if ink > 0.0 {
                *byte = (white * ink * (1.0 - self.within((0.0, GRAIN)))) as u8;
            }
        }
    }

    /// How this hand writes this digit.
    fn habit(&mut self) -> Habit {
        // The half-angle's tangent gives sine and cosine by division alone.
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

    /// A whole number below `end`, all about as likely.
    #[expect(clippy::cast_possible_truncation, reason = "below `end`")]
    fn below(&mut self, end: u8) -> u8 {
        ((u64::from(self.rng.next_u32()) * u64::from(end)) >> 32) as u8
    }

    /// A number between two, all about as likely.
    fn within(&mut self, (low, high): (f32, f32)) -> f32 {
        // 24 bits fit a single exactly.
        let unit = (self.rng.next_u32() >> 8) as f32 / 16_777_216.0;
        low + (high - low) * unit
    }

    /// A number around 0 that stays within -1..=1: the mean of three, so mostly near 0.
    fn bell(&mut self) -> f32 {
        let sides = (-1.0, 1.0);
        (self.within(sides) + self.within(sides) + self.within(sides)) / 3.0
    }
}

/// How a hand writes one digit.
struct Habit {
    /// With `y` and `shift`, the affine map from the table's coordinates to the image's.
    x: [f32; 2],
    y: [f32; 2],
    shift: [f32; 2],
    /// How far points stray at most, in pixels.
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
