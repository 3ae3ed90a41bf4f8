//! What both engines say of a data set.

use std::fmt;

/// How good a network is on a data set. `Display` prints it, as `loss 0.1234, accuracy 0.9712`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// Mean loss.
    pub loss: f64,
    /// Share of examples whose largest logit is their label's, 0…1; `None` where they have values, no
    /// labels.
    pub accuracy: Option<f64>,
}

impl Evaluation {
    pub(crate) fn new(loss_sum: f64, hits: Option<usize>, examples: usize) -> Self {
        Self {
            loss: loss_sum / examples as f64,
            accuracy: hits.map(|hits| hits as f64 / examples as f64),
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
