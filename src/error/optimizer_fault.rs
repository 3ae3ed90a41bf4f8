//! The faults that [`check_optimizer`](crate::check_optimizer) finds.

use std::fmt;

use super::Place;

/// A setting that every optimizer update must apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpdateSetting {
    /// The learning-rate multiplier of a parameter group.
    Rate,
    /// The weight decay of a parameter group.
    WeightDecay,
    /// Both the learning-rate multiplier and the weight decay of a parameter group.
    RateAndWeightDecay,
    /// The learning rate of the step, which the kernel reads from the coefficients buffer.
    Coefficients,
}

impl fmt::Display for UpdateSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rate => "multiple of the learning rate",
            Self::WeightDecay => "weight decay",
            Self::RateAndWeightDecay => "multiple of the learning rate and its weight decay",
            Self::Coefficients => "learning rate of the step",
        })
    }
}

impl UpdateSetting {
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

/// A fault that only an optimizer can have.
///
/// In these errors, the reference is the implementation in Rust with which a check compares the WGSL kernels: see
/// [`crate::reference`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OptimizerFault {
    /// The optimizer reports an invalid value for one of its properties.
    #[error("{name}: {what} must be {expected}; it is {found}. {remedy}")]
    Stated {
        /// Name of the optimizer.
        name: String,
        /// The property, for example `describe() of with_learning_rate(0.05)`.
        what: String,
        /// The valid values.
        expected: String,
        /// The value that the optimizer reports.
        found: String,
        /// How to fix the invalid value.
        remedy: &'static str,
    },

    /// The WGSL kernel ignores a setting of a parameter group or of the step.
    #[error(
        "{}, {at} is {found:e} in the WGSL, as if the kernel ignored the {ignored}, and {expected:e} in the reference. {}",
        at.name, ignored.remedy()
    )]
    Ignored {
        /// The element with the largest deviation.
        at: Box<Place>,
        /// The ignored setting.
        ignored: UpdateSetting,
        /// The value that the GPU computed.
        found: f64,
        /// The value that the reference computes in `f64`.
        expected: f64,
    },

    /// The kernel does not write an element that the CPU reference implementation changes.
    #[error(
        "{}, {at} is still {found:e} after the update; in the reference it is {expected:e}. The kernel does not write it: the dispatch has too few invocations, or the kernel leaves a value of the state unchanged",
        at.name
    )]
    NotUpdated {
        /// The element with the largest deviation.
        at: Box<Place>,
        /// The element's value, the same before and after the update.
        found: f64,
        /// The value that the reference computes in `f64`.
        expected: f64,
    },

    /// A frozen parameter or its optimizer state changed.
    #[error(
        "{}, {at} was changed from {before:e} to {after:e}, but the parameter is frozen. Update::parts leaves frozen parameters out: dispatch over its tensors, not over Arena::blocks",
        at.name
    )]
    FrozenMoved {
        /// The first element that changed.
        at: Box<Place>,
        /// The value before the update.
        before: f32,
        /// The value after the update.
        after: f32,
    },

    /// The kernel changes gradients that the reference leaves unchanged.
    #[error(
        "{name}: step {step} changed {count} gradients, but the reference changes none. An update must only read gradients; if the rule changes them first, as clipping does, reference::Optimizer::prepare must change them, too"
    )]
    GradientsChanged {
        /// Name of the optimizer.
        name: String,
        /// The step, counted from 0.
        step: u64,
        /// Number of gradient elements that changed.
        count: usize,
    },

    /// A step gives a different result when it is repeated with the same operands.
    #[error(
        "{}, {at} is {first:e} in {by}, and {second:e} when the step is repeated with the same operands. A step must be repeatable: sum in a fixed order, and draw no random numbers",
        at.name
    )]
    NotRepeatable {
        /// The first element that differs.
        at: Box<Place>,
        /// The implementation that differs: `the WGSL` or `the reference`.
        by: &'static str,
        /// The result of the first run.
        first: f64,
        /// The result of the second run.
        second: f64,
    },

    /// The reference's `f32` and `f64` results differ by more than rounding can explain.
    #[error(
        "{}, {at} is {single:e} in the reference in f32 and {double:e} in f64; rounding explains a difference of {bound:.1e}. Write the rule once, over reference::Float",
        at.name
    )]
    Precision {
        /// The element with the largest deviation.
        at: Box<Place>,
        /// The result in `f32`.
        single: f64,
        /// The result in `f64`.
        double: f64,
        /// The largest difference that rounding explains.
        bound: f64,
    },

    /// The reference changes a parameter although the learning rate is 0.
    #[error(
        "{}, {at} is {before:e} before and {after:e} after a step of the reference with learning rate 0, a state of zeros and no weight decay. The change must be a multiple of UpdateStep::learning_rate, or a schedule cannot end the training",
        at.name
    )]
    RateZero {
        /// The element that changed most.
        at: Box<Place>,
        /// The value before the step.
        before: f64,
        /// The value after the step.
        after: f64,
    },

    /// The reference does not decrease a simple loss, the sum of p²/2 over all parameters p.
    #[error(
        "{name}: the sum of p²/2 over parameters p, whose gradient is p, is {before:e} before and {after:e} after {steps} steps of the reference with learning rate {learning_rate:e}: it must fall. The sign of the update is wrong, or the reference does not change the parameters (the WGSL has not been compared with it yet); for a rule that starts slowly, take more steps with OptimizerCheck::descent"
    )]
    Uphill {
        /// Name of the optimizer.
        name: String,
        /// Number of steps taken.
        steps: u64,
        /// The learning rate of these steps.
        learning_rate: f32,
        /// The loss before the steps.
        before: f64,
        /// The loss after the steps.
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
