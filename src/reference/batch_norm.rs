use ndarray::{ArrayView2, Axis, Zip};

use super::{Backward, Float, Forward, Layer, Mode};

/// Batch normalization of each channel over its `n` values in all rows: `y = weight·x̂ + bias`,
/// `x̂ = (x − mean)/√(variance + eps)`; `dweight = Σ dy·x̂`, `dbias = Σ dy`,
/// `dx = weight/√(variance + eps)·(dy − (dbias + x̂·dweight)/n)`.
///
/// In training, `mean = Σ x/n` and `variance = Σ (x − mean)²/n`. The running mean and variance move by the fraction
/// `momentum` toward `mean` and `Σ (x − mean)²/max(n − 1, 1)`. In evaluation, the running mean and variance are used,
/// and `dx = weight/√(variance + eps)·dy`.
///
/// Sums are in `f64`, like PyTorch's on a CPU.
#[derive(Debug, Clone, Copy)]
pub struct BatchNorm {
    /// Number that is added to the variance.
    pub eps: f64,
    /// Fraction by which the running mean and variance move toward the minibatch's.
    pub momentum: f64,
}

/// Calls `see` with a channel's number and its values in one row, for every row and every channel.
fn for_each<F>(values: ArrayView2<'_, F>, channels: usize, mut see: impl FnMut(usize, &[F]))
where
    F: Float,
{
    let positions = values.ncols() / channels;
    let values = values.as_standard_layout();
    let all = values.as_slice().unwrap_or_default();
    for (at, of_channel) in all.chunks_exact(positions).enumerate() {
        see(at % channels, of_channel);
    }
}

/// Returns each channel's mean, and its `Σ (x − mean)²`.
fn moments<F: Float>(x: ArrayView2<'_, F>, channels: usize) -> Vec<[f64; 2]> {
    let n = (x.len() / channels) as f64;
    let mut moments = vec![[0.0; 2]; channels];
    for_each(x, channels, |channel, values| {
        moments[channel][0] += values.iter().map(|x| x.into_f64()).sum::<f64>();
    });
    for [mean, _] in &mut moments {
        *mean /= n;
    }
    for_each(x, channels, |channel, values| {
        let [mean, squares] = &mut moments[channel];
        let deviations = values.iter().map(|x| x.into_f64() - *mean);
        *squares += deviations
            .map(|deviation| deviation * deviation)
            .sum::<f64>();
    });
    moments
}

impl BatchNorm {
    /// Writes each channel's mean and inverse standard deviation into `kept`, and updates the running mean and
    /// variance.
    fn measure<F: Float>(self, pass: &mut Forward<'_, F>, channels: usize) {
        let n = (pass.x.len() / channels) as f64;
        let go = |running: &mut F, found: f64| {
            let old = running.into_f64();
            *running = F::from_f64((1.0 - self.momentum) * old + self.momentum * found);
        };
        for (channel, [mean, squares]) in moments(pass.x, channels).into_iter().enumerate() {
            pass.kept[0][[0, channel]] = F::from_f64(mean);
            pass.kept[1][[0, channel]] = self.inverse(squares / n);
            go(&mut pass.state[0][[0, channel]], mean);
            let unbiased = squares / (n - 1.0).max(1.0);
            go(&mut pass.state[1][[0, channel]], unbiased);
        }
    }

    fn inverse<F: Float>(self, variance: f64) -> F {
        F::from_f64(1.0 / (variance + self.eps).sqrt())
    }
}

impl<F: Float> Layer<F> for BatchNorm {
    fn forward(&self, mut pass: Forward<'_, F>) {
        let channels = pass.input.extents()[0];
        match pass.mode {
            Mode::Training(_) => self.measure(&mut pass, channels),
            Mode::Evaluation => {
                pass.kept[0].assign(&pass.state[0]);
                let inverse = pass.state[1].mapv(|variance| self.inverse(variance.into_f64()));
                pass.kept[1].assign(&inverse);
            }
        }
        let positions = pass.x.ncols() / channels;
        let [weight, bias] = [0, 1].map(|i| pass.parameters[i].row(0));
        let [mean, inverse] = [0, 1].map(|i| pass.kept[i].row(0));
        for (x, mut y) in pass.x.outer_iter().zip(pass.y.outer_iter_mut()) {
            let of_channels = x.axis_chunks_iter(Axis(0), positions);
            let of_channels = of_channels.zip(y.axis_chunks_iter_mut(Axis(0), positions));
            for (c, (x, mut y)) in of_channels.enumerate() {
                let weight = weight[c];
                let bias = bias[c];
                let mean = mean[c];
                let inverse = inverse[c];
                Zip::from(&mut y).and(&x).for_each(|y, &x| {
                    *y = weight * ((x - mean) * inverse) + bias;
                });
            }
        }
    }

    fn backward(&self, mut pass: Backward<'_, F>) {
        let channels = pass.input.extents()[0];
        let positions = pass.x.ncols() / channels;
        let [mean, inverse] = [0, 1].map(|i| pass.kept[i].row(0));
        let mut sums = vec![[0.0; 2]; channels];
        for (x, dy) in pass.x.outer_iter().zip(pass.dy.outer_iter()) {
            let of_channels = x.axis_chunks_iter(Axis(0), positions);
            let of_channels = of_channels.zip(dy.axis_chunks_iter(Axis(0), positions));
            for (c, (x, dy)) in of_channels.enumerate() {
                let [of_weight, of_bias] = &mut sums[c];
                Zip::from(&x).and(&dy).for_each(|&x, &dy| {
                    *of_weight += (dy * ((x - mean[c]) * inverse[c])).into_f64();
                    *of_bias += dy.into_f64();
                });
            }
        }
        for (c, [of_weight, of_bias]) in sums.into_iter().enumerate() {
            pass.gradients[0][[0, c]] = F::from_f64(of_weight);
            pass.gradients[1][[0, c]] = F::from_f64(of_bias);
        }
        let Some(dx) = &mut pass.dx else { return };
        let share = match pass.mode {
            Mode::Training(_) => F::from_f64(channels as f64 / pass.x.len() as f64),
            Mode::Evaluation => F::zero(),
        };
        let [dweight, dbias] = [0, 1].map(|i| pass.gradients[i].row(0));
        let weight = pass.parameters[0].row(0);
        let rows = pass.x.outer_iter().zip(pass.dy.outer_iter());
        for ((x, dy), mut dx) in rows.zip(dx.outer_iter_mut()) {
            let of_channels = x.axis_chunks_iter(Axis(0), positions);
            let of_channels = of_channels.zip(dy.axis_chunks_iter(Axis(0), positions));
            let dx = dx.axis_chunks_iter_mut(Axis(0), positions);
            for (c, ((x, dy), mut dx)) in of_channels.zip(dx).enumerate() {
                let scale = weight[c] * inverse[c];
                Zip::from(&mut dx).and(&x).and(&dy).for_each(|dx, &x, &dy| {
                    let normal = (x - mean[c]) * inverse[c];
                    *dx = scale * (dy - share * (dbias[c] + normal * dweight[c]));
                });
            }
        }
    }
}
