//! Writes the encodings of coordinates as operators.

use std::f32::consts::TAU;
use std::f64::consts::PI;
use std::iter::successors;

use super::layers::Place;
use super::nodes::{int, sizes};

impl Place<'_, '_> {
    /// Adds a vector as a constant, whose name begins with the layer's name.
    fn row(&mut self, name: &str, numbers: &[f32]) -> String {
        self.matrix(name, &[numbers.len()], numbers)
    }

    fn matrix(&mut self, name: &str, extents: &[usize], numbers: &[f32]) -> String {
        let name = format!("{}.{name}", self.place);
        self.nodes.numbers(name, extents, numbers)
    }

    fn number(&mut self, name: &str, number: f32) -> String {
        let name = format!("{}.{name}", self.place);
        self.nodes.number(name, number)
    }

    /// Reshapes each row of the layer's input to `extents`; −1 stands for the extent that results from the others.
    fn reshaped(&mut self, extents: [i64; 2]) -> String {
        let x = self.flat();
        let shape = format!("{}.apart_shape", self.place);
        let shape = self.nodes.integers(shape, &[0, extents[0], extents[1]]);
        self.before("Reshape", vec![x, shape], "apart")
    }

    /// `y = sin(2ˡπx)` and `cos(2ˡπx)`; the cosine is a sine shifted by a quarter turn. Whole turns are subtracted from
    /// the angle before its sine is computed.
    pub(super) fn frequency(&mut self, octaves: usize) {
        let halves = successors(Some(0.5), |half| Some(2.0 * half));
        let halves: Vec<f32> = halves.take(octaves).flat_map(|half| [half, half]).collect();
        let halves = self.row("halves", &halves);
        let quarters = self.row("quarters", &[0.0, 0.25].repeat(octaves));
        let turn = self.number("turn", TAU);
        let apart = self.reshaped([-1, 1]);
        let turns = self.before("Mul", vec![apart, halves], "turns");
        let whole = self.before("Round", vec![turns.clone()], "whole_turns");
        let part = self.before("Sub", vec![turns, whole], "part");
        let shifted = self.before("Add", vec![part, quarters], "shifted");
        let angle = self.before("Mul", vec![shifted, turn], "angle");
        let waves = self.before("Sin", vec![angle], "waves");
        self.give("Flatten", waves, vec![int("axis", 1)]);
    }

    /// `y = exp(−½·u²)` with `u = bins·x − (k + ½)`, for each bin `k`.
    pub(super) fn one_blob(&mut self, bins: usize) {
        let centers: Vec<f32> = (0..bins).map(|bin| bin as f32 + 0.5).collect();
        let centers = self.row("centers", &centers);
        let count = self.number("bins", bins as f32);
        let half = self.number("minus_half", -0.5);
        let apart = self.reshaped([-1, 1]);
        let scaled = self.before("Mul", vec![apart, count], "scaled");
        let distance = self.before("Sub", vec![scaled, centers], "distance");
        let squared = self.before("Mul", vec![distance.clone(), distance], "squared");
        let exponent = self.before("Mul", vec![squared, half], "exponent");
        let blobs = self.before("Exp", vec![exponent], "blobs");
        self.give("Flatten", blobs, vec![int("axis", 1)]);
    }

    /// The product of the row of all monomials `xᵃyᵇzᶜ` of a degree below `degrees` and a matrix of coefficients.
    pub(super) fn spherical_harmonics(&mut self, degrees: usize) {
        let monomials = monomials(degrees);
        let exponents = monomials.iter().flatten().map(|&exponent| exponent as f32);
        let exponents = exponents.collect::<Vec<_>>();
        let exponents = self.matrix("exponents", &[monomials.len(), 3], &exponents);
        let outputs = degrees * degrees;
        let mut weights = vec![0.0; monomials.len() * outputs];
        for output in 0..outputs {
            for (monomial, coefficient) in coefficients(output) {
                let row = monomials.iter().position(|of| *of == monomial);
                if let Some(row) = row {
                    #[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
                    let coefficient = coefficient as f32;
                    weights[row * outputs + output] = coefficient;
                }
            }
        }
        let weights = self.matrix("coefficients", &[monomials.len(), outputs], &weights);
        let apart = self.reshaped([1, 3]);
        let powers = self.before("Pow", vec![apart, exponents], "powers");
        let products = format!("{}.monomials", self.place);
        let settings = vec![int("keepdims", 0), sizes("axes", [2])];
        self.nodes
            .push("ReduceProd", vec![powers], &products, settings, "");
        self.parameters.push(weights);
        self.give("MatMul", products, Vec::new());
    }
}

/// Lists the exponents of x, y and z of all monomials whose total degree is below `degrees`.
fn monomials(degrees: usize) -> Vec<[usize; 3]> {
    let all = 0..degrees.pow(3);
    let exponents = all.map(|at| [at / degrees / degrees, at / degrees % degrees, at % degrees]);
    exponents
        .filter(|of| of.iter().sum::<usize>() < degrees)
        .collect()
}

fn factorial(n: usize) -> f64 {
    (1..=n).map(|factor| factor as f64).product()
}

fn choose(n: usize, k: usize) -> f64 {
    factorial(n) / factorial(k) / factorial(n - k)
}

fn alternating(n: usize) -> f64 {
    if n.is_multiple_of(2) { 1.0 } else { -1.0 }
}

/// Lists the monomials of a spherical harmonic with their coefficients: see
/// [`SphericalHarmonics`](crate::ops::SphericalHarmonics).
fn coefficients(output: usize) -> Vec<([usize; 3], f64)> {
    let l = output.isqrt();
    let middle = l * l + l;
    let m = output.abs_diff(l * l + l);
    let is_imaginary = output < middle;
    let twice = if m == 0 { 1.0 } else { 2.0 };
    let share = (2 * l + 1) as f64 / (4.0 * PI) * factorial(l - m) / factorial(l + m);
    let norm = alternating(m) * (twice * share).sqrt();
    let of_z = (0..=(l - m) / 2).map(|k| {
        let power = l - 2 * k;
        let product = alternating(k) * choose(l, k) * choose(2 * l - 2 * k, l);
        let derived = factorial(power) / factorial(power - m);
        (power - m, product * derived / f64::from(1u32 << l))
    });
    // In (x + iy)ᵐ, every other term is real.
    let around = (usize::from(is_imaginary)..=m).step_by(2);
    let around = around.map(|j| (m - j, j, alternating(j / 2) * choose(m, j)));
    let around: Vec<_> = around.collect();
    let terms = of_z.flat_map(|(c, of_z)| {
        let terms = around.iter();
        terms.map(move |&(a, b, around)| ([a, b, c], norm * of_z * around))
    });
    terms.collect()
}
