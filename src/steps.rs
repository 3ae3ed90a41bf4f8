//! Turns a training step into dispatches: layer by layer, with the network's head fused, or fused into two dispatches.

mod batch;
mod fused;
mod head;
mod layers;
#[cfg(not(target_arch = "wasm32"))]
mod shards;

use std::fmt::Debug;
use std::ops::Range;
use std::time::Duration;

use crate::data::Sampling;
use crate::error::{Error, Unfused};
use crate::gpu::{Gpu, SoftwareDriver};
use crate::kernel::Contract;
use crate::model::Model;
use crate::ops::Loss;
use crate::ops::gather::Resident;
use crate::pace::Pace;
use crate::plan::{Budget, Plan};
use crate::tensor::Tensor;
use crate::updater::Updater;

pub use batch::Batch;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use shards::Shards;

/// With more dispatches, the vectors that record a pass grow, and each dispatch costs more.
const DISPATCHES_PER_SUBMIT: usize = 2_000;

/// Target duration of a submit once the speed of steps is known. It is well below the 2 s after which a system takes a
/// device for hung, and long enough that no device idles between two submits.
const SUBMIT: Duration = Duration::from_millis(250);

/// The dispatches of a training step. All choices compute the same step, up to rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Fusion {
    /// The fastest choice for this adapter, by a rule that needs no measurement.
    #[default]
    Auto,
    /// One or more dispatches for each layer and pass. Works for every network, loss and optimizer.
    Layers,
    /// Two dispatches. Works for multilayer perceptrons trained by plain SGD on softmax cross-entropy.
    Fused,
    /// Layer by layer up to the network's head, and two dispatches for the head.
    ///
    /// The head is the chain of at most 8 [`Linear`](crate::ops::Linear) layers at the network's end, with at most 128
    /// inputs and outputs each and 1,023 in all. One dispatch computes its forward pass, the loss and its backward
    /// pass; a block of rows stays in workgroup memory. A second dispatch sums the gradients.
    ///
    /// A layer of the head may have a `Relu`, `LeakyRelu`, `Sigmoid`, `Tanh` or `Gelu` after it. Anything may come
    /// before the head, for example an encoding. Any optimizer works. The loss must be local to a row:
    /// `MeanSquaredError`, `RelativeL2`, `Huber`, `BinaryCrossEntropy`, or `SoftmaxCrossEntropy` without class
    /// weights. Rows have no weights, and no parameter of the head is frozen.
    Head,
}

/// The parts of a training that a step needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Training<'a> {
    pub(crate) model: &'a Model,
    pub(crate) loss: &'a dyn Loss,
    pub(crate) updater: &'a Updater,
    pub(crate) rows: Rows<'a>,
    /// Losses of past steps (1, capacity).
    pub(crate) history: &'a Tensor,
}

/// The source of a step's rows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rows<'a> {
    /// Minibatches drawn from a data set.
    Minibatches(Minibatches<'a>),
    /// The contents of these tensors when the step runs.
    Tensors(&'a Batch),
}

/// Minibatches drawn from a data set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Minibatches<'a> {
    pub(crate) resident: &'a Resident,
    pub(crate) batch: usize,
    pub(crate) parts: Parts,
    pub(crate) sampling: &'a Sampling,
}

/// The minibatches of a step; the step uses their mean gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Number of minibatches per step.
    pub(crate) of_step: usize,
    /// The first minibatch computed here, and how many are computed here: other processes may compute the others.
    pub(crate) first: usize,
    pub(crate) count: usize,
}

impl Parts {
    /// All minibatches of a step, computed here.
    pub(crate) fn all(of_step: usize) -> Self {
        Self {
            of_step,
            first: 0,
            count: of_step,
        }
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.first..self.first + self.count
    }
}

/// The recorded steps of a training.
#[derive(Debug)]
pub(crate) struct Steps {
    runner: Box<dyn Runner>,
    /// `Layers`, `Fused` or `Head`.
    fusion: Fusion,
    /// Why `Layers` was taken when the choice was `Auto`.
    unfused: Option<Unfused>,
    pace: Pace,
    /// Number of steps granted to the last submit.
    granted: Option<usize>,
}

/// A way to run steps.
trait Runner: Debug + wgpu::WasmNotSendSync {
    /// The dispatches of one step.
    fn step(&self) -> &Plan;

    /// All plans of the runner, in the order of their first run.
    fn plans(&self) -> Vec<&Plan> {
        vec![self.step()]
    }

    /// Whether a step reads the optimizer's coefficients.
    fn reads_coefficients(&self) -> bool;

    /// Plans for at least one and at most `most` steps, each with its number of runs; and the number of steps.
    fn next(&mut self, most: usize) -> (Vec<(&Plan, usize)>, usize);

    /// The parameters were set from outside.
    fn parameters_changed(&mut self);

    /// The step counter was set from outside.
    fn step_count_changed(&mut self);
}

impl Steps {
    fn new(fusion: Fusion, runner: impl Runner + 'static) -> Self {
        Self {
            runner: Box::new(runner),
            fusion,
            unfused: None,
            pace: Pace::default(),
            granted: None,
        }
    }

    /// Records the steps of a training in the way that `fusion` requests.
    pub(crate) fn record(training: &Training<'_>, fusion: Fusion) -> Result<Self, Error> {
        if fusion == Fusion::Layers {
            return layers::record(training, None);
        }
        if fusion == Fusion::Head {
            let head = head::of(training).map_err(Error::Plan)?;
            return layers::record(training, Some(&head));
        }
        let algorithm = match training.model.gpu().software_driver() {
            None => fused::Algorithm::Tiles,
            Some(SoftwareDriver::Lavapipe) => fused::Algorithm::Registers,
            Some(SoftwareDriver::SwiftShader) => fused::Algorithm::Vectors,
        };
        let network = fused::Network::new(training, algorithm);
        if fusion == Fusion::Fused {
            return network.map_err(Error::Plan)?.record(training);
        }
        match network.and_then(fused::Network::if_faster) {
            Ok(network) => network.record(training),
            Err(unfused) => match head::of_rows(training, unfused) {
                Ok(head) => layers::record(training, Some(&head)),
                Err(unfused) => Ok(Self {
                    unfused: Some(unfused),
                    ..layers::record(training, None)?
                }),
            },
        }
    }

    /// Records one step on rows in tensors, as a plan to run directly.
    pub(crate) fn on_tensors(training: &Training<'_>) -> Result<Plan, Error> {
        layers::step(training, head::if_faster(training).ok().as_ref())
    }

    /// Submits at most `most` steps at once, few enough to end well before a system takes the device for hung. A
    /// single step that is longer is split into several submits, of which the last is returned.
    pub(crate) fn submit(
        &mut self,
        gpu: &Gpu,
        most: usize,
    ) -> Result<(wgpu::SubmissionIndex, usize), Error> {
        let step = self.runner.step();
        let by_dispatches = DISPATCHES_PER_SUBMIT / step.len().max(1);
        let budget = Budget::counted(gpu);
        let counted = budget.holds(step);
        let budget = match self.pace.share_within(SUBMIT) {
            None if counted == 0 => budget,
            Some(steps) if steps < 1.0 => Budget::part_of(step, steps),
            _ => Budget::WHOLE,
        };
        let counted = counted.max(1);
        let before = self.granted.unwrap_or(counted);
        let granted = granted(counted, self.pace.steps_within(SUBMIT), before);
        self.granted = Some(granted);
        let most = granted.min(by_dispatches).max(1).min(most);
        let (plans, steps) = self.runner.next(most);
        Ok((gpu.submit_all(plans, budget)?, steps))
    }

    /// Encodes steps into the caller's compute pass.
    pub(crate) fn encode(&mut self, count: usize, pass: &mut wgpu::ComputePass<'_>) {
        let mut left = count;
        while left > 0 {
            let (plans, steps) = self.runner.next(left);
            for (plan, times) in plans {
                for _ in 0..times {
                    plan.encode(pass);
                }
            }
            left -= steps;
        }
    }

    /// Records that the device took this time for so many steps.
    pub(crate) fn learn(&mut self, steps: usize, took: Duration) {
        self.pace.record(steps, took);
    }

    /// The measured speed of these steps.
    pub(crate) fn pace(&self) -> Pace {
        self.pace
    }

    /// Replaces the steps. The measured speed is kept if the new steps have about as much work.
    pub(crate) fn become_like(&mut self, other: Self) {
        let alike = |of: fn(&Plan) -> u64| {
            let [old, new] = [self.step(), other.step()].map(of);
            old.max(new) <= old.min(new).saturating_mul(2)
        };
        let (pace, granted) = if alike(Plan::flops) && alike(Plan::bytes) {
            (self.pace, self.granted)
        } else {
            (Pace::default(), None)
        };
        *self = Self {
            pace,
            granted,
            ..other
        };
    }

    /// The dispatches of one step.
    pub(crate) fn step(&self) -> &Plan {
        self.runner.step()
    }

    /// All plans of the steps, in the order of their first run.
    pub(crate) fn plans(&self) -> Vec<&Plan> {
        self.runner.plans()
    }

    pub(crate) fn fusion(&self) -> Fusion {
        self.fusion
    }

    pub(crate) fn unfused(&self) -> Option<&Unfused> {
        self.unfused.as_ref()
    }

    pub(crate) fn reads_coefficients(&self) -> bool {
        self.runner.reads_coefficients()
    }

    pub(crate) fn parameters_changed(&mut self) {
        self.runner.parameters_changed();
    }

    pub(crate) fn step_count_changed(&mut self) {
        self.runner.step_count_changed();
    }
}

/// Number of steps in a submit. Without a measurement it is the counted number; afterwards it is the measured number
/// that takes [`SUBMIT`]. That number is limited to 10 times the counted one and to twice the last submit's, so that
/// one wrong measurement does no harm.
fn granted(counted: usize, measured: Option<usize>, before: usize) -> usize {
    let most = counted.saturating_mul(10).min(before.saturating_mul(2));
    measured.map_or(counted, |measured| measured.clamp(1, most))
}

pub(crate) fn contracts() -> Vec<Contract> {
    fused::contracts()
}

#[cfg(test)]
mod tests {
    use super::granted;

    #[test]
    fn a_submit_is_as_long_as_was_measured_within_bounds() {
        assert_eq!(granted(40, None, 40), 40);
        assert_eq!(granted(40, Some(50), 40), 50);
        assert_eq!(granted(40, Some(3), 40), 3);
        assert_eq!(granted(40, Some(0), 40), 1);
        assert_eq!(granted(1, Some(0), 1), 1);
        assert_eq!(
            granted(usize::MAX, Some(usize::MAX), usize::MAX),
            usize::MAX
        );
        let mut grown = vec![40];
        while grown.len() < 6 {
            grown.push(granted(40, Some(usize::MAX), grown[grown.len() - 1]));
        }
        assert_eq!(grown, [40, 80, 160, 320, 400, 400]);
    }
}
