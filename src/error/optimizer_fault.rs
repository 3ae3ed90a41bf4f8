//! What is wrong with an optimizer: see [`check_optimizer`](crate::check_optimizer).

use std::fmt;

use super::Place;

/// What an optimizer must follow in each update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Followed {
    /// The multiple of the learning rate of a group of parameters.
    Rate,
    /// The weight decay of a group of parameters.
    WeightDecay,
    /// Both of them.
    RateAndWeightDecay,
    /// The learning rate in the coefficients of the step.
    Coefficients,
}

impl fmt::Display for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rate => "multiple of the learning rate",
            Self::WeightDecay => "weight decay",
            Self::RateAndWeightDecay => "multiple of the learning rate and its weight decay",
            Self::Coefficients => "learning rate of the step",
        })
    }
}

impl Followed {
    fn remedy(self) -> &'static str {
        match self {
            Self::Rate => "Give the kernel UpdatePart::rate of each of Update::parts",
            Self::WeightDecay => {
                "Give the kernel UpdatePart::weight_decay of each of Update::parts"
            }
            Self::RateAndWeightDecay => {
                "Record a dispatch for each of Update::parts, with its rate and weight_decay"
            }
            Self::Coefficients => {
                "Read it in the WGSL from coefficients[4 * (step_count[0] % slots)]: it changes from step to step, but the recorded update does not"
            }
        }
    }
}

/// What is wrong with an optimizer, and with nothing else that is checked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OptimizerFault {
    /// What the optimizer says of itself cannot be.
    #[error("{name}: {what} must be {expected}; it is {found}. {remedy}")]
    Stated {
        /// The optimizer.
        name: String,
        /// For example `describe() of with_learning_rate(0.05)`.
        what: String,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
        /// What to do.
        remedy: &'static str,
    },

    /// The WGSL does not follow what it is told of a group of parameters, or of the step.
    #[error(
        "{}, {at} is {found:e} in the WGSL, as if the kernel ignored the {ignored}, and {expected:e} in the reference. {}",
        at.name, ignored.remedy()
    )]
    Ignored {
        /// The element that is furthest off.
        at: Box<Place>,
        /// What is not followed.
        ignored: Followed,
        /// What the GPU computed.
        found: f64,
        /// What the reference computes in `f64`.
        expected: f64,
    },

    /// A kernel left out what the reference changes.
    #[error(
        "{}, {at} is still {found:e} after the update; in the reference it is {expected:e}. The kernel does not write it: the dispatch has too few invocations, or the kernel leaves a value of the state unchanged",
        at.name
    )]
    NotUpdated {
        /// The element that is furthest off.
        at: Box<Place>,
        /// Its value before and after.
        found: f64,
        /// What the reference makes of it.
        expected: f64,
    },

    /// A frozen parameter changed, or what is kept of it.
    #[error(
        "{}, {at} was changed from {before:e} to {after:e}, but the parameter is frozen. Update::parts leaves frozen parameters out: dispatch over its tensors, not over Arena::blocks",
        at.name
    )]
    FrozenMoved {
        /// The first element that changed.
        at: Box<Place>,
        /// Before the update.
        before: f32,
        /// After it.
        after: f32,
    },

    /// The update writes into gradients which the reference does not change.
    #[error(
        "{name}: step {step} changed {count} gradients, but the reference changes none. An update must only read gradients; if the rule changes them first, as clipping does, reference::Optimizer::prepare must change them, too"
    )]
    GradientsChanged {
        /// The optimizer.
        name: String,
        /// The step, counted from 0.
        step: u64,
        /// Elements that changed.
        count: usize,
    },

    /// The same operands give another result a second time.
    #[error(
        "{}, {at} is {first:e} in {by}, and {second:e} when the step is repeated with the same operands. A step must be repeatable: sum in a fixed order, and draw no random numbers",
        at.name
    )]
    NotRepeatable {
        /// The first element that differs.
        at: Box<Place>,
        /// `the WGSL` or `the reference`.
        by: &'static str,
        /// The first time.
        first: f64,
        /// The second time.
        second: f64,
    },

    /// The reference computes in `f32` what it does not in `f64`.
    #[error(
        "{}, {at} is {single:e} in the reference in f32 and {double:e} in f64; rounding explains a difference of {bound:.1e}. Write the rule once, over reference::Float",
        at.name
    )]
    Precision {
        /// The element that is furthest off.
        at: Box<Place>,
        /// In `f32`.
        single: f64,
        /// In `f64`.
        double: f64,
        /// How far apart they may be.
        bound: f64,
    },

    /// The reference moves a parameter at a learning rate of 0.
    #[error(
        "{}, {at} is {before:e} before and {after:e} after a step of the reference with learning rate 0, a state of zeros and no weight decay. The change must be a multiple of UpdateStep::learning_rate, or a schedule cannot end the training",
        at.name
    )]
    RateZero {
        /// The element that moved furthest.
        at: Box<Place>,
        /// Before the step.
        before: f64,
        /// After it.
        after: f64,
    },

    /// The reference does not descend.
    #[error(
        "{name}: the sum of p²/2 over parameters p, whose gradient is p, is {before:e} before and {after:e} after {steps} steps of the reference with learning rate {learning_rate:e}: it must fall. The sign of the update is wrong, or the reference does not change the parameters (the WGSL has not been compared with it yet); for a rule that starts slowly, take more steps with OptimizerCheck::descent"
    )]
    Uphill {
        /// The optimizer.
        name: String,
        /// Steps taken.
        steps: u64,
        /// Their learning rate.
        learning_rate: f32,
        /// The sum before them,
        before: f64,
        /// and after them.
        after: f64,
    },
}

impl OptimizerFault {
    pub(crate) fn stated(
        name: &str,
        what: impl Into<String>,
        [expected, found]: [String; 2],
        remedy: &'static str,
    ) -> Self {
        Self::Stated {
            name: name.to_owned(),
            what: what.into(),
            expected,
            found,
            remedy,
        }
    }
}
