//! How far a gradient may be off: the bounds of each operation, carried through both passes beside
//! the values themselves.

use ndarray::{Array2, Zip};

use crate::tolerance::{DIVISION, Precision, Softmax, sigmoid};
use crate::training::Activation;

/// Weight and bias of every linear layer.
pub(crate) type Parameters = Vec<[Array2<f32>; 2]>;

/// Values with how far each may be off.
struct Uncertain {
    value: Array2<f64>,
    error: Array2<f64>,
}

impl Uncertain {
    fn magnitude(&self) -> Array2<f64> {
        self.value.mapv(f64::abs)
    }
}

/// Of the gradients by all parameters, one after another; pixels are divided by 255.
pub(crate) fn gradient_bounds(
    precision: Precision,
    activation: Option<Activation>,
    parameters: &Parameters,
    pixels: &Array2<u8>,
    labels: &[u32],
) -> Vec<f64> {
    let value = pixels.mapv(|pixel| f64::from(pixel) / 255.0);
    let error = value.mapv(|value| DIVISION * precision.ulp() * value);
    let weights: Vec<Array2<f64>> = parameters.iter().map(|[w, _]| w.mapv(f64::from)).collect();
    let mut inputs = vec![Uncertain { value, error }];
    // What each activation saw.
    let mut sums: Vec<Uncertain> = Vec::new();
    for (i, w) in weights.iter().enumerate() {
        let sum = linear(precision, &inputs[i], w, &parameters[i][1].mapv(f64::from));
        inputs.push(activate(precision, activation, &sum));
        sums.push(sum);
    }
    let mut bounds = Vec::new();
    let mut delta = dlogits(precision, &sums[sums.len() - 1], labels);
    for (i, w) in weights.iter().enumerate().rev() {
        let (x, rows) = (&inputs[i], labels.len());
        let magnitude = delta.magnitude();
        let carried =
            x.magnitude().t().dot(&delta.error) + x.error.t().dot(&(&magnitude + &delta.error));
        let summed = x.magnitude().t().dot(&magnitude);
        let mut layer: Vec<f64> = Vec::new();
        layer.extend(
            carried
                .iter()
                .zip(&summed)
                .map(|(c, &s)| c + precision.sum(rows, s)),
        );
        let ones = Array2::ones((1, rows));
        let (carried, summed) = (ones.dot(&delta.error), ones.dot(&magnitude));
        layer.extend(
            carried
                .iter()
                .zip(&summed)
                .map(|(c, &s)| c + precision.sum(rows, s)),
        );
        bounds.push(layer);
        if i > 0 {
            let (back, magnitudes) = (w.t(), w.mapv(f64::abs));
            let summed = magnitude.dot(&magnitudes.t());
            let rounding = summed.mapv(|sum| precision.sum(w.ncols(), sum));
            let below = Uncertain {
                value: delta.value.dot(&back),
                error: delta.error.dot(&magnitudes.t()) + rounding,
            };
            delta = activate_backward(precision, activation, &sums[i - 1], &inputs[i], below);
        }
    }
    bounds.reverse();
    bounds.concat()
}

fn linear(precision: Precision, x: &Uncertain, w: &Array2<f64>, b: &Array2<f64>) -> Uncertain {
    let magnitudes = w.mapv(f64::abs);
    let summed = x.magnitude().dot(&magnitudes) + b.mapv(f64::abs);
    let rounding = summed.mapv(|sum| precision.sum(w.nrows() + 1, sum));
    Uncertain {
        value: x.value.dot(w) + b,
        error: x.error.dot(&magnitudes) + rounding,
    }
}

fn activate(precision: Precision, activation: Option<Activation>, x: &Uncertain) -> Uncertain {
    let (mut value, mut error) = (x.value.clone(), x.error.clone());
    match activation {
        None => {}
        Some(Activation::Relu) => value.mapv_inplace(|x| x.max(0.0)),
        Some(Activation::Sigmoid) => {
            value.mapv_inplace(sigmoid);
            // The slope is at most 1/4.
            Zip::from(&mut error)
                .and(&x.value)
                .for_each(|error, &x| *error = *error / 4.0 + precision.sigmoid(x));
        }
        Some(Activation::Tanh) => {
            value.mapv_inplace(f64::tanh);
            // The slope is at most 1.
            Zip::from(&mut error)
                .and(&x.value)
                .for_each(|error, &x| *error += precision.tanh(x));
        }
    }
    Uncertain { value, error }
}

fn activate_backward(
    precision: Precision,
    activation: Option<Activation>,
    x: &Uncertain,
    y: &Uncertain,
    mut delta: Uncertain,
) -> Uncertain {
    let Uncertain { value, error } = &mut delta;
    match activation {
        None => {}
        Some(Activation::Relu) => Zip::from(value)
            .and(error)
            .and(&x.value)
            .and(&x.error)
            .for_each(|dx, error, &x, &uncertainty| {
                if x.abs() <= uncertainty {
                    // Whether it passes is not known.
                    *error += dx.abs();
                } else if x <= 0.0 {
                    *error = 0.0;
                }
                if x <= 0.0 {
                    *dx = 0.0;
                }
            }),
        Some(Activation::Sigmoid) => Zip::from(value)
            .and(error)
            .and(&y.value)
            .and(&y.error)
            .for_each(|dx, error, &y, &uncertainty| {
                let slope = (1.0 - y) * y;
                let dy = dx.abs() + *error;
                *error = *error * slope + precision.sigmoid_backward(y, uncertainty, dy);
                *dx *= slope;
            }),
        Some(Activation::Tanh) => Zip::from(value)
            .and(error)
            .and(&y.value)
            .and(&y.error)
            .for_each(|dx, error, &y, &uncertainty| {
                let slope = (1.0 - y) * (1.0 + y);
                let dy = dx.abs() + *error;
                *error = *error * slope + precision.tanh_backward(y, uncertainty, dy);
                *dx *= slope;
            }),
    }
    delta
}

fn dlogits(precision: Precision, logits: &Uncertain, labels: &[u32]) -> Uncertain {
    let (mut value, mut error) = (logits.value.clone(), logits.error.clone());
    for (row, &label) in labels.iter().enumerate() {
        let (z, errors) = (
            logits.value.row(row).to_vec(),
            logits.error.row(row).to_vec(),
        );
        let label = label as usize;
        let bounds = precision.softmax(&z, &errors, label, labels.len());
        let mut gradient = Softmax::of(&z, label).probabilities;
        gradient[label] -= 1.0;
        for (class, gradient) in gradient.into_iter().enumerate() {
            value[[row, class]] = gradient / labels.len() as f64;
            error[[row, class]] = bounds.dlogits[class];
        }
    }
    Uncertain { value, error }
}
