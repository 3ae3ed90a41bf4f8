//! Probabilities from logits, and classes drawn from them.

use ndarray::{Array2, ArrayView1, ArrayView2};

use crate::error::{Error, TargetKind};
use crate::random::{sampling_key, threefry};
use crate::reference::Float;

/// Computes the probabilities of classes from their logits (rows, classes). In each row,
/// `softmax(z)[c] = e^z[c] / Σ_k e^z[k]`. Use it on the outputs of a network trained with
/// [`SoftmaxCrossEntropy`](crate::ops::SoftmaxCrossEntropy).
///
/// Finite logits never overflow. If a row contains an infinite or NaN logit, the whole row becomes NaN.
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

/// Computes the probabilities of independent labels from their logits: `1 / (1 + e^−z)` for each logit. Use it on the
/// outputs of a network trained with a binary cross-entropy. NaN stays NaN.
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

/// A function that turns outputs (rows, outputs) into probabilities.
type ProbabilitiesOf<F> = fn(ArrayView2<'_, F>) -> Array2<F>;

/// Returns the function that turns outputs into probabilities, for a loss whose targets are of this kind.
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

/// Draws classes at random, with given probabilities.
///
/// Each draw depends only on the seed and on the number of earlier draws. It is the same on every machine.
///
/// The logits are divided by the temperature. A temperature of 1 draws from the softmax of the logits. A lower
/// temperature prefers likely classes more; a higher one makes the probabilities more even. A temperature of 0 always
/// draws the likeliest class; if several are equally likely, each of them is drawn equally often.
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
    /// Makes a sampler with this seed and temperature 1.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            temperature: 1.0,
            drawn: 0,
        }
    }

    /// Sets the temperature, a finite number of at least 0.
    #[must_use]
    pub const fn temperature(self, temperature: f64) -> Self {
        Self {
            temperature,
            ..self
        }
    }

    /// Draws a class; `logits` are those of one example.
    ///
    /// # Errors
    /// [`Error::Setting`] when the temperature is negative or not finite, when there are no logits, or when a logit is
    /// infinite or NaN.
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
        // `libm`, because the standard library's `exp` gives different last bits on different systems.
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

    /// Returns the next random number in [0, 1).
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
