//! The reference's backward pass against central differences of its forward pass, in `f64`.

use ndarray::Array2;

use super::LayerError;
use super::case::{Case, OnGpu, Operands};
use super::{Check, Pass, Row, Worst};

/// Smaller step of the differences, relative to what is moved.
const H: f64 = 1.0 / (1 << 17) as f64;
/// What is left besides, relative to the slope and 1.
const REST: f64 = 1e-7;
/// Elements of a tensor that are looked at.
const ELEMENTS: usize = 256;

/// What the differences are by.
#[derive(Clone, Copy)]
enum Operand {
    X,
    Parameter(usize),
}

pub(super) fn check(case: &Case<'_>, run: &OnGpu) -> Result<Vec<Row>, LayerError> {
    let mut operands = case.operands::<f64>(&run.forward[0]);
    let mut forward = case.reference(Pass::Forward, &operands)?;
    operands.y = forward.swap_remove(0);
    let gradients = case.reference(Pass::Backward, &operands)?;
    let parameters = (0..operands.parameters.len()).map(Operand::Parameter);
    let all: Vec<Operand> = std::iter::once(Operand::X).chain(parameters).collect();
    let names = case.names(Pass::Backward);
    let mut rows = Vec::new();
    for ((operand, gradient), name) in all.into_iter().zip(&gradients).zip(names) {
        let stride = gradient.len().div_ceil(ELEMENTS);
        let mut elements = Vec::new();
        for (at, &found) in gradient.iter().enumerate().step_by(stride) {
            let [expected, bound] = difference(case, &mut operands, operand, at)?;
            elements.push(Worst {
                at,
                found,
                expected,
                bound,
            });
        }
        let Some(worst) = Worst::of(elements.into_iter()) else {
            continue;
        };
        if !worst.is_within() {
            return Err(LayerError::Derivative {
                at: case.place(Pass::Backward, &name, gradient.dim().into(), worst.at),
                found: worst.found,
                expected: worst.expected,
                bound: worst.bound,
            });
        }
        rows.push(worst.row(Check::Gradient, name, case));
    }
    Ok(rows)
}

/// Of `Σ dy·y` by one number.
struct Slopes {
    left: f64,
    right: f64,
    /// `Σ |dy·y|` over the outputs that change.
    magnitude: f64,
}

impl Slopes {
    fn central(&self) -> f64 {
        f64::midpoint(self.left, self.right)
    }
}

/// The slope by one number, and how far the true one may be from it.
fn difference(
    case: &Case<'_>,
    operands: &mut Operands<f64>,
    operand: Operand,
    at: usize,
) -> Result<[f64; 2], LayerError> {
    let h = H * element(operands, operand, at).abs().max(1.0);
    let coarse = slopes(case, operands, operand, at, 2.0 * h)?;
    let fine = slopes(case, operands, operand, at, h)?;
    let slope = fine.central();
    let kink = (fine.right - fine.left).abs() / 2.0;
    let halving = 2.0 * (coarse.central() - slope).abs();
    let rounding = 16.0 * f64::EPSILON * fine.magnitude / h;
    Ok([
        slope,
        kink + halving + rounding + REST * (1.0 + slope.abs()),
    ])
}

fn slopes(
    case: &Case<'_>,
    operands: &mut Operands<f64>,
    operand: Operand,
    at: usize,
    h: f64,
) -> Result<Slopes, LayerError> {
    let value = *element(operands, operand, at);
    let mut shifted = |to: f64| {
        *element(operands, operand, at) = to;
        case.reference(Pass::Forward, operands)
    };
    let [above, below] = [shifted(value + h)?, shifted(value - h)?];
    *element(operands, operand, at) = value;
    let Operands { y, dy, .. } = operands;
    let [mut left, mut right, mut magnitude] = [0.0; 3];
    let sides = above[0].iter().zip(&below[0]);
    for ((&y, &dy), (&above, &below)) in y.iter().zip(&*dy).zip(sides) {
        right += dy * (above - y) / h;
        left += dy * (y - below) / h;
        if above != y || below != y {
            magnitude += (dy * y).abs();
        }
    }
    Ok(Slopes {
        left,
        right,
        magnitude,
    })
}

fn element(operands: &mut Operands<f64>, operand: Operand, at: usize) -> &mut f64 {
    let matrix: &mut Array2<f64> = match operand {
        Operand::X => &mut operands.x,
        Operand::Parameter(index) => &mut operands.parameters[index],
    };
    let columns = matrix.ncols();
    &mut matrix[[at / columns, at % columns]]
}
