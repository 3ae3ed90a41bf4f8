//! Error bounds of gradients. Both passes are computed with an error bound for each value.

use ndarray::{Array2, Zip};

use crate::layer_bounds;
use crate::losses::LossSpec;
use crate::network::{Activation, Kind, Network, Node};
use crate::tolerance::{DIVISION, Precision, distribution, gelu_slope, sigmoid};
use crate::training::Compared;

/// Values with error bounds.
#[derive(Debug, Clone)]
pub(crate) struct Uncertain {
    pub(crate) value: Array2<f64>,
    pub(crate) error: Array2<f64>,
}

impl Uncertain {
    /// Values without error, as read from a file.
    pub(crate) fn exact(value: Array2<f64>) -> Self {
        let error = Array2::zeros(value.raw_dim());
        Self { value, error }
    }

    /// Pixels: bytes divided by 255, with the error of the division.
    pub(crate) fn pixels(precision: Precision, pixels: &Array2<u8>) -> Self {
        let value = pixels.mapv(|pixel| f64::from(pixel) / 255.0);
        let error = value.mapv(|value| DIVISION * precision.ulp() * value);
        Self { value, error }
    }

    pub(crate) fn magnitude(&self) -> Array2<f64> {
        self.value.mapv(f64::abs)
    }

    /// Returns the elementwise sum, with the error of its rounding.
    fn plus(&self, other: &Self, precision: Precision) -> Self {
        let value = &self.value + &other.value;
        let errors = &self.error + &other.error;
        let rounding = (value.mapv(f64::abs) + &errors) * precision.unit;
        Self {
            error: errors + rounding,
            value,
        }
    }
}

/// Returns the error bounds of the gradients with respect to all parameters, in one list.
pub(crate) fn gradient_bounds(
    precision: Precision,
    network: &Network,
    parameters: &[Array2<f32>],
    x: Uncertain,
    (loss, targets): (&LossSpec, &Compared),
) -> Vec<f64> {
    let parameters: Vec<Array2<f64>> = parameters.iter().map(|p| p.mapv(f64::from)).collect();
    let mut values = vec![x];
    for node in &network.nodes {
        values.push(match *node {
            Node::Sum([a, b]) => values[a].plus(&values[b], precision),
            Node::Layer { layer, x } => {
                let layer = &network.layers[layer];
                match layer.kind {
                    Kind::Activation(of) => activate(precision, of, &values[x]),
                    _ => {
                        let parameters = layer.of(&parameters);
                        layer_bounds::forward(precision, layer, parameters, &values[x])
                    }
                }
            }
        });
    }
    let mut bounds = vec![Vec::new(); parameters.len()];
    let mut deltas: Vec<Option<Uncertain>> = vec![None; values.len()];
    let last = network.nodes.len();
    deltas[last] = Some(loss.doutputs(precision, &values[last], targets));
    for (index, node) in network.nodes.iter().enumerate().rev() {
        // A value that no later value depends on has no gradient.
        let Some(delta) = deltas[index + 1].take() else {
            continue;
        };
        let mut arrive = |at: usize, more: Uncertain| {
            deltas[at] = Some(match deltas[at].take() {
                None => more,
                Some(before) => before.plus(&more, precision),
            });
        };
        match *node {
            Node::Sum([a, b]) => {
                arrive(a, delta.clone());
                arrive(b, delta);
            }
            Node::Layer { layer, x } => {
                let layer = &network.layers[layer];
                let dx = match layer.kind {
                    Kind::Activation(of) => {
                        let [input, output] = [&values[x], &values[index + 1]];
                        activate_backward(precision, of, input, output, delta)
                    }
                    _ => {
                        let of_layer = layer.of(&parameters);
                        let (dx, errors) =
                            layer_bounds::backward(precision, layer, of_layer, &values[x], delta);
                        for (bound, error) in bounds[layer.first[0]..].iter_mut().zip(errors) {
                            *bound = error.into_iter().collect();
                        }
                        dx
                    }
                };
                if x > 0 {
                    arrive(x, dx);
                }
            }
        }
    }
    bounds.concat()
}

fn activate(precision: Precision, activation: Activation, x: &Uncertain) -> Uncertain {
    let mut value = x.value.clone();
    let mut error = x.error.clone();
    Zip::from(&mut value)
        .and(&mut error)
        .for_each(|value, error| {
            let x = *value;
            (*value, *error) = match activation {
                // If the input is below 0 by more than its error, the output is exactly 0.
                Activation::Relu => (x.max(0.0), error.min((x + *error).max(0.0))),
                // The derivative is at most 1/4.
                Activation::Sigmoid => (sigmoid(x), *error / 4.0 + precision.sigmoid(x)),
                // The derivative is at most 1.
                Activation::Tanh => (x.tanh(), *error + precision.tanh(x)),
                // The derivative is at most 1.13.
                Activation::Gelu => (x * distribution(x), 1.13 * *error + precision.gelu(x)),
                Activation::LeakyRelu { slope } if x > 0.0 => (x, slope.abs().max(1.0) * *error),
                Activation::LeakyRelu { slope } => {
                    let most = slope.abs().max(1.0);
                    (slope * x, most * *error + scaled(precision, slope, x))
                }
            };
        });
    Uncertain { value, error }
}

/// Returns the error of the product of `x` and a slope. The crate stores the slope in `f32`.
fn scaled(precision: Precision, slope: f64, x: f64) -> f64 {
    let of_slope = f64::from(f32::EPSILON) / 2.0;
    (slope * x).abs() * (of_slope + precision.unit) + precision.tiny
}

fn activate_backward(
    precision: Precision,
    activation: Activation,
    x: &Uncertain,
    y: &Uncertain,
    mut delta: Uncertain,
) -> Uncertain {
    let pairs = Zip::from(&mut delta.value).and(&mut delta.error);
    match activation {
        Activation::Relu => rectify(pairs.and(&x.value).and(&x.error), precision, 0.0),
        Activation::LeakyRelu { slope } => {
            rectify(pairs.and(&x.value).and(&x.error), precision, slope);
        }
        Activation::Sigmoid => {
            pairs
                .and(&y.value)
                .and(&y.error)
                .for_each(|dx, error, &y, &uncertainty| {
                    let slope = (1.0 - y) * y;
                    let dy = dx.abs() + *error;
                    *error = *error * slope + precision.sigmoid_backward(y, uncertainty, dy);
                    *dx *= slope;
                });
        }
        Activation::Tanh => {
            pairs
                .and(&y.value)
                .and(&y.error)
                .for_each(|dx, error, &y, &uncertainty| {
                    let slope = (1.0 - y) * (1.0 + y);
                    let dy = dx.abs() + *error;
                    *error = *error * slope + precision.tanh_backward(y, uncertainty, dy);
                    *dx *= slope;
                });
        }
        Activation::Gelu => {
            pairs
                .and(&x.value)
                .and(&x.error)
                .for_each(|dx, error, &x, &uncertainty| {
                    let slope = gelu_slope(x);
                    let dy = dx.abs() + *error;
                    *error = *error * slope.abs() + precision.gelu_backward(x, uncertainty, dy);
                    *dx *= slope;
                });
        }
    }
    delta
}

type Rows<'a> = ndarray::ArrayView2<'a, f64>;
type Changed<'a> = ndarray::ArrayViewMut2<'a, f64>;

/// Backward pass of an activation whose derivative is 1 where `x` is above 0, and `slope` elsewhere.
fn rectify(
    all: Zip<(Changed<'_>, Changed<'_>, Rows<'_>, Rows<'_>), ndarray::Ix2>,
    precision: Precision,
    slope: f64,
) {
    all.for_each(|dx, error, &x, &uncertainty| {
        let is_open = x > 0.0;
        let of_side = |is_open: bool| if is_open { 1.0 } else { slope };
        let mut most = *error * of_side(is_open).abs();
        if x.abs() <= uncertainty {
            // The sign of `x` is uncertain, so either derivative may have been used.
            let other = of_side(!is_open);
            most = (*error * other.abs()).max(most) + dx.abs() * (1.0 - slope).abs();
        }
        if slope != 0.0 && (!is_open || x.abs() <= uncertainty) {
            most += scaled(precision, slope, dx.abs() + *error);
        }
        *dx *= of_side(is_open);
        *error = most;
    });
}
