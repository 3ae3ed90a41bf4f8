//! Update settings for a group of parameters.

use super::update::{check_above_zero, check_weight_decay};
use crate::error::Error;

/// Update settings for a group of parameters: a factor for the learning rate, a weight decay of their own, or no
/// updates at all.
///
/// By default, the optimizer's weight decay applies to weights but not to biases; each layer declares which of its
/// parameters decay ([`ParameterSpec::decays`](super::ParameterSpec)). In PyTorch, all parameters decay. For the same
/// behavior, give all parameters (`"*"`) the group `Group::new().weight_decay(0.01)`.
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
    /// Creates the default settings: the parameters are updated like all others.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            rate: 1.0,
            weight_decay: None,
            is_frozen: false,
        }
    }

    /// Sets the factor, above 0, that multiplies the learning rate, after any [`Schedule`](super::Schedule).
    #[must_use]
    pub const fn rate(self, rate: f32) -> Self {
        Self { rate, ..self }
    }

    /// Sets the weight decay, 0 or above, that replaces the optimizer's weight decay. The optimizer defines how it is
    /// applied.
    #[must_use]
    pub const fn weight_decay(self, weight_decay: f32) -> Self {
        Self {
            weight_decay: Some(weight_decay),
            ..self
        }
    }

    /// Sets whether the parameters are frozen. Neither gradients nor weight decay change frozen parameters, and their
    /// optimizer state does not change, either.
    #[must_use]
    pub const fn frozen(self, is_frozen: bool) -> Self {
        Self { is_frozen, ..self }
    }

    /// Returns the factor that multiplies the learning rate.
    #[must_use]
    pub const fn rate_of(&self) -> f32 {
        self.rate
    }

    /// Returns the group's own weight decay, or `None` if the optimizer's applies.
    #[must_use]
    pub const fn own_decay(&self) -> Option<f32> {
        self.weight_decay
    }

    /// Returns whether the parameters are frozen.
    #[must_use]
    pub const fn is_frozen(&self) -> bool {
        self.is_frozen
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        check_above_zero("multiple of the learning rate of a group", self.rate)?;
        self.weight_decay.map_or(Ok(()), check_weight_decay)
    }
}
