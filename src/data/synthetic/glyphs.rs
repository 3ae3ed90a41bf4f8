//! Tables of pen strokes: several ways of writing each of the ten digits.

/// A position on the paper, in pixels from the center of the image: x to the right, y down.
pub(super) type Point = [f32; 2];

/// One movement of the pen: a smooth curve through these points in order.
///
/// Two equal points in a row make a corner, where the curve may change direction.
pub(super) type Stroke = &'static [Point];

/// One way of writing a digit.
pub(super) type Glyph = &'static [Stroke];

/// Number of ways of writing each digit.
pub(super) const WAYS: u8 = 3;

/// The ways of writing every digit, in the order of the digits.
pub(super) const GLYPHS: [[Glyph; WAYS as usize]; 10] =
    [ZERO, ONE, TWO, THREE, FOUR, FIVE, SIX, SEVEN, EIGHT, NINE];

#[rustfmt::skip]
const ZERO: [Glyph; WAYS as usize] = [
    // An upright oval.
    &[&[[0., -9.], [-4., -6.], [-5., 0.], [-3., 7.], [0., 9.], [4., 6.], [5., 0.], [4., -6.], [0., -9.]]],
    // A wide ring.
    &[&[[1., -7.], [-4., -6.], [-7., 0.], [-4., 6.], [0., 7.], [5., 5.], [7., 0.], [5., -6.], [0., -7.]]],
    // Begun at the right, with the end of the stroke running past its beginning.
    &[&[[3., -8.], [-2., -7.], [-5., 0.], [-3., 7.], [1., 8.], [5., 3.], [5., -4.], [2., -8.], [-2., -9.]]],
];

#[rustfmt::skip]
const ONE: [Glyph; WAYS as usize] = [
    // A bare stem.
    &[&[[0., -9.], [0., 0.], [0., 9.]]],
    // With an upstroke.
    &[&[[-4., -5.], [0., -9.], [0., -9.], [0., 0.], [0., 9.]]],
    // With an upstroke and a foot.
    &[&[[-4., -5.], [0., -9.], [0., -9.], [0., 0.], [0., 8.]], &[[-5., 8.], [5., 8.]]],
];

#[rustfmt::skip]
const TWO: [Glyph; WAYS as usize] = [
    // A sharp turn into a straight base.
    &[&[[-5., -5.], [-2., -9.], [3., -8.], [4., -3.], [1., 3.], [-5., 9.], [-5., 9.], [6., 9.]]],
    // A loop at the foot.
    &[&[[-5., -6.], [0., -9.], [5., -5.], [1., 3.], [-3., 8.], [-6., 7.], [-4., 4.], [1., 7.], [6., 8.]]],
    // A swan: a round neck and a wavy base.
    &[&[[-5., -3.], [-4., -8.], [1., -9.], [4., -5.], [1., 2.], [-6., 8.], [-6., 8.], [-1., 7.], [3., 9.], [7., 7.]]],
];

#[rustfmt::skip]
const THREE: [Glyph; WAYS as usize] = [
    // Two bows that meet in a point.
    &[&[[-5., -7.], [0., -9.], [4., -5.], [-1., -1.], [-1., -1.], [5., 4.], [0., 9.], [-5., 7.]]],
    // A flat top.
    &[&[[-5., -9.], [5., -9.], [5., -9.], [-1., -2.], [-1., -2.], [5., 3.], [1., 9.], [-5., 7.]]],
    // A small loop in the middle.
    &[&[[-5., -7.], [1., -9.], [4., -5.], [0., -1.], [-2., 0.], [0., 0.], [5., 4.], [0., 9.], [-6., 7.]]],
];

#[rustfmt::skip]
const FOUR: [Glyph; WAYS as usize] = [
    // Open at the top, with a long stem.
    &[&[[-4., -8.], [-6., 1.], [-6., 1.], [6., 1.]], &[[4., -9.], [3., 0.], [3., 9.]]],
    // Closed: a triangle on a stem.
    &[&[[3., 9.], [3., 0.], [3., -9.], [3., -9.], [-6., 3.], [-6., 3.], [7., 3.]]],
    // Round and open, like a y.
    &[&[[-5., -8.], [-5., -2.], [-2., 1.], [4., -1.]], &[[5., -8.], [4., 0.], [3., 9.]]],
];

#[rustfmt::skip]
const FIVE: [Glyph; WAYS as usize] = [
    // The flag drawn last, with a stroke of its own.
    &[&[[-4., -8.], [-5., -1.], [-5., -1.], [0., -3.], [5., 2.], [1., 9.], [-5., 7.]], &[[-4., -8.], [5., -9.]]],
    // One stroke with two corners.
    &[&[[6., -9.], [-3., -9.], [-3., -9.], [-4., -1.], [-4., -1.], [1., -3.], [5., 3.], [0., 9.], [-6., 7.]]],
    // One stroke without corners, almost an S.
    &[&[[6., -8.], [0., -9.], [-4., -6.], [-3., -2.], [2., -1.], [5., 4.], [0., 9.], [-5., 7.]]],
];

#[rustfmt::skip]
const SIX: [Glyph; WAYS as usize] = [
    // A slanting stem.
    &[&[[4., -9.], [-2., -4.], [-5., 3.], [-2., 9.], [3., 8.], [4., 3.], [0., 1.], [-4., 4.]]],
    // An upright stem.
    &[&[[-2., -9.], [-5., 2.], [-3., 8.], [2., 9.], [5., 5.], [2., 1.], [-4., 4.]]],
    // A curled head.
    &[&[[5., -7.], [1., -9.], [-4., -3.], [-5., 4.], [0., 9.], [5., 5.], [1., 0.], [-5., 4.]]],
];

#[rustfmt::skip]
const SEVEN: [Glyph; WAYS as usize] = [
    // Plain.
    &[&[[-5., -8.], [5., -8.], [5., -8.], [0., 0.], [-2., 9.]]],
    // With a bar.
    &[&[[-5., -8.], [5., -8.], [5., -8.], [1., 0.], [-2., 9.]], &[[-4., 0.], [5., 0.]]],
    // With a hook before the top.
    &[&[[-6., -5.], [-5., -8.], [-5., -8.], [6., -8.], [6., -8.], [1., 0.], [0., 9.]]],
];

#[rustfmt::skip]
const EIGHT: [Glyph; WAYS as usize] = [
    // One stroke, an S that returns.
    &[&[[3., -8.], [0., -9.], [-4., -6.], [0., -1.], [5., 4.], [0., 9.], [-5., 4.], [0., -1.], [4., -5.], [3., -8.]]],
    // Two rings.
    &[&[[0., -1.], [-4., -5.], [0., -9.], [4., -5.], [0., -1.]], &[[0., -1.], [-5., 4.], [0., 9.], [5., 4.], [0., -1.]]],
    // One stroke that does not close at the top.
    &[&[[5., -7.], [0., -9.], [-4., -5.], [1., 0.], [4., 5.], [0., 9.], [-4., 5.], [0., 0.], [5., -5.]]],
];

#[rustfmt::skip]
const NINE: [Glyph; WAYS as usize] = [
    // A ring on a straight stem.
    &[&[[4., -6.], [0., -9.], [-5., -5.], [-1., -1.], [4., -5.], [4., -5.], [4., 1.], [3., 9.]]],
    // A curled tail.
    &[&[[4., -6.], [0., -9.], [-5., -4.], [-1., -1.], [4., -5.], [4., -5.], [5., 2.], [1., 8.], [-4., 7.]]],
    // A slanting stem.
    &[&[[4., -7.], [0., -9.], [-4., -5.], [0., -1.], [4., -6.], [4., -6.], [2., 2.], [-2., 9.]]],
];
