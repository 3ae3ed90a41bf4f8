//! Compares the GPU with the reference, and the reference with its own central differences.

use super::case::{Case, Operands};
use super::on_gpu::OnGpu;
use super::{Check, CheckError, Comparison, Pass};
use crate::check::{Moved, Worst, moves, parity, sampled, slope};

/// Compares the GPU in `f32` with the reference in `f64`.
pub(super) fn with_reference(
    case: &Case<'_>,
    pass: Pass,
    run: &OnGpu,
    tolerance: f64,
) -> Result<Vec<Comparison>, CheckError> {
    let found = match pass {
        Pass::Forward => &run.forward,
        Pass::Backward | Pass::Loss | Pass::Update => &run.backward,
    };
    let operands = case.operands::<f64>(&run.forward[0]);
    let expected = case.reference(pass, &operands)?;
    let results = case.results(pass);
    for ((name, shape), expected) in results.iter().zip(&expected) {
        if let Some(at) = expected.iter().position(|value| value.is_nan()) {
            let at = case.place(pass, name, *shape, at).into();
            let by = "the reference";
            return Err(CheckError::Nan { at, by });
        }
    }
    let single = case.reference(pass, &case.operands::<f32>(&run.forward[0]))?;
    let reference = |operands: &Operands<f64>| case.reference(pass, operands);
    let change = Operands::for_each;
    let moved = moves(&operands, case.terms(), &expected, change, reference)?;
    let mut rows = Vec::new();
    for (index, (name, shape)) in results.into_iter().enumerate() {
        let unit = match (pass, name.as_str()) {
            (Pass::Forward, _) | (_, "dx") => 1.0,
            _ => case.positions() as f64,
        };
        let by = Moved {
            expected: &expected[index],
            single: &single[index],
            moved: &moved[index],
        };
        let Some(worst) = parity(&found[index], by, unit, tolerance) else {
            continue;
        };
        if !worst.is_within() {
            return Err(CheckError::Parity {
                at: case.place(pass, &name, shape, worst.at).into(),
                found: worst.found,
                expected: worst.expected,
                bound: worst.bound,
            });
        }
        let check = Check::Parity(pass);
        rows.push(worst.row(check, &name, case.minibatch, Some(case.call)));
    }
    Ok(rows)
}

/// Compares the reference's backward pass with central differences of its forward pass, in `f64`. The gradients are
/// those with respect to `x` and every parameter.
pub(super) fn with_differences(case: &Case<'_>) -> Result<Vec<Comparison>, CheckError> {
    let mut operands = case.exact_operands()?;
    let gradients = case.reference(Pass::Backward, &operands)?;
    let mut rows = Vec::new();
    for (index, (name, shape)) in case.results(Pass::Backward).into_iter().enumerate() {
        if index == 0 && case.has_indices() {
            continue;
        }
        let gradient = &gradients[index];
        let columns = gradient.ncols();
        let mut elements = Vec::new();
        for at in sampled(gradient.len()) {
            let element = [at / columns, at % columns];
            let [expected, bound] = slope_by(case, &mut operands, index, element)?;
            elements.push(Worst {
                at,
                found: gradient[element],
                expected,
                bound,
            });
        }
        let Some(worst) = Worst::of(elements.into_iter()) else {
            continue;
        };
        if !worst.is_within() {
            return Err(CheckError::Derivative {
                at: case.place(Pass::Backward, &name, shape, worst.at).into(),
                found: worst.found,
                expected: worst.expected,
                bound: worst.bound,
            });
        }
        rows.push(worst.row(Check::Gradient, &name, case.minibatch, Some(case.call)));
    }
    Ok(rows)
}

/// Returns the slope of `Σ dy·y` with respect to one element of an operand, and a bound of the slope's error. Operand 0
/// is `x`; the others are the parameters.
fn slope_by(
    case: &Case<'_>,
    operands: &mut Operands<f64>,
    operand: usize,
    element: [usize; 2],
) -> Result<[f64; 2], CheckError> {
    let value = *number(operands, operand, element);
    let y = operands.y.clone();
    let dy = operands.dy.clone();
    let slope = slope(value, &dy, &y, |to| {
        *number(operands, operand, element) = to;
        Ok(case.reference(Pass::Forward, operands)?.swap_remove(0))
    });
    *number(operands, operand, element) = value;
    slope
}

fn number(operands: &mut Operands<f64>, operand: usize, element: [usize; 2]) -> &mut f64 {
    let matrix = match operand {
        0 => &mut operands.x,
        _ => &mut operands.parameters[operand - 1],
    };
    &mut matrix[element]
}
