//! What logits say: probabilities, and classes drawn by them.

use ndarray::{Array2, ArrayView1, ArrayView2};

use crate::error::{Error, TargetKind};
use crate::random::{sampling_key, threefry};
use crate::reference::Float;

/// Probabilities of classes by their logits, (rows, classes): `softmax(z)[c] = e^z[c] / Σ_k e^z[k]` in each row, for outputs
/// of a network that [`SoftmaxCrossEntropy`](crate::ops::SoftmaxCrossEntropy) has trained.
///
/// Logits of any finite size give no overflow. A row with an infinite or NaN logit is NaN.
///
/// ```
/// use wgrad::ndarray::array;
///
/// let probabilities = wgrad::softmax(array![[0.0f32, 0.0], [1000.0, 0.0]].view());
/// assert_eq!(probabilities, array![[0.5, 0.5], [1.0, 0.0]]);
/// ```
#[must_use]
pub fn softmax<F: Float>(logits: ArrayView2<'_, F>) -> Array2<F> {
    let mut probabilities = logits.to_owned();
    for mut row in probabilities.rows_mut() {
        if row.iter().any(|logit| !logit.is_finite()) {
            row.fill(F::nan());
            continue;
        }
        let largest = row.fold(F::neg_infinity(), |a, &b| a.max(b));
        row.mapv_inplace(|logit| (logit - largest).exp());
        let sum = row.sum();
        row.mapv_inplace(|e| e / sum);
    }
    probabilities
}

/// Probabilities of labels that do not depend on each other, by their logits: `1 / (1 + e^−z)` for each, for outputs of a
/// network that a binary cross-entropy has trained. NaN stays NaN.
///
/// ```
/// use wgrad::ndarray::array;
///
/// let probabilities = wgrad::sigmoid(array![[0.0f32, 1000.0, -1000.0]].view());
/// assert_eq!(probabilities, array![[0.5, 1.0, 0.0]]);
/// ```
#[must_use]
pub fn sigmoid<F: Float>(logits: ArrayView2<'_, F>) -> Array2<F> {
    logits.mapv(|logit| {
        let e = (-logit.abs()).exp();
        if logit < F::zero() {
            e / (F::one() + e)
        } else {
            F::one() / (F::one() + e)
        }
    })
}

/// Makes probabilities of outputs, (rows, outputs).
type ProbabilitiesOf<F> = fn(ArrayView2<'_, F>) -> Array2<F>;

/// What makes probabilities of the outputs that a loss compares.
pub(crate) fn probabilities_of<F: Float>(targets: TargetKind) -> Result<ProbabilitiesOf<F>, Error> {
    match targets {
        TargetKind::Classes => Ok(softmax),
        TargetKind::Probabilities => Ok(sigmoid),
        TargetKind::Values => Err(Error::setting(
            "targets of the loss",
            "classes or probabilities, whose outputs are logits: for values, use Trainer::outputs",
            targets.name(),
        )),
    }
}

/// Draws classes by their probabilities: each draw is a function of the seed and of how many there were before, the same
/// on every machine.
///
/// A temperature of 1 draws by softmax of the logits, a lower one the likely classes more often, 0 always the likeliest (of equal ones any, as
/// often as the others);
/// a higher one evens them out: the logits are divided by it.
///
/// ```
/// use wgrad::ClassSampler;
/// use wgrad::ndarray::array;
///
/// let logits = array![0.0f32, 2.0, f32::MIN];
/// let mut sampler = ClassSampler::new(7).temperature(0.8);
/// let drawn: Vec<u32> = (0..100).map(|_| sampler.draw(logits.view())).collect::<Result<_, _>>()?;
/// assert!(drawn.contains(&0) && drawn.contains(&1) && !drawn.contains(&2));
/// assert_eq!(ClassSampler::new(7).temperature(0.0).draw(logits.view())?, 1);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ClassSampler {
    seed: u64,
    temperature: f64,
    drawn: u64,
}

impl ClassSampler {
    /// Draws at temperature 1.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            temperature: 1.0,
            drawn: 0,
        }
    }

    /// Divides logits by this: a finite number, 0 or above.
    #[must_use]
    pub const fn temperature(self, temperature: f64) -> Self {
        Self {
            temperature,
            ..self
        }
    }

    /// Draws a class by the logits of a row.
    ///
    /// # Errors
    /// [`Error::Setting`] when the temperature makes no sense, there is no logit, or one is infinite or NaN.
    pub fn draw<F: Float>(&mut self, logits: ArrayView1<'_, F>) -> Result<u32, Error> {
        let temperature = self.temperature;
        if !(temperature.is_finite() && temperature >= 0.0) {
            let expected = "a finite number, 0 or above";
            return Err(Error::setting("temperature", expected, temperature));
        }
        if logits.is_empty() {
            return Err(Error::setting("number of logits", "at least 1", 0));
        }
        if let Some(logit) = logits.iter().find(|logit| !logit.is_finite()) {
            let expected = "finite numbers, from which probabilities can be computed";
            return Err(Error::setting("logits to draw by", expected, logit));
        }
        let logits = || logits.iter().map(|logit| logit.into_f64());
        let largest = logits().fold(f64::NEG_INFINITY, f64::max);
        // By a formula of its own, as exponentials of the standard library have other last bits on other systems.
        let weight = move |logit: f64| {
            if logit == largest {
                1.0
            } else {
                libm::exp((logit - largest) / temperature)
            }
        };
        let sum: f64 = logits().map(weight).sum();
        let mut left = self.next() * sum;
        let mut class = 0;
        for (at, weight) in logits().map(weight).enumerate() {
            if weight > 0.0 {
                class = at;
                if left < weight {
                    break;
                }
            }
            left -= weight;
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "below the width of a network"
        )]
        let class = class as u32;
        Ok(class)
    }

    /// The next number, at least 0 and below 1.
    fn next(&mut self) -> f64 {
        #[expect(clippy::cast_possible_truncation, reason = "its two halves")]
        let counter = [self.drawn as u32, (self.drawn >> 32) as u32];
        self.drawn = self.drawn.wrapping_add(1);
        let [low, high] = threefry(sampling_key(self.seed), counter).map(u64::from);
        let bits = (high << 32 | low) >> 11;
        bits as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests;
