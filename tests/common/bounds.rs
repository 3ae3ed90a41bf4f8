//! Bounds of the difference between a network's results in single precision and in `f64`. They are computed for each
//! value, from layer to layer.
//!
//! The error bound of a value consists of the errors of its operands and of its own rounding. All bounds are derived
//! from the arithmetic; none is tuned to the measured errors.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(dead_code, reason = "no test program uses all of it")]

use wgrad::Parameters;
use wgrad::ndarray::{Array2, ArrayD, Axis, Zip};

use crate::gpu::{FLUSHED, ROUNDING, ULP};

type Matrix = Array2<f64>;

/// Values in `f64`, and for each value a bound of the error in single precision.
#[derive(Debug, Clone)]
pub(crate) struct Bounded {
    pub(crate) value: Matrix,
    pub(crate) error: Matrix,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    Relu,
    Sigmoid,
}

/// The weight and bias of a linear layer, and the activation after it.
pub(crate) type BoundedLayer<'a> = (&'a [Matrix], Option<Activation>);

/// The mean loss with its error bound, and the gradients of each linear layer's weight and bias, first layer first.
pub(crate) struct BoundedGradient {
    pub(crate) mean_loss: [f64; 2],
    pub(crate) gradients: Vec<[Bounded; 2]>,
}

/// Returns the weight and the bias (as a row) of every linear layer, first layer first.
pub(crate) fn linear_layers(parameters: &Parameters<f64>) -> Vec<Vec<Matrix>> {
    let rows_and_columns = |value: &ArrayD<f64>| {
        let columns = value.shape()[value.ndim() - 1];
        let shape = (value.len() / columns, columns);
        Matrix::from_shape_vec(shape, value.iter().copied().collect()).unwrap()
    };
    let matrices: Vec<Matrix> = parameters
        .iter()
        .map(|(_, value)| rows_and_columns(value))
        .collect();
    matrices.chunks(2).map(<[Matrix]>::to_vec).collect()
}

impl Bounded {
    pub(crate) fn exact(value: Matrix) -> Self {
        let error = Matrix::zeros(value.raw_dim());
        Self { value, error }
    }

    /// Returns the matrix product `self·other`. Each element is a sum of one product per column of `self`, plus `extra`
    /// further additions.
    pub(crate) fn times(&self, other: &Self, extra: usize) -> Self {
        let [a, b] = [self.value.mapv(f64::abs), other.value.mapv(f64::abs)];
        let terms = (self.value.ncols() + extra) as f64;
        let rounding = 8.0 * terms.sqrt() * ROUNDING;
        let reach = &b + &other.error;
        let error = self.error.dot(&reach) + a.dot(&other.error) + a.dot(&b) * rounding;
        Self {
            value: self.value.dot(&other.value),
            error: error + 2.0 * terms * FLUSHED,
        }
    }

    pub(crate) fn transposed(&self) -> Self {
        Self {
            value: self.value.t().to_owned(),
            error: self.error.t().to_owned(),
        }
    }

    /// Returns the sum of each column.
    pub(crate) fn sum_of_rows(&self) -> Self {
        let rounding = 8.0 * (self.value.nrows() as f64).sqrt() * ROUNDING;
        let sum = |matrix: &Matrix| matrix.sum_axis(Axis(0)).insert_axis(Axis(0));
        let absolute = sum(&self.value.mapv(f64::abs));
        Self {
            value: sum(&self.value),
            error: sum(&self.error) + absolute * rounding,
        }
    }
}

pub(crate) fn linear(x: &Bounded, parameters: &[Matrix]) -> Bounded {
    let [w, b] = [&parameters[0], &parameters[1]];
    let mut y = x.times(&Bounded::exact(w.clone()), 1);
    let rounding = 8.0 * ((w.nrows() + 1) as f64).sqrt() * ROUNDING;
    y.value += b;
    y.error += &(b.mapv(f64::abs) * rounding);
    y
}

pub(crate) fn activate(activation: Activation, x: &Bounded) -> Bounded {
    let mut y = x.clone();
    Zip::from(&mut y.value)
        .and(&mut y.error)
        .for_each(|value, error| match activation {
            Activation::Relu => *value = value.max(0.0),
            Activation::Sigmoid => {
                let x = value.abs();
                *value = 1.0 / (1.0 + (-*value).exp());
                // The derivative of the sigmoid is at most ¼. `exp` has an error of 3 + 2|x| ULP, and a division an
                // error of 2.5 ULP.
                let of_exp = 2.0 * (3.0 + 2.0 * x) * ULP;
                *error = *error / 4.0 + *value * (of_exp + ROUNDING + 2.5 * ULP) + FLUSHED;
            }
        });
    y
}

/// Returns the gradient with respect to the input of an activation. Its input is `x`, its output `y`, and the gradient
/// with respect to the output is `dy`.
pub(crate) fn activate_backward(
    activation: Activation,
    x: &Bounded,
    y: &Bounded,
    dy: &Bounded,
) -> Bounded {
    let mut dx = dy.clone();
    Zip::from(&mut dx.value)
        .and(&mut dx.error)
        .and(&x.value)
        .and(&x.error)
        .and(&y.value)
        .for_each(|value, error, &x, &x_error, &y| match activation {
            Activation::Relu => {
                // If `x` is so near to 0 that its sign is uncertain, the derivative may be 0 or 1.
                let open = value.abs() + *error;
                let masked = if x > 0.0 { *value } else { 0.0 };
                *error = match () {
                    () if x.abs() <= x_error => open + masked.abs(),
                    () if x > 0.0 => *error,
                    () => 0.0,
                };
                *value = masked;
            }
            Activation::Sigmoid => {
                let slope = y * (1.0 - y);
                // The slope's error is d(y·(1 − y)) = (1 − 2y)·dy. Here dy is the error of y: at most a quarter of the
                // input's error, plus the rounding of the sigmoid.
                let of_y = x_error / 4.0 + y * 2.0 * (6.0 + 2.0 * x.abs()) * ULP;
                let of_slope = of_y * (1.0 - 2.0 * y).abs() + of_y * of_y;
                let rounding = 4.0 * ROUNDING * (*value * slope).abs();
                *error = *error * (slope + of_slope) + value.abs() * of_slope + rounding;
                *value *= slope;
            }
        });
    dx
}

/// Returns the mean loss with its error bound, and the gradient with respect to the logits.
pub(crate) fn softmax_cross_entropy(logits: &Bounded, labels: &[u32]) -> ([f64; 2], Bounded) {
    let [rows, classes] = [logits.value.nrows(), logits.value.ncols()];
    let mut dlogits = Bounded::exact(Matrix::zeros((rows, classes)));
    let mut mean = [0.0; 2];
    for (row, &label) in labels.iter().enumerate() {
        let z = logits.value.row(row);
        let error = logits.error.row(row);
        let largest = z.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        let off = error.fold(0.0, |a: f64, &b| a.max(b));
        let sum: f64 = z.iter().map(|z| (z - largest).exp()).sum();
        let reach = z.fold(0.0, |a: f64, &b| a.max(largest - b));
        // Relative error of e^z / Σ e^z, for any order of the operations.
        let relative = 2.0 * off + 2.0 * (3.0 + 3.0 * reach) * ULP + classes as f64 * ROUNDING;
        let relative = relative.exp_m1() + 4.0 * ULP;
        let loss = sum.ln() - (z[label as usize] - largest);
        let of_log = 1.0 / f64::from(1 << 21) + 3.0 * ULP * sum.ln();
        mean[0] += loss / rows as f64;
        mean[1] += (relative + of_log + 4.0 * ROUNDING * (reach + loss)) / rows as f64;
        for class in 0..classes {
            let p = (z[class] - largest).exp() / sum;
            let target = if class == label as usize { 1.0 } else { 0.0 };
            dlogits.value[[row, class]] = (p - target) / rows as f64;
            let rounding = 4.0 * ROUNDING * (p - target).abs();
            dlogits.error[[row, class]] = (p * relative + rounding) / rows as f64 + FLUSHED;
        }
    }
    mean[1] += 8.0 * (rows as f64).sqrt() * ROUNDING * mean[0] + 2.5 * ULP * mean[0];
    (mean, dlogits)
}

/// Runs the forward pass. Returns two lists: the input of each linear layer, followed by the logits; and the output of
/// each linear layer before its activation.
fn forward(layers: &[BoundedLayer<'_>], x: &Matrix) -> (Vec<Bounded>, Vec<Bounded>) {
    let mut inputs = vec![Bounded::exact(x.clone())];
    let mut outputs = Vec::new();
    for (index, (parameters, activation)) in layers.iter().enumerate() {
        let y = linear(&inputs[index], parameters);
        inputs.push(activation.map_or_else(|| y.clone(), |activation| activate(activation, &y)));
        outputs.push(y);
    }
    (inputs, outputs)
}

/// Returns the logits of a network of linear layers, with bounds of their error in single precision. Parameters and
/// inputs are exact in single precision.
pub(crate) fn logits(layers: &[BoundedLayer<'_>], x: &Matrix) -> Bounded {
    forward(layers, x).0.remove(layers.len())
}

/// Returns the mean loss and the gradients of a network of linear layers, with bounds of their error in single
/// precision. Parameters and inputs are exact in single precision.
pub(crate) fn gradient(layers: &[BoundedLayer<'_>], x: &Matrix, labels: &[u32]) -> BoundedGradient {
    let (inputs, outputs) = forward(layers, x);
    let (mean_loss, mut delta) = softmax_cross_entropy(&inputs[layers.len()], labels);
    let mut gradients = Vec::new();
    for (index, (parameters, activation)) in layers.iter().enumerate().rev() {
        if let Some(activation) = *activation {
            delta = activate_backward(activation, &outputs[index], &inputs[index + 1], &delta);
        }
        let dw = inputs[index].transposed().times(&delta, 0);
        gradients.push([dw, delta.sum_of_rows()]);
        delta = delta.times(&Bounded::exact(parameters[0].t().to_owned()), 0);
    }
    gradients.reverse();
    BoundedGradient {
        mean_loss,
        gradients,
    }
}
