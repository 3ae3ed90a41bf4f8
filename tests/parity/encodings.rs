//! Encodings of coordinates.

use std::f64::consts::PI;

use wgrad::ops::{Frequency, Layer as _};

use crate::gpu::{self, FLUSHED, Numbers, ROUNDING, assert_close, folding_gpu, gpu};
use crate::passes::{Operands, Results};

/// (rows, inputs) around the 256 invocations and the 1,024 elements of a workgroup, of inputs and of outputs.
const SHAPES: [[usize; 2]; 10] = [
    [1, 1],
    [3, 2],
    [17, 3],
    [255, 1],
    [128, 2],
    [257, 1],
    [341, 3],
    [32, 32],
    [1025, 1],
    [101, 53],
];

/// Run where it folds a dispatch into two dimensions.
const FOLDED: [usize; 2] = [gpu::FOLDED, 1];

fn bench(shape: [usize; 2]) -> &'static wgrad::Gpu {
    if shape == FOLDED {
        folding_gpu()
    } else {
        gpu()
    }
}

/// `y` and `dx`, found and by the reference, with a bound for each element.
fn compare(case: &str, found: &Results, expected: &[Vec<f64>], bounds: [Vec<f64>; 2]) {
    for (((name, found), expected), bounds) in found.iter().zip(expected).zip(bounds) {
        let case = format!("{case}, {name}");
        assert_close(&case, found, expected.iter().copied(), bounds);
    }
}

/// What the reference has instead of 0 where a sine or a cosine is 0: in `f64` π is rounded.
const ZERO: f64 = 4e-16;

/// A sine and a cosine are 3 roundings off, of themselves: in `p·(c + z·P)` with `z = p²` two are those of the sum and
/// the product, 0.6 those of the coefficients and the fit, and what `z·P` is off by, 3.2 of it, is at most 0.114 of the
/// sum; in `1 + z·Q` one is that of the sum, 0.22 those of the fit, and 3.2 of `z·Q`, which is at most 0.42 of a cosine
/// that is at least √½. The gradient of an octave has two such factors, two products, a difference, π (half a rounding)
/// and one more product; then all octaves are added.
fn check_frequency(octaves: usize, shape: [usize; 2], x: impl Fn(&mut Numbers) -> f32) {
    let layer = Frequency::new(octaves);
    let case = format!("{} {shape:?}", layer.name());
    let operands = Operands::new(&layer, shape, x);
    let found = operands.on_gpu(&case, bench(shape), &layer, false);
    let expected = operands.by_reference(&layer, false);
    let frequency = |octave: usize| PI * f64::from(u32::try_from(octave).unwrap()).exp2();
    let of_y = expected[0].iter().enumerate().map(|(at, y)| {
        let flushed = (1.0 + frequency(at / 2 % octaves)) * FLUSHED;
        3.0 * ROUNDING * (1.0 + 1e-6) * y.abs() + 2.0 * flushed + ZERO
    });
    let waves = expected[0].chunks_exact(2 * octaves);
    let dy = operands.dy.as_slice().unwrap().chunks_exact(2 * octaves);
    let of_dx = waves.zip(dy).map(|(y, dy)| {
        let pairs = y.chunks_exact(2).zip(dy.chunks_exact(2)).enumerate();
        let (mut absolute, mut flushed) = (0.0, 0.0);
        for (octave, (y, dy)) in pairs {
            let [of_sine, of_cosine] = [dy[0], dy[1]].map(f64::from);
            absolute += frequency(octave) * ((y[1] * of_sine).abs() + (y[0] * of_cosine).abs());
            let unit = 4.0 * (1.0 + frequency(octave)) * FLUSHED + 2.0 * ZERO;
            flushed += frequency(octave) * unit;
        }
        (6.5 + octaves as f64) * ROUNDING * (1.0 + 1e-5) * absolute + flushed
    });
    compare(&case, &found, &expected, [of_y.collect(), of_dx.collect()]);
}

#[test]
fn frequencies_are_their_formula() {
    for shape in SHAPES {
        for octaves in [1, 3, 10] {
            check_frequency(octaves, shape, Numbers::uniform);
        }
    }
    check_frequency(2, FOLDED, Numbers::uniform);
}

/// The fast angle is taken exactly: at the highest octaves, and of inputs of any size.
#[test]
fn frequencies_are_as_accurate_far_from_zero_and_at_high_octaves() {
    for octaves in [5, 32] {
        for exponent in [-126, -30, -3, 3, 12, 20, 23, 24, 25, 60, 126] {
            let size = f32::from_bits(u32::try_from(exponent + 127).unwrap() << 23);
            check_frequency(octaves, [40, 3], |numbers| size * numbers.uniform());
        }
    }
}

/// Where a quarter of a turn ends, and right beside it on both sides.
#[test]
fn frequencies_at_the_ends_of_quarters_are_exact() {
    let eighths = |numbers: &mut Numbers| {
        let eighth = numbers.below(65) as f32 / 8.0 - 4.0;
        match numbers.below(3) {
            0 => eighth,
            1 => eighth.next_up(),
            _ => eighth.next_down(),
        }
    };
    check_frequency(4, [150, 2], eighths);
    // Whole and half turns are exact.
    let layer = Frequency::new(2);
    let operands = Operands::new(&layer, [40, 1], |numbers| {
        numbers.below(9) as f32 / 2.0 - 2.0
    });
    let found = operands.on_gpu("halves", gpu(), &layer, false);
    let expected = operands.by_reference(&layer, false);
    let rounded = expected[0].iter().map(|y| y.round());
    assert_close("halves", &found[0].1, rounded, vec![0.0; 160]);
}

/// Drivers may assume that there is neither infinity nor NaN, so only bits can tell.
#[test]
fn frequencies_of_what_is_no_number_are_nan() {
    for spoil in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN] {
        let layer = Frequency::new(3);
        let mut operands = Operands::new(&layer, [5, 3], Numbers::uniform);
        let sound = operands.on_gpu("sound", gpu(), &layer, false);
        operands.x[[2, 1]] = spoil;
        let spoilt = operands.on_gpu("spoilt", gpu(), &layer, false);
        for (of, width) in [(0, 6), (1, 1)] {
            for (at, (sound, spoilt)) in sound[of].1.iter().zip(&spoilt[of].1).enumerate() {
                let is_spoilt = at / width == 7;
                assert_eq!(spoilt.is_nan(), is_spoilt, "{spoil}: {at}");
                assert!(is_spoilt || spoilt.to_bits() == sound.to_bits(), "{at}");
            }
        }
    }
}
