//! Where the rows of steps come from.

#[cfg(not(target_arch = "wasm32"))]
use super::streamed::Streamed;
use crate::data::{Examples, Sampling};
use crate::error::Error;
use crate::memory;
use crate::network::summary::Summary;
#[cfg(not(target_arch = "wasm32"))]
use crate::steps::Shards;
use crate::steps::{Batch, Fusion, Steps};

/// Where the rows of steps come from.
#[derive(Debug)]
pub(super) enum Source {
    /// Minibatches of a data set.
    Examples {
        examples: Examples,
        batch: usize,
        /// Number of minibatches whose gradients one step accumulates.
        accumulated: usize,
        sampling: Sampling,
        fusion: Fusion,
        work: Work,
    },
    /// The program's own tensors.
    External { batch: Box<Batch>, steps: Steps },
    /// Minibatches of a stream.
    #[cfg(not(target_arch = "wasm32"))]
    Stream {
        streamed: Box<Streamed>,
        steps: Steps,
    },
    /// Rows that the program passes to each step.
    Given,
}

/// The recorded form of steps on a data set.
#[derive(Debug)]
pub(super) enum Work {
    /// Whole steps.
    Steps(Steps),
    /// This process's shards of a step, and the update. A shard is one of the step's accumulated minibatches.
    #[cfg(not(target_arch = "wasm32"))]
    Shards(Box<Shards>),
}

impl Work {
    fn steps(&self) -> Option<&Steps> {
        match self {
            Self::Steps(steps) => Some(steps),
            #[cfg(not(target_arch = "wasm32"))]
            Self::Shards(_) => None,
        }
    }

    fn steps_mut(&mut self) -> Option<&mut Steps> {
        match self {
            Self::Steps(steps) => Some(steps),
            #[cfg(not(target_arch = "wasm32"))]
            Self::Shards(_) => None,
        }
    }
}

impl Source {
    pub(super) fn steps(&self) -> Option<&Steps> {
        match self {
            Self::Examples { work, .. } => work.steps(),
            Self::External { steps, .. } => Some(steps),
            #[cfg(not(target_arch = "wasm32"))]
            Self::Stream { steps, .. } => Some(steps),
            Self::Given => None,
        }
    }

    pub(super) fn steps_mut(&mut self) -> Option<&mut Steps> {
        match self {
            Self::Examples { work, .. } => work.steps_mut(),
            Self::External { steps, .. } => Some(steps),
            #[cfg(not(target_arch = "wasm32"))]
            Self::Stream { steps, .. } => Some(steps),
            Self::Given => None,
        }
    }

    /// Number of minibatches whose gradients one step accumulates.
    pub(super) fn accumulated(&self) -> usize {
        match self {
            Self::Examples { accumulated, .. } => *accumulated,
            _ => 1,
        }
    }

    /// Sets [`accumulated`](Self::accumulated) for steps that are recorded from now on.
    pub(super) fn set_accumulated(&mut self, minibatches: usize) {
        if let Self::Examples { accumulated, .. } = self {
            *accumulated = minibatches;
        }
    }

    /// Call this after the program has replaced parameters.
    pub(super) fn parameters_changed(&mut self) {
        if let Some(steps) = self.steps_mut() {
            steps.parameters_changed();
        }
    }

    /// Call this after something other than this source's steps has changed the step counter.
    pub(super) fn step_count_changed(&mut self) {
        if let Some(steps) = self.steps_mut() {
            steps.step_count_changed();
        }
    }

    /// Replaces the recorded steps on a data set.
    pub(super) fn set_work(&mut self, recorded: Work) {
        if let Self::Examples { work, .. } = self {
            *work = recorded;
        }
    }

    /// The shards of this process, if several processes share each step.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn shards(&self) -> Option<&Shards> {
        match self {
            Self::Examples {
                work: Work::Shards(shards),
                ..
            } => Some(shards),
            _ => None,
        }
    }

    /// Mutable [`shards`](Self::shards), for running them.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn shards_mut(&mut self) -> Option<&mut Shards> {
        match self {
            Self::Examples {
                work: Work::Shards(shards),
                ..
            } => Some(shards),
            _ => None,
        }
    }

    /// The recorded steps, for running them; an error if there are none.
    pub(super) fn expect_steps(&mut self) -> Result<&mut Steps, Error> {
        self.steps_mut().ok_or_else(|| {
            let expected = "a trainer made by Trainer::new: this one takes rows by step_on";
            Error::setting("data set of the trainer", expected, "none")
        })
    }

    /// The recorded steps, for encoding them into the program's own pass; an error if there are none, or for a stream.
    pub(super) fn expect_encoded(&mut self) -> Result<&mut Steps, Error> {
        #[cfg(not(target_arch = "wasm32"))]
        if let Self::Stream { .. } = self {
            let expected = "a data set or tensors: rows of a stream are written between submits, so take its steps \
                            with steps or advance";
            return Err(Error::setting(
                "source of encoded steps",
                expected,
                "a stream",
            ));
        }
        self.expect_steps()
    }
}

/// On a software driver, whose memory is host memory: checks that the host has enough memory for a training. It counts
/// the bytes that the training needs in addition to its model, and `of_examples` bytes of examples. `of_stream`
/// describes the examples in the error message.
pub(super) fn check_host(
    summary: &Summary,
    optimizer_state: usize,
    batch: usize,
    (of_examples, of_stream): (u64, &str),
) -> Result<(), Error> {
    let of_training = summary.training_bytes(batch, optimizer_state);
    let of_training = of_training.saturating_sub(summary.network_bytes());
    let what = || {
        format!(
            "a training of {} parameters with minibatches of {batch} examples{of_stream}, in a software driver",
            summary.parameters()
        )
    };
    memory::check_in_driver(what, of_training.saturating_add(of_examples))
}
