//! What both engines say of a data set.

use std::fmt;

use crate::data::Examples;
use crate::error::TargetKind;

/// How good a network is on a data set. `Display` prints it, as `loss 0.1234, accuracy 0.9712`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// Mean loss; weighted by what labels weigh where the loss has [`class_weights`](crate::ops::Loss::class_weights).
    pub loss: f64,
    /// Share of examples whose largest logit is their label's, 0…1. Of a loss of
    /// [`Probabilities`](crate::ops::TargetKind::Probabilities), the share of all outputs of all examples whose logit
    /// is above 0 where the target is above 0.5, and not where it is not. `None` where examples have other values.
    pub accuracy: Option<f64>,
}

/// How many outputs of a data set a loss with such targets takes for right or wrong; none where it compares values.
pub(crate) fn judged(targets: TargetKind, examples: &Examples) -> Option<usize> {
    match targets {
        TargetKind::Classes => Some(examples.len()),
        TargetKind::Values => None,
        TargetKind::Probabilities => Some(examples.len() * examples.outputs()),
    }
}

impl Evaluation {
    /// From a sum of losses and what it is divided by, and from how many hits there were, of how many.
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
