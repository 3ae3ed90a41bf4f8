//! Error bounds of a layer's results, from the error bounds of its inputs. The layers are products with a weight,
//! pooling, normalization and embeddings. The bounds need sums of magnitudes and of errors: the layer's own definition
//! computes them from the operands' magnitudes and errors.

use ndarray::{Array2, Zip};

use crate::bounds::Uncertain;
use crate::network::{Kind, Normal, Placed};
use crate::pools::Window;
use crate::tolerance::{DIVISION, Precision};

type Matrix = Array2<f64>;

/// The result of a backward pass: the gradient with respect to the input, with its error bounds, and the error bounds
/// of the parameters' gradients.
pub(crate) type Pulled = (Uncertain, Vec<Matrix>);

/// Computes `y` of a layer that is not an activation.
pub(crate) fn forward(
    precision: Precision,
    layer: &Placed,
    parameters: &[Matrix],
    x: &Uncertain,
) -> Uncertain {
    let magnitudes: Vec<Matrix> = parameters.iter().map(|p| p.mapv(f64::abs)).collect();
    match layer.kind {
        Kind::Products { terms, .. } => {
            let summed = layer.apply(&magnitudes, &x.magnitude());
            let unbiased = [magnitudes[0].clone(), Matrix::zeros(magnitudes[1].dim())];
            let carried = layer.apply(&unbiased, &x.error);
            Uncertain {
                value: layer.apply(parameters, &x.value),
                error: carried + summed.mapv(|sum| precision.sum(terms + 1, sum)),
            }
        }
        Kind::AvgPool { pixels } => {
            let value = layer.apply(&[], &x.value);
            let carried = layer.apply(&[], &x.error);
            let summed = layer.apply(&[], &x.magnitude());
            let error = carried + of_mean(precision, pixels, &summed, &value);
            Uncertain { value, error }
        }
        Kind::MaxPool(window) => max_pool(layer, window, x),
        Kind::Flatten => x.clone(),
        // Indices are exact, and copied rows have no error.
        Kind::Embedding => Uncertain::exact(layer.apply(parameters, &x.value)),
        Kind::Normal { of, eps, .. } => {
            Normalized::of(precision, layer, of, eps, x).scaled(parameters)
        }
        Kind::Activation(_) => unreachable!("activations have bounds of their own"),
    }
}

/// The backward pass of a layer that is not an activation.
pub(crate) fn backward(
    precision: Precision,
    layer: &Placed,
    parameters: &[Matrix],
    x: &Uncertain,
    delta: Uncertain,
) -> Pulled {
    match layer.kind {
        Kind::Products { back, places, .. } => {
            products(precision, layer, parameters, x, &delta, [back, places])
        }
        Kind::AvgPool { pixels } => {
            let pull = |dy: &Matrix| layer.pull(&[], &x.value, dy).0;
            let value = pull(&delta.value);
            let summed = pull(&delta.magnitude());
            let error = pull(&delta.error) + of_mean(precision, pixels, &summed, &value);
            (Uncertain { value, error }, Vec::new())
        }
        Kind::MaxPool(window) => (
            max_pool_backward(precision, layer, window, x, &delta),
            Vec::new(),
        ),
        Kind::Flatten => (delta, Vec::new()),
        Kind::Embedding => {
            let pull = |dy: &Matrix| layer.pull(parameters, &x.value, dy);
            let indices = x.value.len();
            let [summed, carried] =
                [&delta.magnitude(), &delta.error].map(|dy| pull(dy).1.remove(0));
            let error = carried + summed.mapv(|sum| precision.sum(indices, sum));
            (Uncertain::exact(pull(&delta.value).0), vec![error])
        }
        Kind::Normal { of, eps, .. } => {
            Normalized::of(precision, layer, of, eps, x).backward(parameters, &delta)
        }
        Kind::Activation(_) => unreachable!("activations have bounds of their own"),
    }
}

/// Returns the rounding errors of means of at most `count` numbers. A mean takes a sum and a division.
fn of_mean(precision: Precision, count: usize, magnitudes: &Matrix, value: &Matrix) -> Matrix {
    let sums = magnitudes.mapv(|mean| precision.sum(count, mean));
    sums + value.mapv(|value| DIVISION * precision.ulp() * value.abs())
}

fn products(
    precision: Precision,
    layer: &Placed,
    parameters: &[Matrix],
    x: &Uncertain,
    delta: &Uncertain,
    [back, places]: [usize; 2],
) -> Pulled {
    let magnitudes: Vec<Matrix> = parameters.iter().map(|p| p.mapv(f64::abs)).collect();
    let (value, _) = layer.pull(parameters, &x.value, &delta.value);
    let (dx_summed, summed) = layer.pull(&magnitudes, &x.magnitude(), &delta.magnitude());
    let (dx_carried, carried) = layer.pull(&magnitudes, &x.magnitude(), &delta.error);
    let most = delta.magnitude() + &delta.error;
    let (_, by_input) = layer.pull(&magnitudes, &x.error, &most);
    let count = places * x.value.nrows();
    let of_sums = |summed: &Matrix| summed.mapv(|sum| precision.sum(count, sum));
    let dw = &carried[0] + &by_input[0] + of_sums(&summed[0]);
    let db = &carried[1] + of_sums(&summed[1]);
    let error = dx_carried + dx_summed.mapv(|sum| precision.sum(back, sum));
    (Uncertain { value, error }, vec![dw, db])
}

/// Calls `see` for each window. Its arguments are the index of the element of `y`, the window's pixels in order, and
/// the index of the largest pixel.
fn for_each_window(
    layer: &Placed,
    [kernel, stride, padding]: Window,
    x: &Matrix,
    mut see: impl FnMut([usize; 2], &[[usize; 2]], usize),
) {
    let input = layer.input.extents();
    let output = layer.spec.output.extents();
    for row in 0..x.nrows() {
        for element in 0..layer.spec.output.len() {
            let plane = element / (output[1] * output[2]);
            let place = element % (output[1] * output[2]);
            let corner = [place / output[2] * stride[0], place % output[2] * stride[1]];
            let covered = (0..kernel[0] * kernel[1]).filter_map(|at| {
                let line = (corner[0] + at / kernel[1]).checked_sub(padding[0])?;
                let column = (corner[1] + at % kernel[1]).checked_sub(padding[1])?;
                let is_inside = line < input[1] && column < input[2];
                is_inside.then(|| [row, (plane * input[1] + line) * input[2] + column])
            });
            let pixels: Vec<[usize; 2]> = covered.collect();
            let mut winner = 0;
            for (at, &pixel) in pixels.iter().enumerate() {
                if x[pixel] > x[pixels[winner]] {
                    winner = at;
                }
            }
            see([row, element], &pixels, winner);
        }
    }
}

/// Forward pass of max pooling. The error of a maximum is at most the largest error in its window.
fn max_pool(layer: &Placed, window: Window, x: &Uncertain) -> Uncertain {
    let mut y = Uncertain::exact(Matrix::zeros((x.value.nrows(), layer.spec.output.len())));
    for_each_window(layer, window, &x.value, |of_y, pixels, winner| {
        y.value[of_y] = x.value[pixels[winner]];
        let errors = pixels.iter().map(|&pixel| x.error[pixel]);
        y.error[of_y] = errors.fold(0.0, f64::max);
    });
    y
}

/// Backward pass of max pooling. If another pixel may be the maximum, the gradients of both pixels may be wrong by the
/// whole gradient.
fn max_pool_backward(
    precision: Precision,
    layer: &Placed,
    window: Window,
    x: &Uncertain,
    delta: &Uncertain,
) -> Uncertain {
    let mut dx = Uncertain::exact(Matrix::zeros(x.value.dim()));
    let mut summed = Matrix::zeros(x.value.dim());
    for_each_window(layer, window, &x.value, |of_y, pixels, winner| {
        let dy = delta.value[of_y];
        let error = delta.error[of_y];
        let best = pixels[winner];
        let may_win = |&pixel: &[usize; 2]| {
            let uncertain = x.error[pixel] + x.error[best];
            uncertain > 0.0 && x.value[pixel] + uncertain >= x.value[best]
        };
        let others = pixels.iter().filter(|&&pixel| pixel != best);
        let others: Vec<[usize; 2]> = others.copied().filter(may_win).collect();
        let most = dy.abs() + error;
        for &pixel in &others {
            dx.error[pixel] += most;
            summed[pixel] += most;
        }
        dx.value[best] += dy;
        dx.error[best] += if others.is_empty() { error } else { most };
        summed[best] += most;
    });
    let covering = window[0][0] * window[0][1];
    dx.error += &summed.mapv(|sum| precision.sum(covering, sum));
    dx
}

/// The normalized values of a layer: the group's mean is subtracted, and the result is divided by the group's standard
/// deviation. A group is a channel over all rows, or a row.
struct Normalized<'a> {
    precision: Precision,
    layer: &'a Placed,
    of: Normal,
    /// The normalized values `x̂`, as a matrix (rows, columns).
    normal: Uncertain,
    /// For each group: `1/√(variance + eps)` and its relative error.
    inverse: Vec<[f64; 2]>,
    /// The number of values in a group.
    count: usize,
}

/// Returns the indices of an element's group and of its parameter.
fn group_of(layer: &Placed, of: Normal, [row, column]: [usize; 2]) -> [usize; 2] {
    let channels = layer.input.extents()[0];
    match of {
        Normal::Channels => [column / (layer.input.len() / channels); 2],
        Normal::Rows => [row, column],
    }
}

impl<'a> Normalized<'a> {
    fn of(precision: Precision, layer: &'a Placed, of: Normal, eps: f64, x: &Uncertain) -> Self {
        let groups = match of {
            Normal::Channels => layer.input.extents()[0],
            Normal::Rows => x.value.nrows(),
        };
        let count = x.value.len() / groups;
        let n = count as f64;
        let group = |(row, column)| group_of(layer, of, [row, column])[0];
        let sums = |values: &Matrix| {
            let mut sums = vec![0.0; groups];
            values
                .indexed_iter()
                .for_each(|(at, value)| sums[group(at)] += value);
            sums
        };
        let rounded_mean = |sum: f64, magnitude: f64| {
            precision.sum(count, magnitude) / n + DIVISION * precision.ulp() * sum.abs() / n
        };
        let total = sums(&x.value);
        let magnitude = sums(&x.magnitude());
        let carried = sums(&x.error);
        let mut centred = x.clone();
        Zip::indexed(&mut centred.value)
            .and(&mut centred.error)
            .for_each(|at, value, error| {
                let g = group(at);
                *value -= total[g] / n;
                *error += carried[g] / n + rounded_mean(total[g], magnitude[g]);
                *error += precision.unit * (value.abs() + *error);
            });
        let squares = sums(&centred.value.mapv(|value| value * value));
        let mut of_squares = centred.error.clone();
        Zip::from(&mut of_squares)
            .and(&centred.value)
            .for_each(|error, value| *error *= 2.0 * value.abs() + *error);
        let of_squares = sums(&of_squares);
        let inverse: Vec<[f64; 2]> = (0..groups)
            .map(|g| {
                let variance = squares[g] / n + eps;
                let error = of_squares[g] / n
                    + rounded_mean(squares[g], squares[g])
                    + 2.0 * precision.unit * variance
                    + precision.settings * eps;
                let of_eps = 2.0 * precision.unit + precision.settings;
                let least = (variance - error).max(eps * (1.0 - of_eps));
                // The inverse of the deviation is computed either by a square root and a division, or by an inverse
                // square root.
                let of_root = (variance / least).sqrt() - 1.0 + 6.0 * precision.ulp();
                [1.0 / variance.sqrt(), of_root]
            })
            .collect();
        Zip::indexed(&mut centred.value)
            .and(&mut centred.error)
            .for_each(|at, value, error| {
                let [inverse, relative] = inverse[group(at)];
                *error = ((value.abs() + *error) * (relative + precision.unit) + *error) * inverse;
                *value *= inverse;
            });
        Self {
            precision,
            layer,
            of,
            normal: centred,
            inverse,
            count,
        }
    }

    /// Returns the indices of an element's group and of its parameter.
    fn group(&self, (row, column): (usize, usize)) -> [usize; 2] {
        group_of(self.layer, self.of, [row, column])
    }

    /// Returns `weight·x̂ + bias`, with the error of one rounding per operation.
    fn scaled(mut self, parameters: &[Matrix]) -> Uncertain {
        let [weight, bias] = [0, 1].map(|at| parameters[at].iter().copied().collect::<Vec<_>>());
        let layer = self.layer;
        let of = self.of;
        let unit = self.precision.unit;
        let Uncertain { value, error } = &mut self.normal;
        Zip::indexed(value)
            .and(error)
            .for_each(|(row, column), value, error| {
                let [_, at] = group_of(layer, of, [row, column]);
                let product = weight[at] * *value;
                *error *= weight[at].abs();
                *error += 2.01 * unit * (product.abs() + bias[at].abs() + *error);
                *value = product + bias[at];
            });
        self.normal
    }

    /// Computes `dbias = Σ dy`, `dweight = Σ dy·x̂` and `dx = inverse·(g − (Σ g + x̂·Σ g·x̂)/n)`. Here `g = weight·dy`,
    /// and the sums with `g` are over a group of `n` values.
    fn backward(&self, parameters: &[Matrix], delta: &Uncertain) -> Pulled {
        let weight: Vec<f64> = parameters[0].iter().copied().collect();
        let [mut of_weight, mut of_bias] = [(); 2].map(|()| vec![Sum::default(); weight.len()]);
        let groups = self.inverse.len();
        let [mut along, mut all] = [(); 2].map(|()| vec![Sum::default(); groups]);
        let elements = || {
            delta.value.indexed_iter().map(|(at, &dy)| {
                let [group, parameter] = self.group(at);
                let of_dy = [dy, delta.error[at]];
                (
                    at,
                    group,
                    parameter,
                    of_dy,
                    [self.normal.value[at], self.normal.error[at]],
                )
            })
        };
        for (_, group, parameter, dy, normal) in elements() {
            of_bias[parameter].add(dy);
            of_weight[parameter].add(product(dy, normal));
            let g = product(dy, [weight[parameter], 0.0]);
            all[group].add(g);
            along[group].add(product(g, normal));
        }
        let count = self.count;
        let n = self.count as f64;
        let precision = self.precision;
        let terms = match self.of {
            Normal::Channels => count,
            Normal::Rows => delta.value.nrows(),
        };
        let bounds = [of_weight, of_bias].map(|sums| {
            let errors = sums.iter().map(|sum| sum.rounded(precision, terms)[1]);
            let dims = parameters[0].dim();
            Array2::from_shape_vec(dims, errors.collect()).expect("one for each parameter")
        });
        let mut dx = Uncertain::exact(Matrix::zeros(delta.value.dim()));
        for (at, group, parameter, dy, normal) in elements() {
            let g = product(dy, [weight[parameter], 0.0]);
            let all = all[group].rounded(precision, count);
            let along = product(along[group].rounded(precision, count), normal);
            let inner = g[0] - (all[0] + along[0]) / n;
            let magnitude = g[0].abs() + (all[0].abs() + along[0].abs()) / n;
            // Products, sums and a division, each of which is rounded.
            let error = g[1] + (all[1] + along[1]) / n + 8.0 * precision.unit * magnitude;
            let [inverse, relative] = self.inverse[group];
            dx.value[at] = inverse * inner;
            let of_scale = relative + 2.0 * precision.unit;
            dx.error[at] = inverse * (error + (inner.abs() + error) * of_scale) + precision.tiny;
        }
        (dx, bounds.to_vec())
    }
}

/// Returns the product of two numbers with errors. The rounding of the product itself is not included.
fn product([a, of_a]: [f64; 2], [b, of_b]: [f64; 2]) -> [f64; 2] {
    [a * b, a.abs() * of_b + of_a * (b.abs() + of_b)]
}

/// A sum of numbers with errors.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    value: f64,
    error: f64,
    magnitude: f64,
}

impl Sum {
    fn add(&mut self, [value, error]: [f64; 2]) {
        self.value += value;
        self.error += error;
        self.magnitude += value.abs() + error;
    }

    /// Returns the sum and its error. The error includes the rounding of `terms` terms, which are products of up to
    /// three numbers.
    fn rounded(&self, precision: Precision, terms: usize) -> [f64; 2] {
        let rounding = precision.sum(terms, self.magnitude) + 2.0 * precision.unit * self.magnitude;
        [self.value, self.error + rounding]
    }
}
