//! How a group of parameters is updated.

use super::update::{check_above_zero, check_weight_decay};
use crate::error::Error;

/// How a group of parameters is updated if it differs from the rest: with a multiple of the learning rate, with its own
/// weight decay, or not at all.
///
/// By default the optimizer's weight decay applies to weights but not to biases; each layer says which of its
/// parameters decay ([`ParameterSpec::decays`](super::ParameterSpec)). PyTorch's optimizers let all parameters decay.
/// For the same behavior, give all parameters (`"*"`) the group `Group::new().weight_decay(0.01)`.
///
/// ```
/// use wgrad::ops::{AdamW, Group, Linear, Relu, SoftmaxCrossEntropy};
/// use wgrad::{Sequential, cpu};
///
/// let network = Sequential::input(4).layer(Linear::new(8)).layer(Relu).layer(Linear::new(3));
/// let mut trainer =
///     cpu::Trainer::online(network.on_cpu()?, SoftmaxCrossEntropy, AdamW::new(1e-3))?;
/// trainer.set_group("layers.0", Group::new().rate(0.1))?; // a tenth of the learning rate
/// trainer.freeze("layers.2.weight")?;
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    rate: f32,
    weight_decay: Option<f32>,
    is_frozen: bool,
}

impl Default for Group {
    fn default() -> Self {
        Self::new()
    }
}

impl Group {
    /// A group that is updated like all other parameters.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            rate: 1.0,
            weight_decay: None,
            is_frozen: false,
        }
    }

    /// Multiplies the learning rate, after any schedule, by `rate`, a number above 0.
    #[must_use]
    pub const fn rate(self, rate: f32) -> Self {
        Self { rate, ..self }
    }

    /// Uses this weight decay, 0 or above, instead of the optimizer's. The optimizer defines how it is applied.
    #[must_use]
    pub const fn weight_decay(self, weight_decay: f32) -> Self {
        Self {
            weight_decay: Some(weight_decay),
            ..self
        }
    }

    /// Whether to freeze the parameters: neither gradients nor weight decay change them, and the optimizer's state for
    /// them stays as it is.
    #[must_use]
    pub const fn frozen(self, is_frozen: bool) -> Self {
        Self { is_frozen, ..self }
    }

    /// The multiple of the learning rate.
    #[must_use]
    pub const fn rate_of(&self) -> f32 {
        self.rate
    }

    /// The group's own weight decay, if it has one.
    #[must_use]
    pub const fn own_decay(&self) -> Option<f32> {
        self.weight_decay
    }

    /// Whether the parameters are frozen.
    #[must_use]
    pub const fn is_frozen(&self) -> bool {
        self.is_frozen
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        check_above_zero("multiple of the learning rate of a group", self.rate)?;
        self.weight_decay.map_or(Ok(()), check_weight_decay)
    }
}
