//! Where the rows of steps come from.

use crate::data::{Examples, Sampling};
use crate::error::Error;
use crate::steps::{Batch, Fusion, Steps};

/// Where the rows of steps come from.
#[derive(Debug)]
pub(super) enum Source {
    /// Minibatches of a data set.
    Examples {
        examples: Examples,
        batch: usize,
        /// Minibatches whose gradients make a step.
        accumulated: usize,
        sampling: Sampling,
        fusion: Fusion,
        steps: Steps,
    },
    /// Tensors of the program's.
    External { batch: Box<Batch>, steps: Steps },
    /// Each call that takes a step.
    Given,
}

impl Source {
    pub(super) fn steps(&self) -> Option<&Steps> {
        match self {
            Self::Examples { steps, .. } | Self::External { steps, .. } => Some(steps),
            Self::Given => None,
        }
    }

    pub(super) fn steps_mut(&mut self) -> Option<&mut Steps> {
        match self {
            Self::Examples { steps, .. } | Self::External { steps, .. } => Some(steps),
            Self::Given => None,
        }
    }

    /// The same, to take steps.
    pub(super) fn expect_steps(&mut self) -> Result<&mut Steps, Error> {
        self.steps_mut().ok_or_else(|| {
            let expected = "one: make the trainer with Trainer::new, or give rows to step_on";
            Error::setting("data set of the trainer", expected, "none")
        })
    }
}
