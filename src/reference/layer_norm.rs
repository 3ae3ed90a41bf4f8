use ndarray::{Array1, Zip};

use super::{Backward, Float, Forward, Layer};

/// Layer normalization of each row over its `n` columns: `y = weight·x̂ + bias` with `x̂ = (x − mean)·inverse`,
/// `mean = Σ x/n` and `inverse = 1/√(Σ (x − mean)²/n + eps)`. The gradients are `dweight = Σ_rows dy·x̂`,
/// `dbias = Σ_rows dy` and `dx = inverse·(g − (Σ g + x̂·Σ g·x̂)/n)` with `g = dy·weight`.
///
/// Sums over a row are in `f64`, like PyTorch's on a CPU.
#[derive(Debug, Clone, Copy)]
pub struct LayerNorm {
    /// Number that is added to the variance.
    pub eps: f64,
}

impl<F: Float> Layer<F> for LayerNorm {
    fn forward(&self, mut pass: Forward<'_, F>) {
        let n = pass.x.ncols() as f64;
        let [weight, bias] = [0, 1].map(|i| flat(&pass.parameters[i]));
        let rows = pass.x.outer_iter().zip(pass.y.outer_iter_mut());
        for (row, (x, mut y)) in rows.enumerate() {
            let mean = x.iter().map(|x| x.into_f64()).sum::<f64>() / n;
            let deviations = x.iter().map(|x| x.into_f64() - mean);
            let squares = deviations
                .map(|deviation| deviation * deviation)
                .sum::<f64>();
            let inverse = F::from_f64(1.0 / (squares / n + self.eps).sqrt());
            let mean = F::from_f64(mean);
            pass.kept[0][[row, 0]] = mean;
            pass.kept[1][[row, 0]] = inverse;
            let operands = Zip::from(&mut y).and(&x).and(&weight).and(&bias);
            operands.for_each(|y, &x, &weight, &bias| {
                *y = weight * ((x - mean) * inverse) + bias;
            });
        }
    }

    fn backward(&self, mut pass: Backward<'_, F>) {
        let n = pass.x.ncols() as f64;
        let weight = flat(&pass.parameters[0]);
        let mut sums = [0, 1].map(|_| Array1::<F>::zeros(pass.x.ncols()));
        for (row, (x, dy)) in pass.x.outer_iter().zip(pass.dy.outer_iter()).enumerate() {
            let [mean, inverse] = [0, 1].map(|i| pass.kept[i][[row, 0]]);
            let [dweight, dbias] = &mut sums;
            let operands = Zip::from(dweight).and(dbias).and(&x).and(&dy);
            operands.for_each(|dweight, dbias, &x, &dy| {
                *dweight += dy * ((x - mean) * inverse);
                *dbias += dy;
            });
            let Some(dx) = &mut pass.dx else { continue };
            let [mut all, mut along] = [0.0; 2];
            Zip::from(&x)
                .and(&dy)
                .and(&weight)
                .for_each(|&x, &dy, &weight| {
                    let g = dy * weight;
                    all += g.into_f64();
                    along += (g * ((x - mean) * inverse)).into_f64();
                });
            let [all, along] = [all, along].map(|sum| F::from_f64(sum / n));
            let operands = Zip::from(dx.row_mut(row)).and(&x).and(&dy).and(&weight);
            operands.for_each(|dx, &x, &dy, &weight| {
                let normal = (x - mean) * inverse;
                *dx = inverse * (dy * weight - (all + normal * along));
            });
        }
        for (gradient, sum) in pass.gradients.iter_mut().zip(&sums) {
            gradient
                .iter_mut()
                .zip(sum)
                .for_each(|(to, &sum)| *to = sum);
        }
    }
}

/// Returns a parameter, which has the shape of a row, as a vector.
fn flat<F: Float>(parameter: &ndarray::Array2<F>) -> Array1<F> {
    parameter.iter().copied().collect()
}
