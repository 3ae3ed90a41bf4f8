use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::Optimizer;
use super::update::{self, UPDATE, Update};
use crate::error::Error;
use crate::fields;
use crate::kernel::{Binding, Contract, Kernel};
use crate::plan::Recorder;
use crate::reference;

/// The Adam optimizer, with the definition and defaults of `torch.optim.Adam`: betas 0.9 and 0.999, epsilon 1e-8, no
/// weight decay.
///
/// Kingma, Ba, "Adam: a method for stochastic optimization", 2015. See [`AdamW`] for decoupled weight
/// decay.
///
/// ```
/// use wgrad::ops::Adam;
///
/// let optimizer = Adam::new(1e-3).betas(0.9, 0.99);
/// # let _ = optimizer;
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    learning_rate: f32,
    betas: [f32; 2],
    epsilon: f32,
    weight_decay: f32,
    is_lazy: bool,
}

impl Adam {
    /// Creates the optimizer with this learning rate. PyTorch's default is 1e-3.
    #[must_use]
    pub const fn new(learning_rate: f32) -> Self {
        Self {
            learning_rate,
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            weight_decay: 0.0,
            is_lazy: false,
        }
    }

    /// Sets the decay rates of two running means: `first` for the gradients, `second` for their squares. Both are at
    /// least 0 and below 1.
    #[must_use]
    pub const fn betas(self, first: f32, second: f32) -> Self {
        Self {
            betas: [first, second],
            ..self
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

    /// Makes the update lazy: a step changes neither a parameter whose gradient is 0 nor its two running means.
    ///
    /// This is for a table of which each minibatch reads only some rows, such as that of an
    /// [`Embedding`](super::Embedding). Without it, rows that no example reads would still decay, and would still move
    /// by their running means. `torch.optim.SparseAdam` has the same rule for sparse gradients; here it applies to each
    /// single element. The corrections of the running means count all steps.
    #[must_use]
    pub const fn lazy(self) -> Self {
        Self {
            is_lazy: true,
            ..self
        }
    }

    fn record(&self, recorder: &mut Recorder<'_>, pass: Update<'_>, is_decoupled: bool) {
        let decay = self.weight_decay;
        pass.record(recorder, &UPDATE_ADAM, 16, decay, |part| Settings {
            elements: part.elements,
            slots: part.slots,
            rate: part.rate,
            weight_decay: part.weight_decay,
            is_decoupled: is_decoupled.into(),
            is_lazy: self.is_lazy.into(),
            one_minus_beta1: update::one_minus(self.betas[0]),
            beta2: self.betas[1],
            one_minus_beta2: update::one_minus(self.betas[1]),
            epsilon: self.epsilon,
        });
    }

    fn rule(&self, is_decoupled: bool) -> reference::Rule {
        reference::Rule::of(reference::Adam {
            betas: self.betas.map(f64::from),
            epsilon: self.epsilon.into(),
            weight_decay: self.weight_decay.into(),
            is_decoupled,
            is_lazy: self.is_lazy,
        })
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Settings {
    elements: u32,
    slots: u32,
    rate: f32,
    weight_decay: f32,
    is_decoupled: u32,
    is_lazy: u32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    epsilon: f32,
}

static UPDATE_ADAM: Kernel<Settings> = update::kernel(
    "adam",
    include_str!("../../shaders/adam.wgsl"),
    &[
        UPDATE[0],
        UPDATE[1],
        UPDATE[2],
        UPDATE[3],
        Binding::write("means"),
        Binding::write("squares"),
    ],
    fields!(Settings: elements, slots, rate, weight_decay, is_decoupled, is_lazy, one_minus_beta1, beta2, one_minus_beta2, epsilon),
);

impl Optimizer for Adam {
    fn describe(&self) -> String {
        let Self {
            learning_rate,
            betas,
            epsilon,
            weight_decay,
            is_lazy,
        } = self;
        // The text names `lazy` only if it is set. So the text of any other optimizer is still the same as in
        // checkpoints from before this setting existed.
        let lazy = if *is_lazy { ", lazy: true" } else { "" };
        format!(
            "Adam {{ learning_rate: {learning_rate:?}, betas: {betas:?}, epsilon: {epsilon:?}, \
             weight_decay: {weight_decay:?}{lazy} }}"
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
        update::check_below_one("first beta", self.betas[0])?;
        update::check_below_one("second beta", self.betas[1])?;
        update::check_above_zero("epsilon", self.epsilon)?;
        update::check_weight_decay(self.weight_decay)
    }

    fn state(&self) -> &'static [&'static str] {
        &["mean", "square"]
    }

    fn coefficients(&self, step: u64) -> [f32; 4] {
        let steps = (step + 1) as f64;
        let [first, second] = self.betas.map(|beta| 1.0 - f64::from(beta).powf(steps));
        let corrections = [1.0 / first, 1.0 / second.sqrt()].map(update::to_f32);
        [self.learning_rate, corrections[0], corrections[1], 0.0]
    }

    fn update(&self, recorder: &mut Recorder<'_>, pass: Update<'_>) -> Result<(), Error> {
        self.record(recorder, pass, false);
        Ok(())
    }

    fn reference(&self) -> reference::Rule {
        self.rule(false)
    }
}

/// The `AdamW` optimizer: Adam with decoupled weight decay, with the definition and defaults of `torch.optim.AdamW`:
/// betas 0.9 and 0.999, epsilon 1e-8, weight decay 0.01.
///
/// Loshchilov, Hutter, "Decoupled weight decay regularization", 2019.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW(Adam);

impl AdamW {
    /// Creates the optimizer with this learning rate. PyTorch's default is 1e-3.
    #[must_use]
    pub const fn new(learning_rate: f32) -> Self {
        Self(Adam::new(learning_rate).weight_decay(0.01))
    }

    /// Sets the decay rates of the two running means, like [`Adam::betas`].
    #[must_use]
    pub const fn betas(self, first: f32, second: f32) -> Self {
        Self(self.0.betas(first, second))
    }

    /// Sets the number that is added to the denominator, like [`Adam::epsilon`].
    #[must_use]
    pub const fn epsilon(self, epsilon: f32) -> Self {
        Self(self.0.epsilon(epsilon))
    }

    /// Makes the update lazy, like [`Adam::lazy`]. A step does not decay a parameter whose gradient is 0, either.
    #[must_use]
    pub const fn lazy(self) -> Self {
        Self(self.0.lazy())
    }

    /// Sets the weight decay, 0 or above: each step subtracts `learning_rate · weight_decay · parameter` from the
    /// parameter. By default, biases, the parameters of normalization layers and the table of a `HashGrid` do not
    /// decay; a [`Group`](super::Group) can change this.
    #[must_use]
    pub const fn weight_decay(self, weight_decay: f32) -> Self {
        Self(self.0.weight_decay(weight_decay))
    }
}

impl Optimizer for AdamW {
    fn describe(&self) -> String {
        format!("AdamW({})", self.0.describe())
    }

    fn learning_rate(&self) -> f32 {
        self.0.learning_rate()
    }

    fn with_learning_rate(&self, learning_rate: f32) -> Arc<dyn Optimizer> {
        Arc::new(Self(Adam {
            learning_rate,
            ..self.0
        }))
    }

    fn decay(&self) -> f32 {
        self.0.weight_decay
    }

    fn check(&self) -> Result<(), Error> {
        self.0.check()
    }

    fn state(&self) -> &'static [&'static str] {
        self.0.state()
    }

    fn coefficients(&self, step: u64) -> [f32; 4] {
        self.0.coefficients(step)
    }

    fn update(&self, recorder: &mut Recorder<'_>, pass: Update<'_>) -> Result<(), Error> {
        self.0.record(recorder, pass, true);
        Ok(())
    }

    fn reference(&self) -> reference::Rule {
        self.0.rule(true)
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    vec![UPDATE_ADAM.contract()]
}
