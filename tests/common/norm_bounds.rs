//! Error bounds of normalization layers in single or double precision, derived from the rounding of each operation. In
//! WGSL, a division has an error of at most 2.5 ULP, `inverseSqrt` of 2 ULP, and sums and products are rounded.
#![allow(dead_code, reason = "no test program uses all of it")]

use wgrad::ndarray::{Array2, ArrayView2, Axis};

/// The rounding of an arithmetic: its unit roundoff, and the magnitude below which it may flush results to 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounding {
    pub(crate) unit: f64,
    pub(crate) tiny: f64,
}

impl Rounding {
    /// Returns the error of a sum of `count` products whose magnitudes sum to `magnitudes`. Rounding errors add up like
    /// a random walk; the bound is 8 standard deviations.
    fn sum(self, count: usize, magnitudes: f64) -> f64 {
        8.0 * (count as f64).sqrt() * self.unit * magnitudes + 2.0 * count as f64 * self.tiny
    }
}

/// The operands of the forward and backward pass of a training step, as matrices.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operands<'a> {
    pub(crate) x: &'a Array2<f32>,
    pub(crate) dy: &'a Array2<f32>,
    pub(crate) parameters: &'a [Array2<f32>],
    pub(crate) state: &'a [Array2<f32>],
}

/// A group of values that are normalized together: a channel, or a row.
struct Group {
    x: Vec<f64>,
    mean: f64,
    variance: f64,
    /// Error bounds of the mean (`of_mean`) and of the variance (`of_variance`).
    of_mean: f64,
    of_variance: f64,
}

impl Group {
    /// Computes the mean, the variance and their error bounds. A kernel computes the mean twice. The first mean has the
    /// error of a sum of the values, and is subtracted from them. The second mean has the error of a sum of the
    /// remainders, plus its own rounding. The variance is computed from the remainders.
    fn measured(precision: Rounding, x: Vec<f64>) -> Self {
        let n = x.len() as f64;
        let unit = precision.unit;
        let mean = x.iter().sum::<f64>() / n;
        let mean_of = |of: &dyn Fn(f64) -> f64| x.iter().map(|&x| of(x)).sum::<f64>() / n;
        let variance = mean_of(&|x| (x - mean) * (x - mean));
        let first = precision.sum(x.len(), mean_of(&f64::abs)) + 5.0 * unit * mean.abs();
        let left = mean_of(&|x| (x - mean).abs()) + first;
        let of_mean = precision.sum(x.len() + 4, left) + 2.0 * unit * mean.abs();
        // The variance takes differences, their squares, a sum and two divisions.
        let of_variance = precision.sum(x.len() + 64, variance + first * first);
        Self {
            x,
            mean,
            variance,
            of_mean,
            of_variance,
        }
    }

    /// Returns the relative error of `1/√(variance + eps)`: half of the relative error of `variance + eps`, plus the
    /// errors of a square root and a division.
    fn of_inverse(&self, precision: Rounding, eps: f64) -> f64 {
        0.51 * self.of_variance / (self.variance + eps) + 8.0 * precision.unit
    }

    /// Returns the error that all `x̂` of the group share: the absolute error from the mean, and the relative error
    /// from the scale.
    fn common(&self, precision: Rounding, eps: f64) -> [f64; 2] {
        let shift = 1.01 * self.of_mean / (self.variance + eps).sqrt();
        [shift, self.of_inverse(precision, eps)]
    }

    /// Returns the normalized value `x̂` of each value, with its error bound.
    fn normal(&self, precision: Rounding, eps: f64) -> Vec<[f64; 2]> {
        let inverse = 1.0 / (self.variance + eps).sqrt();
        let relative = self.of_inverse(precision, eps) + 2.0 * precision.unit;
        let normal = |&x: &f64| {
            let value = (x - self.mean) * inverse;
            [
                value,
                self.of_mean * inverse * 1.01 + value.abs() * relative + precision.tiny,
            ]
        };
        self.x.iter().map(normal).collect()
    }
}

/// Returns the error of `weight·x̂ + bias`.
fn of_line(precision: Rounding, [normal, error]: [f64; 2], weight: f64, bias: f64) -> f64 {
    let product = weight * normal;
    weight.abs() * error + precision.unit * (2.0 * product.abs() + bias.abs()) + precision.tiny
}

/// Returns `Σ a` and `Σ a·x̂` over a group, each with its error. The errors of the mean and the scale are the same for
/// all values, so their effect is proportional to the sums. Rounding errors add up like a random walk.
fn of_sums(
    precision: Rounding,
    a: &[f64],
    normal: &[[f64; 2]],
    [shift, stretch]: [f64; 2],
) -> [[f64; 2]; 2] {
    let magnitudes = a.iter().map(|a| a.abs()).sum::<f64>();
    let products = a.iter().zip(normal).map(|(a, [normal, _])| a * normal);
    let of_products = products.clone().map(f64::abs).sum::<f64>();
    let (all, along) = (a.iter().sum::<f64>(), products.sum::<f64>());
    let carried = all.abs() * shift + along.abs() * stretch;
    [
        [all, precision.sum(a.len(), magnitudes)],
        [along, precision.sum(a.len() + 4, of_products) + carried],
    ]
}

/// Returns the error of `scale·(a − (Σ a + x̂·Σ a·x̂)/n)`, where the scale has the relative error `of_scale`.
fn of_difference(
    precision: Rounding,
    (scale, of_scale): (f64, f64),
    (a, n): (f64, usize),
    [normal, error]: [f64; 2],
    [[all, of_all], [along, of_along]]: [[f64; 2]; 2],
) -> f64 {
    let n = n as f64;
    let part = (all + normal * along) / n;
    let magnitude = (all.abs() + (normal * along).abs()) / n;
    let of_part = (of_all + normal.abs() * of_along + error * (along.abs() + of_along)) / n;
    let rounding = precision.unit * (8.0 * magnitude + 2.0 * a.abs());
    let value = scale * (a - part);
    scale.abs() * (of_part + rounding) * 1.01 + value.abs() * of_scale + 2.0 * precision.tiny
}

fn channel(values: ArrayView2<'_, f32>, channel: usize, positions: usize) -> Vec<f64> {
    let of_rows = values.axis_iter(Axis(0)).flat_map(|row| {
        let row = row.to_vec();
        row[channel * positions..(channel + 1) * positions].to_vec()
    });
    of_rows.map(f64::from).collect()
}

/// Returns the errors of batch normalization: of `y`, `dx`, `dweight`, `dbias` and the running values in a training
/// step, and of `y` in an evaluation after it. A row has the positions of the first channel, then of the second, and so
/// on.
pub(crate) fn batch_norm(
    precision: Rounding,
    of: Operands<'_>,
    eps: f64,
    momentum: f64,
) -> Vec<Vec<f64>> {
    let channels = of.parameters[0].len();
    let (rows, columns) = of.x.dim();
    let positions = columns / channels;
    let unit = precision.unit;
    let zeros = || vec![0.0; rows * columns];
    let [mut y, mut dx, mut evaluated] = [zeros(), zeros(), zeros()];
    let mut of_channels = vec![Vec::new(); 4];
    for c in 0..channels {
        let group = Group::measured(precision, channel(of.x.view(), c, positions));
        let dy = channel(of.dy.view(), c, positions);
        let n = dy.len();
        let [weight, bias] = [0, 1].map(|i| f64::from(of.parameters[i][[0, c]]));
        let [old_mean, old_var] = [0, 1].map(|i| f64::from(of.state[i][[0, c]]));
        let normal = group.normal(precision, eps);
        let sums @ [of_bias, of_weight] =
            of_sums(precision, &dy, &normal, group.common(precision, eps));
        let kept = |old: f64, new: f64| {
            let value = (1.0 - momentum) * old + momentum * new;
            let rounding = 4.0 * unit * (old.abs() + (momentum * new).abs());
            (value, rounding)
        };
        let (mean, of_mean) = kept(old_mean, group.mean);
        let of_mean = of_mean + momentum * group.of_mean;
        let bessel = n as f64 / (n as f64 - 1.0).max(1.0);
        let (variance, of_variance) = kept(old_var, group.variance * bessel);
        let of_variance = of_variance + momentum * bessel * group.of_variance;
        let later = Group {
            x: group.x.clone(),
            mean,
            variance,
            of_mean,
            of_variance,
        };
        let errors = [of_weight[1], of_bias[1], of_mean, of_variance];
        for (all, error) in of_channels.iter_mut().zip(errors) {
            all.push(error);
        }
        let scale = weight / (group.variance + eps).sqrt();
        let of_scale = group.of_inverse(precision, eps) + 4.0 * unit;
        for (at, (normal, later)) in normal.iter().zip(later.normal(precision, eps)).enumerate() {
            let to = at / positions * columns + c * positions + at % positions;
            y[to] = of_line(precision, *normal, weight, bias);
            evaluated[to] = of_line(precision, later, weight, bias);
            let scale = (scale, of_scale);
            dx[to] = of_difference(precision, scale, (dy[at], n), *normal, sums);
        }
    }
    let mut bounds = vec![y, dx];
    bounds.append(&mut of_channels);
    bounds.push(evaluated);
    bounds
}

/// Returns the errors of layer normalization: of `y`, `dx`, `dweight` and `dbias`.
pub(crate) fn layer_norm(precision: Rounding, of: Operands<'_>, eps: f64) -> Vec<Vec<f64>> {
    let (rows, columns) = of.x.dim();
    let [weight, bias] = [0, 1].map(|i| {
        of.parameters[i]
            .iter()
            .map(|&value| value.into())
            .collect::<Vec<f64>>()
    });
    let [mut y, mut dx] = [Vec::new(), Vec::new()];
    let mut normals = Vec::new();
    for (x, dy) in of.x.outer_iter().zip(of.dy.outer_iter()) {
        let group = Group::measured(precision, x.iter().map(|&x| x.into()).collect());
        let normal = group.normal(precision, eps);
        let g = dy
            .iter()
            .zip(&weight)
            .map(|(&dy, weight)| f64::from(dy) * weight);
        let g: Vec<f64> = g.collect();
        // Each `g` is a product that is rounded before the sum. The factor 1.5 allows for this rounding.
        let mut sums = of_sums(precision, &g, &normal, group.common(precision, eps));
        for [_, error] in &mut sums {
            *error *= 1.5;
        }
        let inverse = 1.0 / (group.variance + eps).sqrt();
        let scale = (
            inverse,
            group.of_inverse(precision, eps) + 2.0 * precision.unit,
        );
        for (c, normal) in normal.iter().enumerate() {
            y.push(of_line(precision, *normal, weight[c], bias[c]));
            dx.push(of_difference(
                precision,
                scale,
                (g[c], columns),
                *normal,
                sums,
            ));
        }
        normals.push(normal);
    }
    let [mut dweight, mut dbias] = [Vec::new(), Vec::new()];
    for c in 0..columns {
        let dy: Vec<f64> = (0..rows).map(|row| of.dy[[row, c]].into()).collect();
        let of_column: Vec<[f64; 2]> = normals.iter().map(|row| row[c]).collect();
        // Each row has its own mean and scale, so the rows have no common error that is proportional to the sums. The
        // magnitudes of the rows' errors are added instead.
        let carried = dy.iter().zip(&of_column);
        let carried = carried.map(|(dy, [_, error])| dy.abs() * error);
        let [of_bias, of_weight] = of_sums(precision, &dy, &of_column, [0.0; 2]);
        dweight.push(of_weight[1] + carried.sum::<f64>());
        dbias.push(of_bias[1]);
    }
    vec![y, dx, dweight, dbias]
}
