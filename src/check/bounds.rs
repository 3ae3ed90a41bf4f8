use ndarray::{Array2, Zip};

use super::{Check, Comparison, Numbers};
use crate::error::{Call, CheckError};
use crate::reference::Float;
use crate::shape::TensorShape;

/// The relative error of one rounded operation: half a unit in the last place of 1.
const ROUNDING: f64 = 1.0 / (1 << 24) as f64;
/// The relative size of the perturbation of an operand, for a result with a single term.
pub(crate) const ROUNDINGS: f64 = 8.0 * ROUNDING;
/// Number of trials in which the operands are perturbed. By chance, a single trial may change a sum only a little.
const MOVES: u64 = 4;

/// The element that comes nearest to its bound, or exceeds it most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Worst {
    pub(crate) at: usize,
    pub(crate) found: f64,
    pub(crate) expected: f64,
    pub(crate) bound: f64,
}

impl Worst {
    pub(crate) fn of(elements: impl Iterator<Item = Self>) -> Option<Self> {
        elements.max_by(|a, b| a.excess().total_cmp(&b.excess()))
    }

    fn difference(&self) -> f64 {
        if self.found == self.expected {
            0.0
        } else {
            (self.found - self.expected).abs()
        }
    }

    fn excess(&self) -> f64 {
        match self.difference() {
            0.0 => 0.0,
            difference if difference.is_nan() => f64::INFINITY,
            difference => difference / self.bound,
        }
    }

    pub(crate) fn is_within(&self) -> bool {
        self.difference() <= self.bound
    }

    pub(crate) fn row(
        &self,
        check: Check,
        tensor: &str,
        minibatch: TensorShape,
        call: Option<Call>,
    ) -> Comparison {
        Comparison {
            check,
            tensor: tensor.to_owned(),
            minibatch,
            call,
            difference: self.difference(),
            bound: self.bound,
        }
    }
}

/// The results of the reference for one tensor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moved<'a> {
    /// The result in `f64`.
    pub(crate) expected: &'a Array2<f64>,
    /// The result in `f32`.
    pub(crate) single: &'a Array2<f32>,
    /// How far each element changes when the operands are perturbed: see [`moves`].
    pub(crate) moved: &'a Array2<f64>,
}

/// Compares the GPU's result, in `f32`, with the `f64` reference. The tolerance allows each element `v` a difference of
/// `tolerance · (unit + |v|)`. `unit` is 1, or the number of terms of a sum if each term may add this error, or 1/rows
/// for the gradient of a mean over the rows.
pub(crate) fn parity(
    found: &Array2<f32>,
    by: Moved<'_>,
    unit: f64,
    tolerance: f64,
) -> Option<Worst> {
    let single = by.single.iter().zip(by.moved);
    let elements = found.iter().zip(by.expected).zip(single).enumerate();
    Worst::of(
        elements.map(|(at, ((&found, &expected), (&single, &moved)))| {
            let cancelled = distance(single.into(), expected);
            Worst {
                at,
                found: found.into(),
                // The GPU's result is infinite if it exceeds the range of `f32`, so the expected result is infinite,
                // too.
                expected: if expected.abs() > f64::from(f32::MAX) {
                    f32::from_f64(expected).into()
                } else {
                    expected
                },
                bound: tolerance * (unit + expected.abs()) + moved + 4.0 * cancelled,
            }
        }),
    )
}

/// Measures how far each element of the results changes when all operands are perturbed. Returns the largest distance
/// from `expected` in [`MOVES`] trials. In a trial, each number of the operands is multiplied by `1 + ROUNDINGS·√terms`
/// or `1 − ROUNDINGS·√terms`, at random; `terms` is the number of terms of a sum. `change` applies a given function to
/// every number of the operands.
pub(crate) fn moves<O: Clone>(
    operands: &O,
    terms: usize,
    expected: &[Array2<f64>],
    change: impl Fn(&mut O, &mut dyn FnMut(&mut f64)),
    reference: impl Fn(&O) -> Result<Vec<Array2<f64>>, CheckError>,
) -> Result<Vec<Array2<f64>>, CheckError> {
    let relative = (terms as f64).sqrt() * ROUNDINGS;
    let zeros = expected
        .iter()
        .map(|values| Array2::zeros(values.raw_dim()));
    let mut largest: Vec<Array2<f64>> = zeros.collect();
    for seed in 1..=MOVES {
        let mut numbers = Numbers::new(seed);
        let mut operands = operands.clone();
        // No branch, because the processor would mispredict it half of the time.
        change(&mut operands, &mut |value| {
            *value *= 1.0 + relative * (1.0 - 2.0 * f64::from(numbers.bits() % 2));
        });
        let moved = reference(&operands)?;
        for (largest, (moved, expected)) in largest.iter_mut().zip(moved.iter().zip(expected)) {
            Zip::from(largest)
                .and(moved)
                .and(expected)
                .for_each(|largest, &moved, &expected| {
                    *largest = largest.max(distance(moved, expected));
                });
        }
    }
    Ok(largest)
}

/// The distance, or 0 if it is not finite: an overflow must not enlarge the bound.
fn distance(a: f64, b: f64) -> f64 {
    match (a - b).abs() {
        distance if distance.is_finite() => distance,
        _ => 0.0,
    }
}
