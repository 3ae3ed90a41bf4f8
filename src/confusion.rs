//! Predictions for the examples of a data set, and their confusion matrix.

use std::fmt;

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};

use crate::data::Labels;
use crate::error::Error;
use crate::reference::Float;

/// Maximum number of classes of a matrix, which then takes 128 MiB.
const MOST_CLASSES: usize = 4_096;
/// Maximum number of classes for which `Display` prints the counts: more would make its lines too long.
const MOST_COLUMNS: usize = 20;

/// A network's prediction for one example.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// The class with the largest logit. If several logits are equally large, the first of them counts. NaN is never
    /// the largest; if all logits are NaN, the class is 0.
    pub class: u32,
    /// The probability of this class, 0…1, computed by softmax of the logits; NaN when a logit is not finite.
    pub probability: f64,
}

impl Prediction {
    /// Makes a prediction from the logits of one example. The probability is `1 / Σ_c exp(z_c − z_largest)`. Without
    /// logits, the class is 0 and the probability is NaN.
    ///
    /// ```
    /// use wgrad::Prediction;
    /// use wgrad::ndarray::array;
    ///
    /// let prediction = Prediction::of(array![0.0f32, 2.0, 0.0].view());
    /// assert_eq!(prediction.class, 1);
    /// assert!((prediction.probability - 0.787).abs() < 1e-3);
    /// ```
    #[must_use]
    pub fn of<F: Float>(logits: ArrayView1<'_, F>) -> Self {
        let class = largest(logits);
        let above = |&logit: &F| (logit.into_f64() - logits[class].into_f64()).exp();
        let is_sound = !logits.is_empty() && logits.iter().all(|logit| logit.is_finite());
        let probability = if is_sound {
            1.0 / logits.iter().map(above).sum::<f64>()
        } else {
            f64::NAN
        };
        #[expect(clippy::cast_possible_truncation, reason = "below MAX_WIDTH")]
        let class = class as u32;
        Self { class, probability }
    }
}

/// A confusion matrix: it counts how often examples of each class were predicted as each class. `Display` prints a
/// table with one row per class: the number of examples, its [`ClassMetrics`], and, for up to 20 classes, how often
/// each class was predicted.
///
/// ```
/// use wgrad::data::{Sampling, synthetic};
/// use wgrad::ops::{Sgd, SoftmaxCrossEntropy};
/// use wgrad::{Confusion, TwoLayerNet, cpu};
///
/// let digits = synthetic::digits_of(1, 1000, 100)?;
/// let sampling = Sampling::WithReplacement { seed: 1 };
/// let network = TwoLayerNet::spec(784, 50, 10).seed(1).on_cpu()?;
/// let (loss, optimizer) = (SoftmaxCrossEntropy, Sgd::new(0.1));
/// let mut trainer =
///     cpu::Trainer::new(network, loss, optimizer, &digits.train, 100, sampling)?;
/// trainer.steps(100)?;
/// let predictions = trainer.predictions(&digits.test)?; // as wgrad::Trainer has it
/// let confusion = Confusion::new(digits.test.labels(), &predictions)?;
/// println!("{confusion}");
/// let fours_taken_for_nines = confusion.counts()[[4, 9]];
/// assert!(fours_taken_for_nines < 10);
/// assert_eq!(Some(confusion.accuracy()), trainer.evaluate(&digits.test)?.accuracy);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    counts: Array2<usize>,
}

/// Measures how well a network recognizes one class, defined as in scikit-learn. 0/0 counts as 0, which is also
/// scikit-learn's default.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ClassMetrics {
    /// Number of examples of this class.
    pub examples: usize,
    /// Fraction of the predictions of this class that are right; 0 when it is never predicted.
    pub precision: f64,
    /// Fraction of the examples of this class that are predicted as this class; 0 when it has no examples.
    pub recall: f64,
    /// Harmonic mean of precision and recall: `2 · hits / (examples + predictions)`; 0 when both are 0.
    pub f1: f64,
}

impl Confusion {
    /// Counts the predictions for each label. Prediction `i` belongs to the example of label `i`.
    ///
    /// # Errors
    /// [`Error::Count`] when the numbers of predictions and labels differ, [`Error::Setting`] when a predicted class is
    /// not a class of the labels, or the labels have more than 4,096 classes.
    pub fn new(labels: &Labels, predictions: &[Prediction]) -> Result<Self, Error> {
        let classes = labels.classes();
        if labels.len() != predictions.len() {
            return Err(Error::Count {
                what: "predictions, one for each label".to_owned(),
                expected: labels.len(),
                found: predictions.len(),
            });
        }
        if classes > MOST_CLASSES {
            let expected = format!("at most {MOST_CLASSES}");
            return Err(Error::setting(
                "number of classes in a confusion matrix",
                expected,
                classes,
            ));
        }
        let mut counts = Array2::zeros((classes, classes));
        for (example, (&label, prediction)) in labels.indices().iter().zip(predictions).enumerate()
        {
            match counts.get_mut((label as usize, prediction.class as usize)) {
                Some(count) => *count += 1,
                None => {
                    let name = format!("class predicted for example {example}");
                    let expected = format!("below {classes}, the number of classes of the labels");
                    return Err(Error::setting(name, expected, prediction.class));
                }
            }
        }
        Ok(Self { counts })
    }

    /// Counts predictions of independent labels. Each label has a table of its own, with class 0 (the label does not
    /// apply) and class 1 (it applies). `outputs` are logits (rows, labels): a logit above 0 predicts class 1; any
    /// other, NaN included, predicts class 0. `targets` are 0 or 1.
    ///
    /// ```
    /// use wgrad::Confusion;
    /// use wgrad::ndarray::array;
    ///
    /// let logits = array![[2.0f32, -1.0], [0.5, 3.0], [-2.0, 1.0]];
    /// let targets = array![[1.0f32, 0.0], [0.0, 1.0], [0.0, 1.0]];
    /// let labels = Confusion::of_labels(logits.view(), targets.view())?;
    /// assert_eq!(labels[0].counts(), array![[1, 1], [0, 1]]);
    /// assert_eq!(labels[1].per_class()[1].f1, 1.0);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when targets and outputs have different shapes, [`Error::Setting`] when a target is neither 0
    /// nor 1.
    pub fn of_labels<F: Float>(
        outputs: ArrayView2<'_, F>,
        targets: ArrayView2<'_, F>,
    ) -> Result<Vec<Self>, Error> {
        let shapes = [outputs.dim(), targets.dim()].map(<[usize; 2]>::from);
        if shapes[0] != shapes[1] {
            return Err(Error::shape(
                "targets (rows, labels)",
                shapes[0],
                shapes[1],
                "Give each row as many targets as it has outputs",
            ));
        }
        let mut counts = vec![Array2::zeros((2, 2)); outputs.ncols()];
        for ((row, label), &target) in targets.indexed_iter() {
            let is_label = target == F::one();
            if !is_label && target != F::zero() {
                let name = format!("target {label} of row {row}");
                return Err(Error::setting(
                    name,
                    "0 or 1, because it is a label",
                    target,
                ));
            }
            let is_taken = outputs[(row, label)] > F::zero();
            counts[label][(usize::from(is_label), usize::from(is_taken))] += 1;
        }
        let of_label = |counts| Self { counts };
        Ok(counts.into_iter().map(of_label).collect())
    }

    /// The matrix of counts, (classes, classes): one row per label, one column per predicted class.
    #[must_use]
    pub fn counts(&self) -> ArrayView2<'_, usize> {
        self.counts.view()
    }

    /// Fraction of all examples whose prediction is right, 0…1; 0 when there are no examples.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        share(self.counts.diag().sum(), self.counts.sum())
    }

    /// The metrics of every class, in class order.
    #[must_use]
    pub fn per_class(&self) -> Vec<ClassMetrics> {
        let of_label = self.counts.sum_axis(Axis(1));
        let taken_for = self.counts.sum_axis(Axis(0));
        let ends = of_label.iter().zip(&taken_for);
        let all = self.counts.diag().into_iter().zip(ends);
        all.map(|(&hits, (&examples, &taken))| ClassMetrics {
            examples,
            precision: share(hits, taken),
            recall: share(hits, examples),
            f1: f1(hits, examples, taken),
        })
        .collect()
    }
}

/// The harmonic mean of precision and recall, computed from the numbers of hits, examples and predictions of a class.
pub(crate) fn f1(hits: usize, examples: usize, taken: usize) -> f64 {
    share(2 * hits, examples + taken)
}

fn share(part: usize, whole: usize) -> f64 {
    match whole {
        0 => 0.0,
        _ => part as f64 / whole as f64,
    }
}

impl fmt::Display for Confusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes = self.counts.nrows();
        let columns = if classes > MOST_COLUMNS { 0 } else { classes };
        write!(f, "class  examples  precision  recall      f1")?;
        for class in 0..columns {
            write!(f, " {:>6}", format!("as {class}"))?;
        }
        writeln!(f)?;
        let rows = self.per_class().into_iter().zip(self.counts.outer_iter());
        for (class, (of_class, counts)) in rows.enumerate() {
            let ClassMetrics {
                examples,
                precision,
                recall,
                f1,
            } = of_class;
            write!(
                f,
                "{class:>5} {examples:>9} {precision:>10.4} {recall:>7.4} {f1:>7.4}"
            )?;
            for count in counts.iter().take(columns) {
                write!(f, " {count:>6}")?;
            }
            writeln!(f)?;
        }
        let accuracy = self.accuracy();
        let examples = self.counts.sum();
        write!(f, "  all {examples:>9} examples, accuracy {accuracy:.4}")
    }
}

/// Counts the rows whose largest logit is that of their label.
pub(crate) fn correct<F: Float>(logits: ArrayView2<'_, F>, labels: &[u32]) -> usize {
    assert_eq!(logits.nrows(), labels.len(), "rows and labels");
    let pairs = logits.outer_iter().zip(labels);
    pairs
        .filter(|(row, label)| largest(*row) == **label as usize)
        .count()
}

/// Counts the outputs that are above 0 exactly if their target is above 0.5. A NaN output never counts.
pub(crate) fn correct_labels<F: Float>(
    logits: ArrayView2<'_, F>,
    targets: ArrayView2<'_, F>,
) -> usize {
    assert_eq!(logits.dim(), targets.dim(), "rows and targets");
    let half = F::from_f64(0.5);
    let pairs = logits.iter().zip(targets);
    let is_right = |(z, t): &(&F, &F)| !z.is_nan() && (**z > F::zero()) == (**t > half);
    pairs.filter(is_right).count()
}

/// Index of the largest value of a row; of equally large values, the first. NaN is never the largest; if all values are
/// NaN, the index is 0.
pub(crate) fn largest<F: Float>(row: ArrayView1<'_, F>) -> usize {
    let mut best = 0;
    for (class, &logit) in row.iter().enumerate() {
        if logit > row[best] || (row[best].is_nan() && !logit.is_nan()) {
            best = class;
        }
    }
    best
}

#[cfg(test)]
mod tests;
