//! How one step of training becomes dispatches: layer by layer, or fused into two.

mod fused;
mod layers;

use crate::data::Sampling;
use crate::error::Error;
use crate::gpu::AdapterKind;
use crate::kernel::Contract;
use crate::model::Model;
use crate::ops::gather::Resident;
use crate::ops::{Loss, Optimizer};
use crate::plan::Plan;
use crate::tensor::{Arena, Tensor};

pub use crate::error::Unfused;

/// Which dispatches make a step of training. All compute the same step, up to rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StepPlan {
    /// The faster of the others on this adapter, by a rule that needs no measurement.
    #[default]
    Auto,
    /// One or more dispatches for each layer and pass: every network, loss and optimizer.
    Layers,
    /// Two dispatches: multilayer perceptrons trained by plain SGD on softmax cross-entropy.
    Fused,
}

/// What a step needs to know of a training.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting<'a> {
    pub(crate) model: &'a Model,
    pub(crate) loss: &'a dyn Loss,
    pub(crate) optimizer: &'a dyn Optimizer,
    pub(crate) resident: &'a Resident,
    pub(crate) batch: usize,
    pub(crate) sampling: &'a Sampling,
    /// Losses of past steps, (1, capacity).
    pub(crate) history: &'a Tensor,
    /// Number of steps taken, (1, 1).
    pub(crate) step_count: &'a Tensor,
    /// What the optimizer keeps, and its coefficients: see [`crate::ops::Update`].
    pub(crate) state: &'a [Arena],
    pub(crate) coefficients: &'a Tensor,
}

/// The recorded plans of a training's steps.
#[derive(Debug)]
pub(crate) struct Steps {
    /// Before every `reach` steps, whoever took those before.
    pub(crate) refill: Option<Plan>,
    /// Before a step that follows none, or parameters that were changed since the last one.
    pub(crate) start: Option<Plan>,
    /// One step.
    pub(crate) step: Plan,
    /// Steps that one refill is good for.
    pub(crate) reach: usize,
    /// `Layers` or `Fused`.
    pub(crate) kind: StepPlan,
    /// Why `Layers` was taken, where both were to choose from.
    pub(crate) unfused: Option<Unfused>,
}

impl Steps {
    /// Records the steps of a training as `plan` asks.
    pub(crate) fn record(setting: &Setting<'_>, plan: StepPlan) -> Result<Self, Error> {
        if plan == StepPlan::Layers {
            return layers::record(setting);
        }
        let algorithm = match setting.model.gpu().kind() {
            AdapterKind::Hardware => fused::Algorithm::Tiles,
            AdapterKind::Software => fused::Algorithm::Registers,
        };
        let network = fused::Network::new(setting, algorithm);
        if plan == StepPlan::Fused {
            return network.map_err(Error::Plan)?.record(setting);
        }
        match network.and_then(fused::Network::if_faster) {
            Ok(network) => network.record(setting),
            Err(unfused) => Ok(Self {
                unfused: Some(unfused),
                ..layers::record(setting)?
            }),
        }
    }
}

pub(crate) fn contracts() -> Vec<Contract> {
    fused::contracts()
}
