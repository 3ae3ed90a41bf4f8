//! Encodings of coordinates.

use std::f64::consts::PI;

use wgrad::ops::{Frequency, Layer, OneBlob, SphericalHarmonics};

use crate::gpu::{self, FLUSHED, Numbers, ROUNDING, ULP, assert_close, folding_gpu, gpu};
use crate::passes::{Operands, Results};

/// Shapes (rows, inputs) with about 256 and about 1,024 inputs or outputs in total. A workgroup has 256 invocations and
/// takes 1,024 elements.
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

/// A shape for the device that folds dispatches into two dimensions.
const FOLDED: [usize; 2] = [gpu::FOLDED, 1];

fn bench(shape: [usize; 2]) -> &'static wgrad::Gpu {
    if shape == FOLDED {
        folding_gpu()
    } else {
        gpu()
    }
}

/// Compares `y` and `dx` with the reference. Each element has its own error bound.
fn compare(case: &str, found: &Results, expected: &[Vec<f64>], bounds: [Vec<f64>; 2]) {
    for (((name, found), expected), bounds) in found.iter().zip(expected).zip(bounds) {
        let case = format!("{case}, {name}");
        assert_close(&case, found, expected.iter().copied(), bounds);
    }
}

/// A bound of the reference's result where a sine or a cosine should be 0. The result is not 0 because π is rounded in
/// `f64`.
const ZERO: f64 = 4e-16;

/// Checks the encoding by frequencies. A sine or cosine has a relative error of at most 3 roundings.
///
/// The angle's distance from the nearest quarter turn is `p`. The sine is `p·(c + z·P)`, where `z = p²`, `c` is a
/// constant and `P` is a polynomial in `z`. Its sum and its product add two roundings; the coefficients and the
/// polynomial's approximation error add 0.6. `z·P` has an error of 3.2 roundings, and is at most 0.114 of the sum.
///
/// The cosine is `1 + z·Q`, where `Q` is another polynomial in `z`. Its sum adds one rounding; the approximation error
/// adds 0.22. `z·Q` has an error of 3.2 roundings, and is at most 0.42 of the cosine, which is at least √½.
///
/// The gradient of an octave has two such factors, two products, a difference, π (half a rounding) and one more
/// product. Then all octaves are added.
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
        let mut absolute = 0.0;
        let mut flushed = 0.0;
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

/// The angle is computed exactly, even at the highest octaves and for inputs of any magnitude.
#[test]
fn frequencies_are_as_accurate_far_from_zero_and_at_high_octaves() {
    for octaves in [5, 32] {
        for exponent in [-126, -30, -3, 3, 12, 20, 23, 24, 25, 60, 126] {
            let size = f32::from_bits(u32::try_from(exponent + 127).unwrap() << 23);
            check_frequency(octaves, [40, 3], |numbers| size * numbers.uniform());
        }
    }
}

/// Tests the angles at the ends of quarter turns, and the next numbers on both sides.
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
    // For whole and half turns, the results are exact.
    let layer = Frequency::new(2);
    let operands = Operands::new(&layer, [40, 1], |numbers| {
        numbers.below(9) as f32 / 2.0 - 2.0
    });
    let found = operands.on_gpu("halves", gpu(), &layer, false);
    let expected = operands.by_reference(&layer, false);
    let rounded = expected[0].iter().map(|y| y.round());
    assert_close("halves", &found[0].1, rounded, vec![0.0; 160]);
}

/// For an infinity or NaN, the outputs are NaN. Drivers may assume that there are no such numbers, so the kernel must
/// test the bits.
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

/// Checks the one-blob encoding with K bins. `u = K·x − (k + ½)` is rounded twice, and the slope of the Gaussian is |u|
/// times the Gaussian. The exponent is rounded, and `exp` has an error of 3 + 2·(u²/2) ULP. For |u| > 13.2, the
/// Gaussian is smaller than the normal numbers of `f32`.
fn check_one_blob(bins: usize, shape: [usize; 2], x: impl Fn(&mut Numbers) -> f32) {
    let layer = OneBlob::new(bins);
    let case = format!("{} {shape:?}", layer.name());
    let operands = Operands::new(&layer, shape, x);
    let found = operands.on_gpu(&case, bench(shape), &layer, false);
    let expected = operands.by_reference(&layer, false);
    let size = bins as f64;
    // Returns `u` and its error, and the value of the Gaussian and its error.
    let blob = |x: f64, bin: usize| {
        let u = size * x - (bin as f64 + 0.5);
        let of_u = ROUNDING * (1.0 + 1e-6) * ((size * x).abs() + u.abs());
        let height = (-0.5 * u * u).exp();
        let near = if u.abs() > 15.0 { 0.0 } else { u.abs() };
        let relative = near * of_u + (3.0 + near * near) * ULP + 0.5 * near * near * ROUNDING;
        [u, of_u, height, height * relative * (1.0 + 1e-3) + FLUSHED]
    };
    let x: Vec<f64> = operands.x.iter().map(|&x| x.into()).collect();
    let of_y = x.iter().flat_map(|&x| (0..bins).map(move |bin| (x, bin)));
    let of_y = of_y.map(|(x, bin)| blob(x, bin)[3]);
    let dy = operands.dy.as_slice().unwrap().chunks_exact(bins);
    let of_dx = x.iter().zip(dy).map(|(&x, dy)| {
        let mut absolute = 0.0;
        let mut error = 0.0;
        for (bin, &dy) in dy.iter().enumerate() {
            let [u, of_u, height, of_height] = blob(x, bin);
            let dy = f64::from(dy).abs();
            let u = u.abs().min(15.0);
            absolute += dy * u * height;
            error += dy * (of_u.min(1.0) * height + (u + 1.0) * of_height) + 4.0 * FLUSHED;
        }
        // The roundings of two products, of the sum over the bins, and of the product with K.
        size * (error + (3.0 + size) * ROUNDING * (1.0 + 1e-5) * absolute) + FLUSHED
    });
    compare(&case, &found, &expected, [of_y.collect(), of_dx.collect()]);
}

#[test]
fn one_blobs_are_their_formula() {
    let inside = |numbers: &mut Numbers| numbers.uniform().abs();
    for shape in SHAPES {
        for bins in [1, 4, 11] {
            check_one_blob(bins, shape, inside);
        }
    }
    check_one_blob(2, FOLDED, inside);
    check_one_blob(1024, [3, 2], inside);
}

/// Tests inputs outside the bins, up to the largest floats: the outputs become 0.
#[test]
fn one_blobs_fade_away() {
    for size in [3.0, 40.0, 1e9, 3e38] {
        check_one_blob(4, [50, 2], |numbers| size * numbers.uniform());
    }
    let layer = OneBlob::new(3);
    let mut operands = Operands::new(&layer, [4, 1], Numbers::uniform);
    let spoilt = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN];
    operands
        .x
        .iter_mut()
        .zip(spoilt)
        .for_each(|(x, spoilt)| *x = spoilt);
    let found = operands.on_gpu("one-blob of no numbers", gpu(), &layer, false);
    for (name, values) in found {
        let half = values.len() / 2;
        assert!(
            values[..half].iter().all(|&y| y == 0.0),
            "{name}: {values:?}"
        );
        assert!(
            values[half..].iter().all(|y| y.is_nan()),
            "{name}: {values:?}"
        );
    }
}

/// A number, and a bound of its error in single precision.
#[derive(Clone, Copy)]
struct Bounded(f64, f64);

impl Bounded {
    fn exact(value: f64) -> Self {
        Self(value, 0.0)
    }

    fn rounded(value: f64, error: f64) -> Self {
        Self(value, error + ROUNDING * (value.abs() + error) + FLUSHED)
    }

    fn plus(self, other: Self) -> Self {
        Self::rounded(self.0 + other.0, self.1 + other.1)
    }

    fn times(self, other: Self) -> Self {
        let error = self.1 * other.0.abs() + other.1 * self.0.abs() + self.1 * other.1;
        Self::rounded(self.0 * other.0, error)
    }

    fn by(self, factor: f64) -> Self {
        self.times(Self::exact(factor))
    }

    /// A division has an error of 2.5 ULP.
    fn over(self, divisor: f64) -> Self {
        let value = self.0 / divisor;
        let error = self.1 / divisor;
        Self(value, error + 2.5 * ULP * (value.abs() + error) + FLUSHED)
    }
}

/// Computes a Legendre function by the shader's recurrence, with the error of each operation.
fn legendre(l: usize, m: usize, z: f64) -> Bounded {
    if m > l {
        return Bounded::exact(0.0);
    }
    let first = (1..=m).map(|k| (2 * k - 1) as f64).product();
    let mut before = Bounded::exact(0.0);
    let mut value = Bounded::exact(first);
    for k in m + 1..=l {
        let next = Bounded::exact(z).by((2 * k - 1) as f64).times(value);
        let next = next
            .plus(before.by(-((k + m - 1) as f64)))
            .over((k - m) as f64);
        (before, value) = (value, next);
    }
    value
}

fn power([x, y]: [f64; 2], m: usize) -> [Bounded; 2] {
    let mut value = [1.0, 0.0].map(Bounded::exact);
    for _ in 0..m {
        let [real, imaginary] = value;
        value = [
            real.by(x).plus(imaginary.by(-y)),
            real.by(y).plus(imaginary.by(x)),
        ];
    }
    value
}

/// Returns a spherical harmonic and its gradient with error bounds. The normalization constant is rounded.
fn harmonic(output: usize, [x, y, z]: [f64; 3]) -> [Bounded; 4] {
    let l = output.isqrt();
    let m = output.abs_diff(l * l + l);
    let part = |of: [Bounded; 2]| of[usize::from(output < l * l + l)];
    let quotient = (l - m + 1..=l + m)
        .map(|factor| factor as f64)
        .product::<f64>();
    let twice = if m == 0 { 1.0 } else { 2.0 };
    let norm = (twice * (2 * l + 1) as f64 / (4.0 * PI) / quotient).sqrt();
    let norm = Bounded::rounded(if m.is_multiple_of(2) { norm } else { -norm }, 0.0);
    let along = legendre(l, m, z);
    let slope = legendre(l, m + 1, z);
    let around = part(power([x, y], m));
    let below = power([x, y], m.max(1) - 1).map(|of| of.by(m as f64));
    let turned = [below[1].by(-1.0), below[0]];
    let gradient = [
        along.times(part(below)),
        along.times(part(turned)),
        slope.times(around),
    ];
    let [by_x, by_y, by_z] = gradient.map(|of| norm.times(of));
    [norm.times(along).times(around), by_x, by_y, by_z]
}

/// Checks spherical harmonics. The shader multiplies the factors of the gradient in another order, so the bound allows
/// three more roundings.
fn check_harmonics(degrees: usize, rows: usize, adapter: &wgrad::Gpu) {
    let layer = SphericalHarmonics::new(degrees);
    let case = format!("{} of {rows}", layer.name());
    let mut operands = Operands::new(&layer, [rows, 3], Numbers::uniform);
    for (row, mut v) in operands.x.rows_mut().into_iter().enumerate() {
        // The first rows are the poles and the axes.
        if row < 6 {
            v.fill(0.0);
            v[row / 2] = if row % 2 == 0 { 1.0 } else { -1.0 };
        }
        let length = v.iter().map(|of| of * of).sum::<f32>().sqrt().max(1e-3);
        v.mapv_inplace(|of| of / length);
    }
    let found = operands.on_gpu(&case, adapter, &layer, false);
    let expected = operands.by_reference(&layer, false);
    let mut of_y = Vec::new();
    let mut of_dx = Vec::new();
    for (v, dy) in operands.x.rows().into_iter().zip(operands.dy.rows()) {
        let v = [v[0], v[1], v[2]].map(f64::from);
        let mut sums = [Bounded::exact(0.0); 3];
        for (output, &dy) in dy.iter().enumerate() {
            let [value, gradient @ ..] = harmonic(output, v);
            of_y.push(value.1 + 1e-13);
            for (sum, of) in sums.iter_mut().zip(gradient) {
                let term = of.by(dy.into());
                *sum = sum.plus(Bounded(term.0, term.1 + 3.0 * ROUNDING * term.0.abs()));
            }
        }
        of_dx.extend(sums.map(|sum| sum.1 + 1e-12));
    }
    compare(&case, &found, &expected, [of_y, of_dx]);
}

/// A workgroup takes 256 rows in the backward pass, and 1,024 outputs in the forward pass. 255 and 257 rows are near
/// both numbers: with two degrees, each row has 4 outputs.
#[test]
fn spherical_harmonics_are_their_formula() {
    for degrees in 1..=8 {
        for rows in [1, 6, 255, 257] {
            check_harmonics(degrees, rows, gpu());
        }
    }
    check_harmonics(2, 1537, folding_gpu());
}

#[test]
fn spherical_harmonics_of_what_is_no_direction_are_nan() {
    let layer = SphericalHarmonics::new(3);
    let mut operands = Operands::new(&layer, [3, 3], Numbers::uniform);
    operands.x[[1, 2]] = f32::NAN;
    let found = operands.on_gpu("harmonics of NaN", gpu(), &layer, false);
    let y = &found[0].1;
    // Only the outputs that depend on z are NaN, and only in this row.
    assert!(y[9 + 2].is_nan() && y[9 + 6].is_nan());
    assert!(y[..9].iter().chain(&y[18..]).all(|y| y.is_finite()));
}

#[test]
fn settings_of_encodings_that_make_no_sense_are_told() {
    let wrong: [(&dyn Layer, usize, &str); 7] = [
        (
            &Frequency::new(0),
            2,
            "number of octaves must be 1 to 32; it is 0",
        ),
        (
            &Frequency::new(33),
            2,
            "number of octaves must be 1 to 32; it is 33",
        ),
        (
            &OneBlob::new(0),
            1,
            "number of bins must be 1 to 1024; it is 0",
        ),
        (
            &OneBlob::new(1025),
            1,
            "number of bins must be 1 to 1024; it is 1025",
        ),
        (
            &SphericalHarmonics::new(0),
            3,
            "number of degrees must be 1 to 8; it is 0",
        ),
        (
            &SphericalHarmonics::new(9),
            3,
            "number of degrees must be 1 to 8; it is 9",
        ),
        (
            &SphericalHarmonics::new(2),
            2,
            "must be the 3 parts of a direction; it is 2",
        ),
    ];
    for (layer, inputs, expected) in wrong {
        let error = layer.spec(&inputs.into()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
