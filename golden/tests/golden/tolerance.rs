//! Bounds of the errors of results, derived from the accuracy of the arithmetic.
//!
//! WGSL allows an error of 3 + 2|x| ULP for `exp(x)`, of 3 ULP for `log` (an absolute error of 2⁻²¹ between ½ and 2),
//! and of 2.5 ULP for a division. Sums and products are rounded to one of the two nearest numbers. CPUs are more
//! accurate, so the same bounds in units of `f64` also hold for the `f64` reference.

/// The precision of an arithmetic: its unit roundoff, and the magnitude below which it may flush results to zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Precision {
    pub(crate) unit: f64,
    pub(crate) tiny: f64,
    /// The relative error of the settings of layers, which the crate stores in `f32`.
    pub(crate) settings: f64,
}

pub(crate) const SINGLE: Precision = Precision {
    unit: f32::EPSILON as f64 / 2.0,
    tiny: f32::MIN_POSITIVE as f64,
    settings: f32::EPSILON as f64 / 2.0,
};
pub(crate) const DOUBLE: Precision = Precision {
    unit: f64::EPSILON / 2.0,
    tiny: f64::MIN_POSITIVE,
    settings: 0.0,
};
/// An `f64` engine of the crate.
pub(crate) const DOUBLE_ENGINE: Precision = Precision {
    settings: SINGLE.settings,
    ..DOUBLE
};

/// The error of a division, in ULP.
pub(crate) const DIVISION: f64 = 2.5;

impl Precision {
    /// Returns the largest relative size of one unit in the last place.
    pub(crate) fn ulp(self) -> f64 {
        2.0 * self.unit
    }

    /// Returns the error of a sum of `count` products whose magnitudes sum to `magnitudes`. Rounding errors add up like
    /// a random walk, to about √`count` of them; the bound is 8 standard deviations.
    pub(crate) fn sum(self, count: usize, magnitudes: f64) -> f64 {
        8.0 * (count as f64).sqrt() * self.unit * magnitudes + self.tiny
    }

    /// Returns the error of the mean of `count` squares of rounded differences. The sum of the squares is `squares`.
    /// The rounding of a difference counts twice in its square, and tiny squares may be flushed to 0. Then follows a
    /// division.
    pub(crate) fn mean_of_squares(self, count: usize, squares: f64) -> f64 {
        let of_sum = self.sum(count, squares) + 2.01 * self.unit * squares;
        let division = DIVISION * self.ulp() * squares;
        (of_sum + division) / count as f64 + 2.0 * self.tiny
    }

    /// Returns the error of a difference times a scale. The difference, the scale and their product are rounded, and
    /// the product may be flushed to 0.
    pub(crate) fn scaled_difference(self, product: f64) -> f64 {
        3.01 * self.unit * product.abs() + 2.0 * self.tiny
    }

    /// Returns the relative error of `exp(x)`.
    pub(crate) fn exp(self, x: f64) -> f64 {
        (3.0 + 2.0 * x.abs()) * self.ulp()
    }

    /// Returns the error of `1 / (1 + e⁻ˣ)`, computed from `e⁻ˣ` or from `e^−|x|`: the effect of the exponential's
    /// error on the result, one rounding of the sum, and one division.
    pub(crate) fn sigmoid(self, x: f64) -> f64 {
        let y = sigmoid(x);
        let reaching = (1.0 - y) * self.exp(x);
        y * (reaching + (0.5 + DIVISION) * self.ulp()) + self.tiny
    }

    /// Returns the error of `dy·(1 − y)·y`, where `y` has the error `error` and each operation rounds.
    pub(crate) fn sigmoid_backward(self, y: f64, error: f64, dy: f64) -> f64 {
        let factor = (1.0 - y) * y;
        dy.abs() * (error * ((1.0 - 2.0 * y).abs() + error) + 1.5 * self.ulp() * factor) + self.tiny
    }

    /// Returns the error of `tanh x`.
    ///
    /// For |x| < ½, tanh x is computed as a quotient times x, a truncated continued fraction. Numerator and denominator
    /// are above 945, so the rounding of the last sum is 0.5 ULP in each. Their other roundings, of terms up to 26.3
    /// and 106, and the rounding of x² come to less than 0.25 ULP. Then follow a division and a rounded product. The
    /// truncation has an error of 1e-10, which is less than 0.01 ULP of `f32`. (`f64` does not use the fraction.)
    ///
    /// For larger |x|, tanh x is computed as (1 − e) / (1 + e) with e = e^−2|x|. Its error is the effect of the
    /// exponential's error on the result, two rounded sums, and a division.
    pub(crate) fn tanh(self, x: f64) -> f64 {
        let ulps = if x.abs() < 0.5 {
            1.0 + 0.25 + DIVISION + 0.5 + 0.01
        } else {
            let z = -2.0 * x.abs();
            let reaching = 2.0 * z.exp() / (1.0 - (2.0 * z).exp());
            reaching * self.exp(z) / self.ulp() + 1.0 + DIVISION
        };
        x.tanh().abs() * ulps * self.ulp() + self.tiny
    }

    /// Returns the error of `dy·(1 − y)·(1 + y)`, where `y` has the error `error` and each operation rounds.
    pub(crate) fn tanh_backward(self, y: f64, error: f64, dy: f64) -> f64 {
        let factor = (1.0 - y) * (1.0 + y);
        dy.abs() * (error * (2.0 * y.abs() + error) + 2.0 * self.ulp() * factor) + self.tiny
    }

    /// Returns the error of `x·Φ(x)`. Φ is computed by the C library's `erfc` or, on a GPU, as `e^(−x²/2)·P(t)` with a
    /// polynomial P. The exponential has its own error and the error of x². In P, `t = 1/(1 + 0.27|x|)` has an error of
    /// 4 ULP, which P multiplies by at most 3. The coefficients and sums add 9.6 ULP, and the fit of P adds ¼ ULP. The
    /// product is rounded. For x > 0, a rounded difference follows.
    pub(crate) fn gelu(self, x: f64) -> f64 {
        x.abs() * self.distribution(x) + self.unit * (x * distribution(x)).abs() + self.tiny
    }

    fn distribution(self, x: f64) -> f64 {
        let power = self.exp(0.5 * x * x) + 0.5 * x * x * self.unit;
        let relative = power + (3.0 * 4.0 + 9.6 + 0.25 + 0.5) * self.ulp();
        let below = distribution(-x.abs()) * relative * 1.0001 + 2.0 * self.tiny;
        below + if x > 0.0 { self.unit } else { 0.0 }
    }

    /// Returns the error of `dy·(Φ(x) + x·φ(x))`, where `x` has the error `error`. The density φ has the errors of its
    /// exponential, of a constant and of two products. Then follow a sum and a product. The error of `x` counts at most
    /// 0.8 times, because the second derivative of `x·Φ(x)`, which is `φ(x)·(2 − x²)`, is at most 0.8.
    pub(crate) fn gelu_backward(self, x: f64, error: f64, dy: f64) -> f64 {
        let of_density = self.exp(0.5 * x * x) + (0.5 * x * x + 3.0) * self.unit;
        let product = (x * density(x)).abs();
        let slope = self.distribution(x) + product * of_density * 1.0001 + 2.0 * self.tiny;
        let rounding = 2.1 * self.unit * gelu_slope(x).abs();
        dy.abs() * (slope + 0.8 * error + rounding) + 2.0 * self.tiny
    }

    /// Returns the errors of a row's loss and probabilities, and of its `dlogits`, which are divided by `rows`. The
    /// logits have the errors `errors`.
    pub(crate) fn softmax(
        self,
        logits: &[f64],
        errors: &[f64],
        label: usize,
        rows: usize,
    ) -> SoftmaxBounds {
        let Softmax {
            shifted,
            probabilities,
            loss,
        } = Softmax::of(logits, label);
        // The relative error of each e^z: from the logit's own error, the rounded subtraction, and the exponential.
        let power = |c: usize| errors[c] + self.unit * shifted[c].abs() + self.exp(shifted[c]);
        let powers: Vec<f64> = (0..logits.len()).map(power).collect();
        let weighted: f64 = probabilities
            .iter()
            .zip(&powers)
            .map(|(p, power)| p * power)
            .sum();
        let sum = weighted + self.sum(logits.len(), 1.0);
        let log_of_sum = loss + shifted[label];
        let bounds = SoftmaxBounds {
            loss: sum
                + 4.0 * self.ulp()
                + 3.0 * self.ulp() * log_of_sum.abs()
                + errors[label]
                + self.unit * (shifted[label].abs() + loss.abs())
                + self.tiny,
            probabilities: probabilities
                .iter()
                .zip(&powers)
                .map(|(p, power)| p * (power + sum + DIVISION * self.ulp()) + self.tiny)
                .collect(),
            dlogits: Vec::new(),
        };
        let scale = 1.0 / rows as f64;
        let dlogits = bounds.probabilities.iter().enumerate().map(|(c, error)| {
            let gradient = probabilities[c] - f64::from(u8::from(c == label));
            // A subtraction is rounded. Then follows either a product with a rounded scale, or a division.
            scale * (error + (1.0 + DIVISION) * self.ulp() * gradient.abs()) + self.tiny
        });
        SoftmaxBounds {
            dlogits: dlogits.collect(),
            ..bounds
        }
    }
}

/// Error bounds for one row.
#[derive(Debug)]
pub(crate) struct SoftmaxBounds {
    pub(crate) loss: f64,
    pub(crate) probabilities: Vec<f64>,
    pub(crate) dlogits: Vec<f64>,
}

/// The softmax of one row, in `f64`.
#[derive(Debug)]
pub(crate) struct Softmax {
    /// The logits minus the largest logit.
    shifted: Vec<f64>,
    pub(crate) probabilities: Vec<f64>,
    pub(crate) loss: f64,
}

impl Softmax {
    pub(crate) fn of(logits: &[f64], label: usize) -> Self {
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let shifted: Vec<f64> = logits.iter().map(|logit| logit - largest).collect();
        let sum: f64 = shifted.iter().map(|z| z.exp()).sum();
        Self {
            probabilities: shifted.iter().map(|z| z.exp() / sum).collect(),
            loss: sum.ln() - shifted[label],
            shifted,
        }
    }
}

pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Returns Φ(x), the distribution function of the standard normal distribution.
pub(crate) fn distribution(x: f64) -> f64 {
    0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt()
}

/// Returns the derivative of `x·Φ(x)`.
pub(crate) fn gelu_slope(x: f64) -> f64 {
    distribution(x) + x * density(x)
}
