//! Records a training step as dispatches, in one of three ways: layer by layer, with only the network's head fused, or
//! fused into two dispatches.

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

/// Maximum number of dispatches per submit. With more, the vectors in which wgpu records a pass grow, and each dispatch
/// costs more time on the host.
const DISPATCHES_PER_SUBMIT: usize = 2_000;

/// Target duration of a submit, after the speed of steps was measured. It is well below the 2 s after which an
/// operating system assumes that a device hangs, and long enough that the device does not idle between submits.
const SUBMIT: Duration = Duration::from_millis(250);

/// How a training step is divided into GPU dispatches. All variants compute the same step, up to rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Fusion {
    /// Chooses the variant that is estimated to be the fastest on this device, without a measurement.
    #[default]
    Auto,
    /// Each layer has its own dispatches for the forward and the backward pass. Works for every network, loss and
    /// optimizer.
    Layers,
    /// The whole step is two dispatches. Works only for multilayer perceptrons that are trained by plain SGD on softmax
    /// cross-entropy.
    Fused,
    /// The network's last layers, its head, are two dispatches; all layers before have their own dispatches.
    ///
    /// The head is the chain of at most 8 [`Linear`](crate::ops::Linear) layers at the end of the network. Each has at
    /// most 128 inputs and 128 outputs. The inputs of the head and the outputs of all its layers are at most 1,023 in
    /// total. The first dispatch computes the forward pass of the head, the loss and the backward pass of the head, and
    /// keeps the activations of a block of rows in workgroup memory. The second dispatch sums the gradients over the
    /// blocks.
    ///
    /// Requirements: after each `Linear` of the head, there may be a `Relu`, `LeakyRelu`, `Sigmoid`, `Tanh` or `Gelu`.
    /// The loss is `MeanSquaredError`, `RelativeL2`, `Huber`, `BinaryCrossEntropy`, or `SoftmaxCrossEntropy` without
    /// class weights. Rows have no weights, and no parameter of the head is frozen. The layers before the head and the
    /// optimizer are arbitrary.
    Head,
}

/// The objects from which a training step is recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Training<'a> {
    pub(crate) model: &'a Model,
    pub(crate) loss: &'a dyn Loss,
    pub(crate) updater: &'a Updater,
    pub(crate) rows: Rows<'a>,
    /// Ring buffer of the losses of past steps, (1, capacity).
    pub(crate) history: &'a Tensor,
}

/// Where the rows of a step come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rows<'a> {
    /// Minibatches drawn from a data set.
    Minibatches(Minibatches<'a>),
    /// Tensors of the caller, whose contents are read when the step runs.
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

/// The range of a step's minibatches that this process computes. The step uses the mean gradient of all its
/// minibatches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Number of minibatches per step.
    pub(crate) of_step: usize,
    /// Index of the first minibatch that this process computes. Other processes may compute the others.
    pub(crate) first: usize,
    /// Number of minibatches that this process computes.
    pub(crate) count: usize,
}

impl Parts {
    /// This process computes all minibatches of the step.
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
    /// Why `Auto` has chosen `Layers`, if it has.
    unfused: Option<Unfused>,
    pace: Pace,
    /// The maximum number of steps in the last submit.
    granted: Option<usize>,
}

/// The plans of one [`Fusion`] variant, and the order in which they run.
trait Runner: Debug + wgpu::WasmNotSendSync {
    /// The dispatches of one step.
    fn step(&self) -> &Plan;

    /// All plans of the runner, in the order of their first run.
    fn plans(&self) -> Vec<&Plan> {
        vec![self.step()]
    }

    /// Whether a step reads the optimizer's coefficients.
    fn reads_coefficients(&self) -> bool;

    /// Returns the plans for the next steps, each with its number of runs, and the number of these steps: at least 1
    /// and at most `most`.
    fn next(&mut self, most: usize) -> (Vec<(&Plan, usize)>, usize);

    /// Called when parameters were set by other code than a step.
    fn parameters_changed(&mut self);

    /// Called when the step counter was set by other code than a step.
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

    /// Records the steps of a training as `fusion` requests.
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

    /// Records one step on rows in tensors of the caller, as a single plan.
    pub(crate) fn on_tensors(training: &Training<'_>) -> Result<Plan, Error> {
        layers::step(training, head::if_faster(training).ok().as_ref())
    }

    /// Submits up to `most` steps, but so few that they end well before an operating system assumes that the device
    /// hangs. If a single step takes too long, it is split into several submits. Returns the index of the last submit
    /// and the number of steps.
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

    /// Encodes `count` steps into the caller's compute pass.
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

    /// Records the measured duration of `steps` steps.
    pub(crate) fn learn(&mut self, steps: usize, took: Duration) {
        self.pace.record(steps, took);
    }

    /// The measured speed of these steps.
    pub(crate) fn pace(&self) -> Pace {
        self.pace
    }

    /// Replaces the steps by `other`. Keeps the measured speed if FLOPs and bytes per step differ by at most a factor
    /// of 2.
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

    /// All plans, in the order of their first run.
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

/// Returns the maximum number of steps in a submit. `counted` is the number from FLOPs and bytes, used until there is a
/// measurement. `measured` is the number of steps that take [`SUBMIT`]. The measured number is limited to 10 times
/// `counted` and to twice `before`, the number for the last submit, so that one wrong measurement does no harm.
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
