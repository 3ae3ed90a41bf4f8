//! The evaluation of a network on a data set, for both engines.

use std::fmt;

use crate::data::Examples;
use crate::error::TargetKind;

/// How good a network is on a data set. `Display` prints it as `loss 0.1234, accuracy 0.9712`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// Mean loss; if the loss has [`class_weights`](crate::ops::Loss::class_weights), weighted by those of the labels.
    pub loss: f64,
    /// Share of examples whose largest logit is that of their label, 0…1. For a loss of
    /// [`Probabilities`](crate::ops::TargetKind::Probabilities): the share of all outputs of all examples whose logit
    /// is above 0 exactly where the target is above 0.5. `None` for a loss of values.
    pub accuracy: Option<f64>,
}

/// How many outputs of a data set can be right or wrong for a loss with such targets; `None` if the loss compares
/// values.
pub(crate) fn judged(targets: TargetKind, examples: &Examples) -> Option<usize> {
    match targets {
        TargetKind::Classes => Some(examples.len()),
        TargetKind::Values => None,
        TargetKind::Probabilities => Some(examples.len() * examples.outputs()),
    }
}

impl Evaluation {
    /// Makes an evaluation from a sum of losses and its divisor, and from the number of hits and of judged outputs.
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
