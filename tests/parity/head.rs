//! The head of a network in one dispatch. Outputs, losses and all gradients must be within error bounds, which are
//! computed value by value. Two runs must have the same bits.

use wgrad::kernel::Element;
use wgrad::ndarray::{Array2, Zip};
use wgrad::ops::{
    BinaryCrossEntropy, Gelu, Huber, Layer, LeakyRelu, Loss, MeanSquaredError, RelativeL2, Relu,
    Sigmoid, SoftmaxCrossEntropy, Tanh,
};
use wgrad::plumbing::head::{
    Form, Head, HeadActivation, HeadLayer, HeadLoss, HeadPass, HeadScratch,
};

use crate::activations::{
    density, distribution, distribution_error, gaussian_power_error, gelu, gelu_error, tanh_error,
};
use crate::bounds::{self, Activation, Bounded};
use crate::gpu::{Bench, FLUSHED, Fill, Numbers, ROUNDING, ULP, assert_close, gpu};

type Matrix = Array2<f64>;

const FORMS: [Form; 2] = [Form::Tiles, Form::Registers];
const SLOPE: f32 = 0.1;
const DELTA: f32 = 0.25;
const EPSILON: f32 = 0.05;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Behind {
    Nothing,
    Relu,
    Sigmoid,
    LeakyRelu,
    Tanh,
    Gelu,
}
use Behind::{Gelu as G, LeakyRelu as Leaky, Nothing as N, Relu as R, Sigmoid as S, Tanh as T};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Compare {
    Squared,
    Huber,
    Binary,
    Relative,
    Classes,
}
use Compare::{Binary, Classes, Huber as Robust, Relative, Squared};

/// A network: the number of inputs, the number of outputs of each layer and the activation after it, the loss, whether
/// a `Relu` precedes the head, and whether the layers have biases.
#[derive(Debug, Clone, Copy)]
struct Network {
    inputs: usize,
    layers: &'static [(usize, Behind)],
    loss: Compare,
    rectified: bool,
    biased: bool,
}

const fn network(inputs: usize, layers: &'static [(usize, Behind)], loss: Compare) -> Network {
    Network {
        inputs,
        layers,
        loss,
        rectified: false,
        biased: true,
    }
}

/// Networks with widths of 1, with odd widths, with the largest width, and with the largest number of layers.
const NETWORKS: [Network; 13] = [
    network(1, &[(1, N)], Squared),
    network(2, &[(64, R), (64, R), (3, S)], Squared),
    network(37, &[(1, S), (3, Leaky), (128, R), (5, N)], Classes),
    Network {
        rectified: true,
        ..network(128, &[(128, Leaky), (128, R)], Robust)
    },
    Network {
        biased: false,
        ..network(3, &[(37, S), (2, N)], Binary)
    },
    network(
        5,
        &[
            (2, R),
            (3, N),
            (4, S),
            (5, R),
            (6, N),
            (7, Leaky),
            (8, R),
            (9, N),
        ],
        Classes,
    ),
    network(32, &[(64, R), (64, R), (3, Leaky)], Robust),
    network(11, &[(17, N)], Classes),
    network(128, &[(1, N)], Binary),
    network(7, &[(9, T), (66, G), (4, T)], Relative),
    network(40, &[(64, G), (33, G)], Squared),
    network(3, &[(5, T), (6, G)], Classes),
    Network {
        rectified: true,
        ..network(12, &[(128, G), (2, N)], Relative)
    },
];

/// Numbers of rows around those of a block. The last number is so large that a workgroup takes several blocks.
const ROWS: [usize; 7] = [1, 3, 31, 33, 41, 257, 2_601];

struct Case {
    network: Network,
    rows: usize,
    x: Vec<f32>,
    parameters: Vec<f32>,
    values: Vec<f32>,
    labels: Vec<u32>,
}

impl Case {
    fn new(network: Network, rows: usize) -> Self {
        let mut numbers = Numbers::new((rows * 31 + network.inputs) as u64);
        let outputs = network.layers[network.layers.len() - 1].0;
        let mut parameters = Vec::new();
        let mut inputs = network.inputs;
        for &(outputs, _) in network.layers {
            let scale = 1.0 / (inputs as f32).sqrt();
            parameters.extend((0..inputs * outputs).map(|_| scale * numbers.uniform()));
            if network.biased {
                parameters.extend((0..outputs).map(|_| 0.3 * numbers.uniform()));
            }
            inputs = outputs;
        }
        let x = numbers.fill(rows * network.inputs, Fill::Moderate);
        let x = if network.rectified {
            x.into_iter().map(|x| x.max(0.0)).collect()
        } else {
            x
        };
        let unit = |_| numbers.uniform();
        let values: Vec<f32> = (0..rows * outputs).map(unit).collect();
        let values = match network.loss {
            Binary => values.into_iter().map(f32::abs).collect(),
            _ => values,
        };
        let labels = (0..rows).map(|row| u32::try_from(row % outputs).unwrap());
        Self {
            network,
            rows,
            x,
            parameters,
            values,
            labels: labels.collect(),
        }
    }

    fn outputs(&self) -> usize {
        self.network.layers[self.network.layers.len() - 1].0
    }

    fn layers(&self) -> Vec<HeadLayer> {
        let mut at = 0;
        let mut inputs = self.network.inputs;
        let mut layers = Vec::new();
        for &(outputs, behind) in self.network.layers {
            let weight = at;
            at += inputs * outputs;
            let bias = self.network.biased.then_some(at);
            at += bias.map_or(0, |_| outputs);
            let of = |layer: &dyn Layer| HeadActivation::of(layer).unwrap();
            layers.push(HeadLayer {
                inputs,
                outputs,
                weight,
                bias,
                activation: match behind {
                    N => HeadActivation::default(),
                    R => of(&Relu),
                    S => of(&Sigmoid),
                    Leaky => of(&LeakyRelu::new(SLOPE)),
                    T => of(&Tanh),
                    G => of(&Gelu),
                },
            });
            inputs = outputs;
        }
        layers
    }

    fn loss(&self) -> HeadLoss {
        let loss: Box<dyn Loss> = match self.network.loss {
            Squared => Box::new(MeanSquaredError),
            Robust => Box::new(Huber::new(DELTA)),
            Binary => Box::new(BinaryCrossEntropy),
            Relative => Box::new(RelativeL2::new(EPSILON)),
            Classes => Box::new(SoftmaxCrossEntropy),
        };
        HeadLoss::of(&*loss).unwrap()
    }
}

/// The results of a device for a case.
#[derive(Debug, PartialEq)]
struct Found {
    y: Vec<f32>,
    losses: Vec<f32>,
    gradients: Vec<f32>,
    dx: Vec<f32>,
}

fn run(name: &str, case: &Case, form: Form) -> Found {
    let bench = Bench::new(gpu());
    let rows = case.rows;
    let network = &case.network;
    let head = Head::new(case.layers(), network.rectified, form, gpu()).unwrap();
    let (slots, values) = head.scratch_shapes(rows);
    let nothing = |label: &str, shape: [usize; 2]| {
        bench.changed(label, shape, &vec![f32::NAN; shape[0] * shape[1]])
    };
    let scratch = HeadScratch {
        slots: nothing("slots", slots),
        values: values.map(|shape| nothing("values", shape)),
        no_dx: nothing("no dx", [1, 1]),
    };
    let of_parameters = [1, case.parameters.len()];
    let parameters = bench.input("parameters", of_parameters, &case.parameters);
    let gradients = bench.output("gradients", of_parameters);
    let x = bench.input("x", [rows, network.inputs], &case.x);
    let dx = bench.output("dx", [rows, network.inputs]);
    let y = bench.output("y", [rows, case.outputs()]);
    let losses = bench.output("losses", [1, rows]);
    let targets = match network.loss {
        Classes => bench.input_u32("labels", [1, rows], &case.labels),
        _ => bench.input("targets", [rows, case.outputs()], &case.values),
    };
    let pass = HeadPass {
        parameters: &parameters,
        gradients: &gradients,
        x: &x,
        dx: Some(&dx),
        targets: &targets,
        losses: &losses,
    };
    bench.run(name, 1, |recorder| {
        head.record_training(recorder, case.loss(), pass, &scratch);
        head.record_forward(recorder, &parameters, [&x, &y], scratch.values.as_ref());
    });
    assert_eq!(y.element(), Element::F32);
    let [y, losses, gradients, dx] = [y, losses, gradients, dx].map(|tensor| bench.read(&tensor));
    Found {
        y,
        losses,
        gradients,
        dx,
    }
}

fn matrix(rows: usize, values: &[f32]) -> Matrix {
    let values: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
    Matrix::from_shape_vec((rows, values.len() / rows), values).unwrap()
}

fn known(behind: Behind) -> Option<Activation> {
    match behind {
        R => Some(Activation::Relu),
        S => Some(Activation::Sigmoid),
        N | Leaky | T | G => None,
    }
}

fn forward(behind: Behind, z: &Bounded) -> Bounded {
    let mut y = z.clone();
    if behind == Leaky {
        Zip::from(&mut y.value)
            .and(&mut y.error)
            .for_each(|y, error| {
                // The derivative is at most 1 for either sign.
                *y *= if *y > 0.0 { 1.0 } else { f64::from(SLOPE) };
                *error += ROUNDING * y.abs();
            });
    }
    if behind == T || behind == G {
        let both = Zip::from(&mut y.value).and(&mut y.error);
        both.for_each(|y, error| {
            let z = *y;
            // The derivative of tanh is at most 1, and that of GELU at most 1.13.
            (*y, *error) = match behind {
                T => (z.tanh(), *error + tanh_error(z)),
                _ => (gelu(z), 1.13 * *error + gelu_error(z)),
            };
        });
    }
    known(behind).map_or(y, |kind| bounds::activate(kind, z))
}

fn backward(behind: Behind, z: &Bounded, y: &Bounded, dy: &Bounded) -> Bounded {
    let mut dz = dy.clone();
    if behind == Leaky {
        let both = Zip::from(&mut dz.value).and(&mut dz.error);
        both.and(&z.value)
            .and(&z.error)
            .for_each(|dz, error, &z, &z_error| {
                // If `z` is so near to 0 that its sign is uncertain, either derivative may be used.
                if z.abs() <= z_error {
                    *error += dz.abs() * (1.0 - f64::from(SLOPE));
                }
                *dz *= if z > 0.0 { 1.0 } else { f64::from(SLOPE) };
                *error += ROUNDING * dz.abs();
            });
    }
    if behind == T || behind == G {
        let (points, errors) = match behind {
            T => (&y.value, &y.error),
            _ => (&z.value, &z.error),
        };
        let both = Zip::from(&mut dz.value).and(&mut dz.error);
        both.and(points)
            .and(errors)
            .for_each(|dz, error, &at, &off| {
                let (slope, of_slope) = match behind {
                    T => ((1.0 - at) * (1.0 + at), 2.0 * at.abs() * off + off * off),
                    _ => {
                        let product = at * density(at);
                        let of_product = product.abs() * (gaussian_power_error(at) + 1.5 * ULP);
                        // The second derivative, (2 − z²)·φ(z), is at most 2·φ(0).
                        let bend = 0.8 * off + distribution_error(at) + 1.01 * of_product;
                        (distribution(at) + product, bend + 2.0 * ROUNDING)
                    }
                };
                let rounding = 4.0 * ROUNDING * (*dz * slope).abs();
                *error =
                    *error * (slope.abs() + of_slope) + dz.abs() * of_slope + rounding + FLUSHED;
                *dz *= slope;
            });
    }
    known(behind).map_or(dz, |kind| bounds::activate_backward(kind, z, y, dy))
}

/// The loss of one output and its derivative, each with its error.
struct Term {
    loss: [f64; 2],
    slope: [f64; 2],
}

/// Returns the loss at the output `y`, which has the error `off`.
fn term(loss: Compare, y: f64, off: f64, t: f64) -> Term {
    let d = y - t;
    let off_d = off + ROUNDING * d.abs();
    match loss {
        Robust => {
            let delta = f64::from(DELTA);
            let loss = if d.abs() <= delta {
                d * d / 2.0
            } else {
                delta * (d.abs() - delta / 2.0)
            };
            let slope = d.clamp(-delta, delta);
            let rounded = 4.0 * ROUNDING * (delta * d.abs() + delta * delta + d * d);
            let of_loss = slope.abs() * off_d + off_d * off_d + rounded;
            Term {
                loss: [loss, of_loss],
                slope: [slope, off_d],
            }
        }
        Binary => {
            let sigmoid = 1.0 / (1.0 + (-y).exp());
            let loss = y.max(0.0) - y * t + (-y.abs()).exp().ln_1p();
            // `exp` has an error of 3 + 2|z| ULP, `log` of a number near 1 an error of 2⁻²¹, and a division an error of
            // 2.5 ULP.
            let of_exp = (3.0 + 2.0 * y.abs()) * ULP;
            let size = y.abs() + (y * t).abs() + 1.0;
            let rounded = 4.0 * ROUNDING * size + of_exp + 1.0 / f64::from(1 << 21);
            let of_slope = sigmoid * (2.0 * of_exp + 4.0 * ULP) + 2.0 * ROUNDING;
            let slope = sigmoid - t;
            let of_loss = slope.abs() * off + 0.25 * off * off + rounded;
            Term {
                loss: [loss, of_loss],
                slope: [slope, 0.25 * off + of_slope],
            }
        }
        Relative => {
            let size = y * y + f64::from(EPSILON);
            let loss = d * d / size;
            let slope = 2.0 * d / size;
            // The derivatives with respect to y are largest at the smallest |y| within its error.
            let least = (y.abs() - off).max(0.0).powi(2) + f64::from(EPSILON);
            let d = d.abs() + off_d;
            let y = y.abs() + off;
            let bend = 2.0 / least + 4.0 * d * y / (least * least);
            let steep = 2.0 * d / least + 2.0 * y * d * d / (least * least);
            // The roundings of the difference, its square, and the denominator's sum and product; the division; and the
            // difference a second time.
            let quotient = 6.0 * ROUNDING + 2.5 * ULP;
            Term {
                loss: [loss, steep * off_d + quotient * loss],
                slope: [slope, bend * off_d + quotient * slope.abs()],
            }
        }
        Squared | Classes => Term {
            loss: [
                d * d,
                2.0 * d.abs() * off_d + 2.0 * off_d * off_d + 2.0 * ROUNDING * d * d,
            ],
            slope: [2.0 * d, 2.0 * off_d],
        },
    }
}

/// Returns the mean loss of all rows with its error bound, and the gradient with respect to the outputs with its error
/// bounds.
fn compare(case: &Case, y: &Bounded) -> ([f64; 2], Bounded) {
    if case.network.loss == Classes {
        return bounds::softmax_cross_entropy(y, &case.labels);
    }
    let t = matrix(case.rows, &case.values);
    let scale = 1.0 / t.len() as f64;
    let mut mean = [0.0; 2];
    let mut dy = y.clone();
    let all = y.value.iter().zip(&y.error).zip(&t);
    for (((&y, &off), &t), (dy, dy_error)) in all.zip(dy.value.iter_mut().zip(&mut dy.error)) {
        let Term { loss, slope } = term(case.network.loss, y, off, t);
        let sums = 8.0 * (case.outputs() as f64).sqrt() * ROUNDING * loss[0].abs();
        mean[0] += scale * loss[0];
        mean[1] += scale * (loss[1] + sums);
        *dy = scale * slope[0];
        *dy_error = scale * (slope[1] + 4.0 * ROUNDING * slope[0].abs()) + FLUSHED;
    }
    (mean, dy)
}

fn check(name: &str, case: &Case, found: &Found) {
    let layers = case.layers();
    let x = matrix(case.rows, &case.x);
    let mut inputs = vec![Bounded::exact(x.clone())];
    let mut outputs = Vec::new();
    let mut weights = Vec::new();
    for (layer, &(_, behind)) in layers.iter().zip(case.network.layers) {
        let weight = &case.parameters[layer.weight..][..layer.inputs * layer.outputs];
        let bias = layer.bias.map_or(vec![0.0; layer.outputs], |at| {
            case.parameters[at..][..layer.outputs].to_vec()
        });
        let of_layer = [matrix(layer.inputs, weight), matrix(1, &bias)];
        let z = bounds::linear(&inputs[inputs.len() - 1], &of_layer);
        inputs.push(forward(behind, &z));
        outputs.push(z);
        weights.push(of_layer);
    }
    let y = &inputs[layers.len()];
    assert_close(
        &format!("{name}: y"),
        &found.y,
        y.value.iter().copied(),
        y.error.iter().copied(),
    );
    let ([mean, off], mut delta) = compare(case, y);
    let sum: f64 = found.losses.iter().map(|&loss| f64::from(loss)).sum();
    let found_mean = sum / case.rows as f64;
    assert!(
        (found_mean - mean).abs() <= off,
        "{name}: loss {found_mean}, expected {mean} ± {off}"
    );
    for (index, layer) in layers.iter().enumerate().rev() {
        let behind = case.network.layers[index].1;
        delta = backward(behind, &outputs[index], &inputs[index + 1], &delta);
        let mut parts = vec![(layer.weight, inputs[index].transposed().times(&delta, 0))];
        parts.extend(layer.bias.map(|at| (at, delta.sum_of_rows())));
        for (at, part) in parts {
            let of_layer = &found.gradients[at..][..part.value.len()];
            let values = part.value.iter().copied();
            let errors = part.error.iter().copied();
            assert_close(
                &format!("{name}: gradients of layer {index}"),
                of_layer,
                values,
                errors,
            );
        }
        delta = delta.times(&Bounded::exact(weights[index][0].t().to_owned()), 0);
    }
    if case.network.rectified {
        let both = Zip::from(&mut delta.value).and(&mut delta.error);
        both.and(&x).for_each(|value, error, &x| {
            if x <= 0.0 {
                (*value, *error) = (0.0, 0.0);
            }
        });
    }
    let values = delta.value.iter().copied();
    let errors = delta.error.iter().copied();
    assert_close(&format!("{name}: dx"), &found.dx, values, errors);
}

#[test]
fn heads_are_what_their_layers_are_and_the_same_twice() {
    for (index, network) in NETWORKS.into_iter().enumerate() {
        for (number, rows) in ROWS.into_iter().enumerate() {
            // Runs every third case, in a browser every sixth: SwiftShader compiles long there. With many rows, also
            // runs the network that fills the workgroup memory.
            let every = if cfg!(target_arch = "wasm32") { 6 } else { 3 };
            if (index + number) % every != 0 && !(index == 3 && rows > 2_000) {
                continue;
            }
            let case = Case::new(network, rows);
            for form in FORMS {
                let name = format!("{form:?}, {network:?}, {rows} rows");
                let found = run(&name, &case, form);
                check(&name, &case, &found);
                assert_eq!(run(&name, &case, form), found, "{name}");
            }
        }
    }
}
