//! The gradient check of "Deep Learning from Scratch", chapter 5: compares backpropagation with central differences,
//! and the GPU with the reference.

use std::fmt;

use ndarray::{ArrayD, ArrayView2, Zip};

use crate::error::Error;
use crate::model::Model;
use crate::ops::Loss;
use crate::reference::Targets;
use crate::shape::Shape;

/// The difference between two gradients of the same parameter: statistics of the absolute differences of their
/// elements.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Difference {
    /// Mean of the absolute differences.
    pub mean: f64,
    /// Largest absolute difference; NaN when any is NaN.
    pub max: f64,
}

impl Difference {
    fn between(a: &ArrayD<f64>, b: &ArrayD<f64>) -> Self {
        let mut absolute = ArrayD::zeros(a.raw_dim());
        Zip::from(&mut absolute)
            .and(a)
            .and(b)
            .for_each(|absolute, a, b| *absolute = (a - b).abs());
        Self {
            mean: absolute.sum() / absolute.len() as f64,
            // Not `f64::max`, which would ignore NaN.
            max: absolute.fold(
                0.0,
                |max: f64, &x| if max.is_nan() || x <= max { max } else { x },
            ),
        }
    }
}

/// The result of the check for one parameter.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ParameterRow {
    /// Name of the parameter, for example `layers.0.weight`.
    pub name: String,
    /// Shape of the parameter.
    pub shape: Shape,
    /// Difference between central differences and backpropagation, both in the `f64` reference.
    pub numerical: Difference,
    /// Difference between backpropagation on the GPU, in `f32`, and backpropagation in the `f64` reference.
    pub gpu: Difference,
}

/// The results for all parameters, in network order. `Display` prints them as a table.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct GradientReport {
    /// One row per parameter.
    pub rows: Vec<ParameterRow>,
}

impl fmt::Display for GradientReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [above_numerical, above_gpu] = ["numerical vs backprop, f64", "GPU vs f64 backprop"];
        writeln!(f, "{:<28}  {above_numerical:^26}  {above_gpu:^26}", "")?;
        write!(
            f,
            "{:<18} {:>9}  {:>13}{:>13}  {:>13}{:>13}",
            "parameter", "shape", "mean", "max", "mean", "max"
        )?;
        for row in &self.rows {
            let ParameterRow {
                name,
                shape,
                numerical,
                gpu,
            } = row;
            write!(f, "\n{name:<18} {shape:>9}  ")?;
            write!(f, "{:>13.3e}{:>13.3e}  ", numerical.mean, numerical.max)?;
            write!(f, "{:>13.3e}{:>13.3e}", gpu.mean, gpu.max)?;
        }
        Ok(())
    }
}

/// Checks the gradients of the mean loss of `x` (rows, features) with respect to every parameter. Compares
/// backpropagation with central differences, and the GPU with the reference. The network runs as in evaluation: dropout
/// drops nothing, and layer state does not change.
///
/// Central differences take two forward passes per trainable value. They are wrong where the two passes lie on
/// different sides of a kink, that is, where a rectifier's input is within one step of 0. Backpropagation is right at a
/// kink. The reported differences for the parameters that determine this input are then as large as the gradient
/// itself.
///
/// ```no_run
/// use wgrad::ops::SoftmaxCrossEntropy;
/// use wgrad::{Gpu, Targets, TwoLayerNet, gradient_check, ndarray::Array2};
///
/// let model = TwoLayerNet::spec(4, 3, 2).seed(42).build(&Gpu::new()?)?;
/// let x = Array2::from_shape_fn((3, 4), |(row, column)| (row + column) as f32 / 5.0);
/// let labels = Targets::Classes(&[0, 1, 1]);
/// let report = gradient_check(&model, &SoftmaxCrossEntropy, x.view(), labels)?;
/// assert_eq!(report.rows[0].name, "layers.0.weight");
/// assert!(report.rows.iter().all(|row| row.gpu.mean < 1e-6));
/// println!("{report}");
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// # Errors
/// The errors of [`Model::gradient`].
#[expect(
    clippy::needless_pass_by_value,
    reason = "a view is a reference: ndarray and its users pass them by value"
)]
pub fn gradient_check(
    model: &Model,
    loss: &dyn Loss,
    x: ArrayView2<'_, f32>,
    targets: Targets<'_, f32>,
) -> Result<GradientReport, Error> {
    let on_gpu = model.gradient(loss, x, targets)?;
    let mut network = model.to_reference()?;
    let x = x.mapv(f64::from);
    let values;
    let targets = match targets {
        Targets::Classes(labels) => Targets::Classes(labels),
        Targets::Values(of_rows) => {
            values = of_rows.mapv(f64::from);
            Targets::Values(values.view())
        }
    };
    let backprop = network.gradient(loss, x.view(), targets)?;
    let numerical = network.numerical_gradient(loss, x.view(), targets)?;
    let gradients = numerical.iter().zip(on_gpu.iter());
    let specs = model
        .graph()
        .parameters
        .iter()
        .map(|parameter| &parameter.spec);
    let rows = backprop.iter().zip(gradients).zip(specs);
    let rows = rows.map(
        |(((name, backprop), ((_, numerical), (_, on_gpu))), spec)| ParameterRow {
            name: name.to_owned(),
            shape: spec.shape,
            numerical: Difference::between(numerical, backprop),
            gpu: Difference::between(&on_gpu.mapv(f64::from), backprop),
        },
    );
    Ok(GradientReport {
        rows: rows.collect(),
    })
}

#[cfg(test)]
mod tests {
    use ndarray::arr1;

    use super::*;

    #[test]
    fn differences_are_absolute_and_nan_is_not_passed_over() {
        let zeros = ArrayD::zeros(vec![3]);
        let found = Difference::between(&arr1(&[1.0, -3.0, 2.0]).into_dyn(), &zeros);
        assert_eq!(
            found,
            Difference {
                mean: 2.0,
                max: 3.0
            }
        );
        for values in [
            [f64::NAN, 1.0, 0.0],
            [1.0, f64::NAN, 0.0],
            [0.0, 1.0, f64::NAN],
        ] {
            let found = Difference::between(&arr1(&values).into_dyn(), &zeros);
            assert!(found.mean.is_nan() && found.max.is_nan());
        }
    }

    #[test]
    fn the_table_has_a_line_for_every_parameter() {
        let difference = Difference {
            mean: 1.5e-10,
            max: 2e-9,
        };
        let row = ParameterRow {
            name: "layers.0.weight".to_owned(),
            shape: [784, 50].into(),
            numerical: difference,
            gpu: difference,
        };
        let table = GradientReport {
            rows: vec![row.clone(), row],
        }
        .to_string();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 4);
        let found: Vec<_> = lines[2].split_whitespace().collect();
        let differences = ["1.500e-10", "2.000e-9", "1.500e-10", "2.000e-9"];
        assert_eq!(found[..2], ["layers.0.weight", "784×50"]);
        assert_eq!(found[2..], differences);
    }
}
