use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::Optimizer;
use super::update::{self, UPDATE, Update};
use crate::error::Error;
use crate::fields;
use crate::kernel::{Binding, Contract, Kernel};
use crate::plan::Recorder;
use crate::reference;

/// The `AdaGrad` optimizer, with the definition and defaults of `torch.optim.Adagrad`: epsilon 1e-10, no weight decay,
/// no learning rate decay.
///
/// Duchi, Hazan, Singer, "Adaptive subgradient methods for online learning and stochastic
/// optimization", 2011.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaGrad {
    learning_rate: f32,
    epsilon: f32,
    weight_decay: f32,
}

impl AdaGrad {
    /// Creates the optimizer with this learning rate. PyTorch's default is 0.01.
    #[must_use]
    pub const fn new(learning_rate: f32) -> Self {
        Self {
            learning_rate,
            epsilon: 1e-10,
            weight_decay: 0.0,
        }
    }

    /// Sets the number, above 0, that is added to the denominator. It keeps an update finite where gradients are 0.
    #[must_use]
    pub const fn epsilon(self, epsilon: f32) -> Self {
        Self { epsilon, ..self }
    }

    /// Sets the weight decay, 0 or above: each step adds `weight_decay · parameter` to the parameter's gradient, an L2
    /// penalty. By default, biases, the parameters of normalization layers and the table of a `HashGrid` do not decay;
    /// a [`Group`](super::Group) can change this.
    #[must_use]
    pub const fn weight_decay(self, weight_decay: f32) -> Self {
        Self {
            weight_decay,
            ..self
        }
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Settings {
    elements: u32,
    slots: u32,
    rate: f32,
    weight_decay: f32,
    epsilon: f32,
}

static UPDATE_ADA_GRAD: Kernel<Settings> = update::kernel(
    "ada_grad",
    include_str!("../../shaders/ada_grad.wgsl"),
    &[
        UPDATE[0],
        UPDATE[1],
        UPDATE[2],
        UPDATE[3],
        Binding::write("sums"),
    ],
    fields!(Settings: elements, slots, rate, weight_decay, epsilon),
);

impl Optimizer for AdaGrad {
    fn describe(&self) -> String {
        let Self {
            learning_rate,
            epsilon,
            weight_decay,
        } = self;
        format!(
            "AdaGrad {{ learning_rate: {learning_rate:?}, epsilon: {epsilon:?}, weight_decay: {weight_decay:?} }}"
        )
    }

    fn learning_rate(&self) -> f32 {
        self.learning_rate
    }

    fn with_learning_rate(&self, learning_rate: f32) -> Arc<dyn Optimizer> {
        Arc::new(Self {
            learning_rate,
            ..*self
        })
    }

    fn has_weight_decay(&self) -> bool {
        self.weight_decay > 0.0
    }

    fn check(&self) -> Result<(), Error> {
        update::check_learning_rate(self.learning_rate)?;
        update::check_above_zero("epsilon", self.epsilon)?;
        update::check_weight_decay(self.weight_decay)
    }

    fn state(&self) -> &'static [&'static str] {
        &["sum"]
    }

    fn update(&self, recorder: &mut Recorder<'_>, pass: Update<'_>) -> Result<(), Error> {
        let decay = self.weight_decay;
        pass.record(recorder, &UPDATE_ADA_GRAD, 9, decay, |part| Settings {
            elements: part.elements,
            slots: part.slots,
            rate: part.rate,
            weight_decay: part.weight_decay,
            epsilon: self.epsilon,
        });
        Ok(())
    }

    fn reference(&self) -> reference::Rule {
        reference::Rule::of(reference::AdaGrad {
            epsilon: self.epsilon.into(),
            weight_decay: self.weight_decay.into(),
        })
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    vec![UPDATE_ADA_GRAD.contract()]
}
