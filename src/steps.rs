//! How one step of training becomes dispatches: layer by layer, with the network's head fused, or fused into two.

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

/// Past this, the vectors that record a pass grow and each dispatch costs more.
const DISPATCHES_PER_SUBMIT: usize = 2_000;

/// How long a submit should take where it is known how fast steps are: well below the 2 s after which a system takes a
/// device for hung, and so long that no device idles between two.
const SUBMIT: Duration = Duration::from_millis(250);

/// Which dispatches make a step of training. All compute the same step, up to rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Fusion {
    /// The faster of the others on this adapter, by a rule that needs no measurement.
    #[default]
    Auto,
    /// One or more dispatches for each layer and pass: every network, loss and optimizer.
    Layers,
    /// Two dispatches: multilayer perceptrons trained by plain SGD on softmax cross-entropy.
    Fused,
    /// Layer by layer up to the network's head, the chain of at most 8 [`Linear`](crate::ops::Linear) layers at its end of
    /// at most 128 inputs and outputs each, 1,023 in all: its forward pass, the loss and its backward pass are one
    /// dispatch, in which a block of rows stays in workgroup memory, and a second one sums its gradients. Behind a
    /// layer may be a `Relu`, `LeakyRelu`, `Sigmoid`, `Tanh` or `Gelu`, and before the head whatever there is, an
    /// encoding say. Any optimizer; losses that are local to a row: `MeanSquaredError`, `RelativeL2`, `Huber`,
    /// `BinaryCrossEntropy` and `SoftmaxCrossEntropy` without weights of classes. Rows have no weights, and no
    /// parameter of the head is frozen.
    Head,
}

/// What a step needs to know of a training.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Training<'a> {
    pub(crate) model: &'a Model,
    pub(crate) loss: &'a dyn Loss,
    pub(crate) updater: &'a Updater,
    pub(crate) rows: Rows<'a>,
    /// Losses of past steps, (1, capacity).
    pub(crate) history: &'a Tensor,
}

/// The rows of a step.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rows<'a> {
    /// Minibatches of a data set.
    Minibatches(Minibatches<'a>),
    /// What is in these tensors when the step is taken.
    Tensors(&'a Batch),
}

/// Rows that are drawn from a data set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Minibatches<'a> {
    pub(crate) resident: &'a Resident,
    pub(crate) batch: usize,
    pub(crate) parts: Parts,
    pub(crate) sampling: &'a Sampling,
}

/// The minibatches whose gradients make a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts {
    /// How many a step has.
    pub(crate) of_step: usize,
    /// The first that are computed here, and how many are: other processes may compute the others.
    pub(crate) first: usize,
    pub(crate) count: usize,
}

impl Parts {
    /// All of so many.
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
    /// Why `Layers` was taken, where both were to choose from.
    unfused: Option<Unfused>,
    pace: Pace,
    /// Steps that the submit before was granted by time.
    granted: Option<usize>,
}

/// One way to run steps.
trait Runner: Debug + wgpu::WasmNotSendSync {
    /// The dispatches of one step.
    fn step(&self) -> &Plan;

    /// All that it runs, in the order in which it does so first.
    fn plans(&self) -> Vec<&Plan> {
        vec![self.step()]
    }

    /// Whether a step reads the optimizer's coefficients.
    fn reads_coefficients(&self) -> bool;

    /// Plans that take some steps, at most so many and at least one, each to be run so many times; and how many steps.
    fn next(&mut self, most: usize) -> (Vec<(&Plan, usize)>, usize);

    /// The parameters came from outside.
    fn parameters_changed(&mut self);

    /// The step counter came from outside.
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

    /// Records the steps of a training as `fusion` asks.
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

    /// One step on rows in tensors, as a plan to be run as it is.
    pub(crate) fn on_tensors(training: &Training<'_>) -> Result<Plan, Error> {
        layers::step(training, head::if_faster(training).ok().as_ref())
    }

    /// Submits some steps at once, at most so many: what ends well before a system takes the device for hung. One that is
    /// longer by itself is several submits, of which the last is returned.
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

    /// Puts steps into a compute pass of the caller's.
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

    /// The device took so long for a submit of so many steps.
    pub(crate) fn learn(&mut self, steps: usize, took: Duration) {
        self.pace.record(steps, took);
    }

    /// How fast it was measured to take them.
    pub(crate) fn pace(&self) -> Pace {
        self.pace
    }

    /// Takes steps in another way from now on. What was measured counts on where they have about as much to do.
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

    /// All that steps run, in the order in which they do so first.
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

/// Steps of a submit: as many as were counted, until it is measured how many take [`SUBMIT`]. Those are taken up to 10
/// times what was counted, and no more than twice as many as in the submit before, so that one wrong time does no harm.
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
