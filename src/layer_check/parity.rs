//! The GPU in `f32` against the reference in `f64`.

use ndarray::Array2;

use super::LayerError;
use super::case::{Case, Numbers, OnGpu, Operands};
use super::{Check, Pass, Row, Worst};
use crate::reference::Float;

/// Half a unit in the last place of 1: the relative error of one rounded operation.
const ROUNDING: f64 = 1.0 / (1 << 24) as f64;
/// How often the operands are moved; of a sum, one draw may happen to move little.
const MOVES: u64 = 4;

pub(super) fn check(
    case: &Case<'_>,
    pass: Pass,
    run: &OnGpu,
    tolerance: f64,
) -> Result<Vec<Row>, LayerError> {
    let found = match pass {
        Pass::Forward => &run.forward,
        Pass::Backward => &run.backward,
    };
    let operands = case.operands::<f64>(&run.forward[0]);
    let expected = case.reference(pass, &operands)?;
    let single = case.reference(pass, &case.operands::<f32>(&run.forward[0]))?;
    let moved = moves(case, pass, &operands, &expected)?;
    let mut rows = Vec::new();
    for (index, name) in case.names(pass).into_iter().enumerate() {
        let shape = found[index].dim().into();
        let place = |at| case.place(pass, &name, shape, at);
        if let Some(at) = expected[index].iter().position(|value| value.is_nan()) {
            let (at, by) = (place(at), "the reference");
            return Err(LayerError::Nan { at, by });
        }
        let unit = match name.as_str() {
            "y" | "dx" => 1.0,
            _ => case.shape[0] as f64,
        };
        let single = single[index].iter().zip(&moved[index]);
        let elements = found[index].iter().zip(&expected[index]).zip(single);
        let elements =
            elements
                .enumerate()
                .map(|(at, ((&found, &expected), (&single, &moved)))| {
                    let cancelled = distance(single.into(), expected);
                    Worst {
                        at,
                        found: found.into(),
                        // What overflows does so on both sides.
                        expected: match expected.abs() > f64::from(f32::MAX) {
                            true => f32::from_f64(expected).into(),
                            false => expected,
                        },
                        bound: tolerance * (unit + expected.abs()) + moved + 4.0 * cancelled,
                    }
                });
        let Some(worst) = Worst::of(elements) else {
            continue;
        };
        if !worst.is_within() {
            return Err(LayerError::Parity {
                at: place(worst.at),
                found: worst.found,
                expected: worst.expected,
                bound: worst.bound,
            });
        }
        rows.push(worst.row(Check::Parity(pass), name, case));
    }
    Ok(rows)
}

/// How far each result moves when the operands move by a few roundings.
fn moves(
    case: &Case<'_>,
    pass: Pass,
    operands: &Operands<f64>,
    expected: &[Array2<f64>],
) -> Result<Vec<Array2<f64>>, LayerError> {
    let terms = case.outputs.max(case.shape[0]).max(case.shape[1]);
    let relative = 8.0 * (terms as f64).sqrt() * ROUNDING;
    let zeros = expected
        .iter()
        .map(|values| Array2::zeros(values.raw_dim()));
    let mut largest: Vec<Array2<f64>> = zeros.collect();
    for seed in 1..=MOVES {
        let mut numbers = Numbers::new(seed);
        let mut operands = operands.clone();
        operands.for_each(|value| match numbers.bits() % 2 {
            0 => *value *= 1.0 + relative,
            _ => *value *= 1.0 - relative,
        });
        let moved = case.reference(pass, &operands)?;
        for (largest, (moved, expected)) in largest.iter_mut().zip(moved.iter().zip(expected)) {
            largest.zip_mut_with(&(moved - expected), |largest, moved| {
                *largest = largest.max(distance(*moved, 0.0));
            });
        }
    }
    Ok(largest)
}

/// 0 where that is not finite: an overflow must not excuse anything.
fn distance(a: f64, b: f64) -> f64 {
    match (a - b).abs() {
        distance if distance.is_finite() => distance,
        _ => 0.0,
    }
}
