//! The gradient check of "Deep Learning from Scratch", chapter 5: backpropagation against central
//! differences, and the GPU against both.

use std::fmt;

use ndarray::{Array2, ArrayView2, Zip};

use crate::data::Labels;
use crate::error::Error;
use crate::model::Model;

/// How far two gradients of the same parameter are apart: absolute differences of its elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Their mean.
    pub mean: f64,
    /// The largest of them; NaN when any is NaN.
    pub max: f64,
}

impl Difference {
    fn between(a: &Array2<f64>, b: &Array2<f64>) -> Self {
        let mut absolute = Array2::zeros(a.raw_dim());
        Zip::from(&mut absolute)
            .and(a)
            .and(b)
            .for_each(|absolute, a, b| *absolute = (a - b).abs());
        Self {
            mean: absolute.sum() / absolute.len() as f64,
            // Not `f64::max`, which would pass over NaN.
            max: absolute.fold(0.0, |max: f64, &x| match max.is_nan() || x <= max {
                true => max,
                false => x,
            }),
        }
    }
}

/// The check of one parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// For example `layers.0.weight`.
    pub name: String,
    /// Rows and columns.
    pub shape: [usize; 2],
    /// Central differences against backpropagation, both by the `f64` reference.
    pub numerical: Difference,
    /// Backpropagation on the GPU in `f32` against backpropagation by the `f64` reference.
    pub gpu: Difference,
}

/// A row for every parameter, in the order of the layers. `Display` prints them as a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The rows.
    pub rows: Vec<Row>,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [above_numerical, above_gpu] = ["numerical vs backprop, f64", "GPU vs f64 backprop"];
        writeln!(f, "{:<28}  {above_numerical:^26}  {above_gpu:^26}", "")?;
        write!(
            f,
            "{:<18} {:>9}  {:>13}{:>13}  {:>13}{:>13}",
            "parameter", "shape", "mean", "max", "mean", "max"
        )?;
        for row in &self.rows {
            let shape = format!("{}×{}", row.shape[0], row.shape[1]);
            let Row {
                name,
                numerical,
                gpu,
                ..
            } = row;
            write!(f, "\n{name:<18} {shape:>9}  ")?;
            write!(f, "{:>13.3e}{:>13.3e}  ", numerical.mean, numerical.max)?;
            write!(f, "{:>13.3e}{:>13.3e}", gpu.mean, gpu.max)?;
        }
        Ok(())
    }
}

/// Compares the gradients of the mean softmax cross-entropy of `x` (rows, inputs) by every
/// parameter: central differences with backpropagation, and the GPU with the reference.
///
/// Central differences take two forward passes per trainable value. Where a rectifier's input is
/// within their step of 0, they straddle its kink and are wrong, not backpropagation: differences
/// are then as large as the gradient itself, for the parameters of that unit.
///
/// ```no_run
/// use wgrad::{Gpu, TwoLayerNet, data::Labels, gradient_check, ndarray::Array2};
///
/// let net = TwoLayerNet::new(&Gpu::new()?, 4, 3, 2, 42)?;
/// let x = Array2::from_shape_fn((3, 4), |(row, column)| (row + column) as f32 / 5.0);
/// let table = gradient_check(&net, x.view(), &Labels::from_classes(vec![0, 1, 1], 2)?)?;
/// assert_eq!(table.rows[0].name, "layers.0.weight");
/// assert!(table.rows.iter().all(|row| row.gpu.mean < 1e-6));
/// println!("{table}");
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// # Errors
/// As [`Model::loss`].
#[expect(
    clippy::needless_pass_by_value,
    reason = "a view is a reference: ndarray and its users pass them by value"
)]
pub fn gradient_check(
    model: &Model,
    x: ArrayView2<'_, f32>,
    labels: &Labels,
) -> Result<Table, Error> {
    let on_gpu = model.gradient(x, labels)?;
    let numerical = model.numerical_gradient(x, labels)?;
    let reference = model.to_reference()?;
    let backprop = reference.gradient(x.mapv(f64::from).view(), labels.indices())?;

    let names = model.spec().map_specs(|name, spec| (name, spec.shape));
    let gradients = numerical.iter().flatten().zip(on_gpu.iter().flatten());
    let backprop = backprop.iter().flatten().zip(gradients);
    let rows = names.into_iter().flatten().zip(backprop);
    let rows = rows.map(|((name, shape), (backprop, (numerical, on_gpu)))| Row {
        name,
        shape,
        numerical: Difference::between(numerical, backprop),
        gpu: Difference::between(&on_gpu.mapv(f64::from), backprop),
    });
    Ok(Table {
        rows: rows.collect(),
    })
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;

    #[test]
    fn differences_are_absolute_and_nan_is_not_passed_over() {
        let zeros = Array2::zeros((1, 3));
        let found = Difference::between(&arr2(&[[1.0, -3.0, 2.0]]), &zeros);
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
            let found = Difference::between(&arr2(&[values]), &zeros);
            assert!(found.mean.is_nan() && found.max.is_nan());
        }
    }

    #[test]
    fn the_table_has_a_line_for_every_parameter() {
        let difference = Difference {
            mean: 1.5e-10,
            max: 2e-9,
        };
        let row = Row {
            name: "layers.0.weight".to_owned(),
            shape: [784, 50],
            numerical: difference,
            gpu: difference,
        };
        let table = Table {
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
