//! Metrics: numbers that measure how good a network's outputs are.

mod ranks;

use std::fmt;
use std::str::FromStr;

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};

use crate::confusion::{Confusion, correct, correct_labels, f1, largest};
use crate::data::Examples;
use crate::error::{Error, TargetKind};
use crate::probability::softmax;
use crate::reference::{Float, Targets};
use ranks::area_under_curve;

/// A metric, defined as in scikit-learn, except that means over classes include the classes without examples in the
/// data set.
///
/// `Display` prints the metric's name, and `parse` reads it.
///
/// ```
/// use wgrad::ndarray::array;
/// use wgrad::{Metric, Targets};
///
/// let logits = array![[2.0f32, 0.0], [0.3, 0.1], [0.0, 1.0], [0.5, 0.2]];
/// let targets = Targets::Classes(&[0, 0, 1, 1]);
/// assert_eq!(Metric::Accuracy.of(logits.view(), &targets)?, 0.75);
/// assert_eq!("roc_auc".parse::<Metric>()?.of(logits.view(), &targets)?, 0.75);
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// [`Trainer::metric`](crate::Trainer::metric) computes a metric for a data set during training, and
/// [`EarlyStopping`](crate::EarlyStopping) uses one to decide when to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Metric {
    /// `loss`: the mean of the loss that the trainer minimizes. Lower is better. This is the only metric that needs a
    /// trainer.
    Loss,
    /// `accuracy`, 0 to 1. For classes: the fraction of rows whose largest logit is that of the row's class. For
    /// independent labels: the fraction of outputs with the right sign: above 0 if the target is above 1/2, otherwise
    /// not above 0.
    Accuracy,
    /// `f1`, 0 to 1: the harmonic mean of precision and recall. With two classes, it is the F1 of class 1; otherwise it
    /// is the mean F1 over all classes or labels. The F1 of a class or label without examples and predictions is 0.
    F1,
    /// `roc_auc`, 0 to 1: the area under the ROC curve. It is the probability that a random example of a class has a
    /// higher score than a random example of the other classes; equal scores count as half. With two classes, it is the
    /// area of class 1. With more classes, it is the mean over all classes; the score of an example is its probability
    /// of the class. For labels, it is the mean over all labels.
    RocAuc,
    /// `r2`, at most 1: the fraction of the targets' variance that the outputs explain, averaged over the outputs.
    R2,
    /// `mae`: the mean absolute difference between outputs and targets, in the unit of the targets. Lower is better. If
    /// a table's targets are standardized, this unit is one standard deviation: multiply the metric by the target's
    /// standard deviation to get the original unit.
    MeanAbsoluteError,
}

impl Metric {
    /// All metrics.
    pub const ALL: [Self; 6] = [
        Self::Loss,
        Self::Accuracy,
        Self::F1,
        Self::RocAuc,
        Self::R2,
        Self::MeanAbsoluteError,
    ];

    /// The name of the metric.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Accuracy => "accuracy",
            Self::F1 => "f1",
            Self::RocAuc => "roc_auc",
            Self::R2 => "r2",
            Self::MeanAbsoluteError => "mae",
        }
    }

    /// Whether a higher value is better.
    #[must_use]
    pub const fn is_higher_better(self) -> bool {
        match self {
            Self::Accuracy | Self::F1 | Self::RocAuc | Self::R2 => true,
            Self::Loss | Self::MeanAbsoluteError => false,
        }
    }

    /// Computes the metric for `outputs` (rows, outputs), which are logits of classes, logits of labels, or values.
    ///
    /// If an output is NaN, `roc_auc`, `r2` and `mae` are NaN, `accuracy` counts this output as wrong, and `f1` counts
    /// it as a negative prediction.
    ///
    /// # Errors
    /// - [`Error::Setting`] for [`Loss`](Self::Loss); when there are no rows; when the metric needs classes and the
    ///   targets are values, or the other way round; when a class is not below the number of outputs; when a target of
    ///   a label is neither 0 nor 1 (for `accuracy`: is outside 0 to 1); or when `roc_auc` finds a class or label to
    ///   which no rows or all rows belong.
    /// - [`Error::Shape`] or [`Error::Count`] when the numbers of outputs and targets differ.
    pub fn of<F: Float>(
        self,
        outputs: ArrayView2<'_, F>,
        targets: &Targets<'_, F>,
    ) -> Result<f64, Error> {
        self.check(outputs, targets)?;
        match (self, targets) {
            (Self::Loss, _) => Err(Error::setting(
                "metric of outputs",
                "a metric other than the loss: for the loss of a training, use Trainer::metric or Trainer::evaluate",
                self,
            )),
            (Self::Accuracy, Targets::Classes(labels)) => {
                let hits = correct(outputs, labels);
                Ok(hits as f64 / labels.len() as f64)
            }
            (Self::Accuracy, Targets::Values(values)) => {
                let hits = correct_labels(outputs, *values);
                Ok(hits as f64 / outputs.len() as f64)
            }
            (Self::F1, Targets::Classes(labels)) => Ok(f1_of_classes(outputs, labels)),
            (Self::F1, Targets::Values(values)) => f1_of_labels(outputs, *values),
            (Self::RocAuc, Targets::Classes(labels)) => auc_of_classes(outputs, labels),
            (Self::RocAuc, Targets::Values(values)) => auc_of_labels(outputs, *values),
            (Self::R2, Targets::Values(values)) => Ok(r2(outputs, *values)),
            (Self::MeanAbsoluteError, Targets::Values(values)) => {
                let pairs = outputs.iter().zip(values);
                let sum: f64 = pairs
                    .map(|(&y, &t)| (y.into_f64() - t.into_f64()).abs())
                    .sum();
                Ok(sum / outputs.len() as f64)
            }
            (Self::R2 | Self::MeanAbsoluteError, Targets::Classes(_)) => {
                Err(self.of_other_targets(TargetKind::Values, TargetKind::Classes))
            }
        }
    }

    fn of_other_targets(self, expected: TargetKind, found: TargetKind) -> Error {
        let name = format!("targets of the metric {self}");
        Error::setting(name, expected.name(), found.name())
    }

    /// Checks that each row has a target that the metric accepts.
    fn check<F: Float>(
        self,
        outputs: ArrayView2<'_, F>,
        targets: &Targets<'_, F>,
    ) -> Result<(), Error> {
        let (rows, columns) = outputs.dim();
        if outputs.is_empty() {
            let name = format!("number of outputs for the metric {self}");
            return Err(Error::setting(name, "at least 1", 0));
        }
        match targets {
            Targets::Classes(labels) => {
                if labels.len() != rows {
                    return Err(Error::Count {
                        what: "labels, one for each row of outputs".to_owned(),
                        expected: rows,
                        found: labels.len(),
                    });
                }
                let outside = labels.iter().position(|&label| label as usize >= columns);
                match outside {
                    None => Ok(()),
                    Some(row) => Err(Error::setting(
                        format!("label of row {row}"),
                        format!("below {columns}, the number of outputs"),
                        labels[row],
                    )),
                }
            }
            Targets::Values(values) if values.dim() != outputs.dim() => Err(Error::shape(
                "values (rows, outputs)",
                [rows, columns],
                <[usize; 2]>::from(values.dim()),
                "Give each row as many values as it has outputs",
            )),
            Targets::Values(values) if matches!(self, Self::F1 | Self::RocAuc) => {
                let is_label = |value: F| value == F::zero() || value == F::one();
                let other = values.indexed_iter().find(|(_, value)| !is_label(**value));
                match other {
                    None => Ok(()),
                    Some(((row, column), value)) => Err(Error::setting(
                        format!("value {column} of row {row} for the metric {self}"),
                        "0 or 1, because it is a label",
                        value,
                    )),
                }
            }
            Targets::Values(values) if self == Self::Accuracy => {
                let is_probability = |value: F| (F::zero()..=F::one()).contains(&value);
                let other = values
                    .indexed_iter()
                    .find(|(_, value)| !is_probability(**value));
                match other {
                    None => Ok(()),
                    Some(((row, column), value)) => Err(Error::setting(
                        format!("value {column} of row {row} for the metric {self}"),
                        "0 to 1, because it is a label: for other values, use r2 or mae",
                        value,
                    )),
                }
            }
            Targets::Values(_) => Ok(()),
        }
    }

    /// Computes the metric for the outputs of a whole data set.
    pub(crate) fn of_examples<F: Float>(
        self,
        outputs: ArrayView2<'_, F>,
        examples: &Examples,
    ) -> Result<f64, Error> {
        if let Some(labels) = examples.labels() {
            return self.of(outputs, &Targets::Classes(labels.indices()));
        }
        let values = examples.values().unwrap_or_default().iter();
        let mut values = values.map(|&value| F::from_f64(value.into()));
        let shape = [examples.len(), examples.outputs()];
        let values = Array2::from_shape_simple_fn(shape, || values.next().unwrap_or(F::nan()));
        self.of(outputs, &Targets::Values(values.view()))
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|metric| metric.name() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::setting("name of a metric", format!("one of {names}"), name)
        })
    }
}

/// Computes the F1 of class 1 if there are two classes, otherwise the mean F1 over all classes.
fn f1_of_classes<F: Float>(outputs: ArrayView2<'_, F>, labels: &[u32]) -> f64 {
    let classes = outputs.ncols();
    let [mut hits, mut examples, mut taken] = [0; 3].map(|count| vec![count; classes]);
    for (row, &label) in outputs.rows().into_iter().zip(labels) {
        let class = largest(row);
        let label = label as usize;
        hits[label] += usize::from(class == label);
        examples[label] += 1;
        taken[class] += 1;
    }
    let of_class = |class: usize| f1(hits[class], examples[class], taken[class]);
    match classes {
        2 => of_class(1),
        _ => (0..classes).map(of_class).sum::<f64>() / classes as f64,
    }
}

/// Computes the mean F1 over all labels.
fn f1_of_labels<F: Float>(
    outputs: ArrayView2<'_, F>,
    values: ArrayView2<'_, F>,
) -> Result<f64, Error> {
    let labels = Confusion::of_labels(outputs, values)?;
    let of_each = labels.iter().map(|label| label.per_class()[1].f1);
    Ok(of_each.sum::<f64>() / labels.len() as f64)
}

fn auc_of_classes<F: Float>(outputs: ArrayView2<'_, F>, labels: &[u32]) -> Result<f64, Error> {
    let of_class = |class: usize, scores: ArrayView1<'_, f64>| {
        let is_positive = labels.iter().map(|&label| label as usize == class);
        area_under_curve(
            &format!("class {class}"),
            scores.iter().copied().zip(is_positive),
        )
    };
    let logits = outputs.mapv(F::into_f64);
    match outputs.ncols() {
        2 => {
            let scores = &logits.column(1) - &logits.column(0);
            of_class(1, scores.view())
        }
        classes => {
            let probabilities = softmax(logits.view());
            let areas = (0..classes).map(|class| of_class(class, probabilities.column(class)));
            let sum = areas.sum::<Result<f64, Error>>()?;
            Ok(sum / classes as f64)
        }
    }
}

fn auc_of_labels<F: Float>(
    outputs: ArrayView2<'_, F>,
    values: ArrayView2<'_, F>,
) -> Result<f64, Error> {
    let columns = outputs.columns().into_iter().zip(values.columns());
    let areas = columns.enumerate().map(|(label, (logits, targets))| {
        let pairs = logits.iter().zip(targets);
        let pairs = pairs.map(|(&logit, &target)| (logit.into_f64(), target == F::one()));
        area_under_curve(&format!("label {label}"), pairs)
    });
    Ok(areas.sum::<Result<f64, Error>>()? / outputs.ncols() as f64)
}

/// The mean over outputs of `1 − Σ(y − t)² / Σ(t − mean)²`. For constant targets: 1 if all outputs equal them,
/// otherwise 0.
fn r2<F: Float>(outputs: ArrayView2<'_, F>, values: ArrayView2<'_, F>) -> f64 {
    let columns = outputs.axis_iter(Axis(1)).zip(values.axis_iter(Axis(1)));
    let of_column = |(y, t): (ArrayView1<'_, F>, ArrayView1<'_, F>)| {
        let targets = || t.iter().map(|t| t.into_f64());
        let mean = targets().sum::<f64>() / t.len() as f64;
        let total: f64 = targets().map(|t| (t - mean).powi(2)).sum();
        let pairs = y.iter().zip(targets());
        let left: f64 = pairs.map(|(y, t)| (y.into_f64() - t).powi(2)).sum();
        match total > 0.0 {
            true => 1.0 - left / total,
            false if left.is_nan() => f64::NAN,
            false => f64::from(u8::from(left == 0.0)),
        }
    };
    columns.map(of_column).sum::<f64>() / outputs.ncols() as f64
}

#[cfg(test)]
mod tests;
