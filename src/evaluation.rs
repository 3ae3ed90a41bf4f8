//! The evaluation of a network on a data set, for both engines.

use std::fmt;

use crate::data::Examples;
use crate::error::TargetKind;

/// The mean loss and the accuracy of a network on a data set. `Display` prints `loss 0.1234, accuracy 0.9712`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// The mean loss. If the loss has [`class_weights`](crate::ops::Loss::class_weights): the mean weighted by the
    /// weight of each example's label.
    pub loss: f64,
    /// The fraction of examples whose largest logit is that of their label, 0…1. For a loss with
    /// [`Probabilities`](crate::ops::TargetKind::Probabilities) as targets: the fraction of right outputs among the
    /// outputs of all examples. An output is right if its logit is above 0 and its target is above 0.5, or if neither
    /// is; a NaN logit is never right. `None` for a loss that compares values.
    pub accuracy: Option<f64>,
}

/// The number of outputs of a data set that can be right or wrong, for a loss with targets of this kind; `None` if the
/// loss compares values.
pub(crate) fn judged(targets: TargetKind, examples: &Examples) -> Option<usize> {
    match targets {
        TargetKind::Classes => Some(examples.len()),
        TargetKind::Values => None,
        TargetKind::Probabilities => Some(examples.len() * examples.outputs()),
    }
}

impl Evaluation {
    /// Makes an evaluation from (the sum of losses, its divisor) and from (the number of right outputs, the number of
    /// judged outputs).
    pub(crate) fn new((loss_sum, weight): (f64, f64), hits: Option<(usize, usize)>) -> Self {
        Self {
            loss: loss_sum / weight,
            accuracy: hits.map(|(hits, of)| hits as f64 / of as f64),
        }
    }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "loss {:.4}", self.loss)?;
        match self.accuracy {
            Some(accuracy) => write!(f, ", accuracy {accuracy:.4}"),
            None => Ok(()),
        }
    }
}
