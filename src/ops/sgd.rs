use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::Optimizer;
use super::update::{self, UPDATE, Update};
use crate::error::Error;
use crate::fields;
use crate::kernel::{Binding, Contract, Kernel};
use crate::plan::Recorder;
use crate::reference;

/// Stochastic gradient descent, `parameter ← parameter − learning_rate · gradient`, with momentum,
/// Nesterov's momentum and weight decay as `torch.optim.SGD` defines them.
///
/// ```
/// use wgrad::ops::Sgd;
///
/// let plain = Sgd::new(0.1);
/// let heavy = Sgd::new(0.05).momentum(0.9).nesterov().weight_decay(1e-4);
/// # let _ = (plain, heavy);
/// ```
#[doc(alias = "Momentum")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    learning_rate: f32,
    momentum: f32,
    is_nesterov: bool,
    weight_decay: f32,
}

impl Sgd {
    /// Creates the optimizer with this learning rate, without momentum and weight decay. "Deep Learning from Scratch"
    /// uses 0.1.
    #[must_use]
    pub const fn new(learning_rate: f32) -> Self {
        Self {
            learning_rate,
            momentum: 0.0,
            is_nesterov: false,
            weight_decay: 0.0,
        }
    }

    /// Sets the momentum: the fraction of a step's velocity that is added to the next step's gradient. At least 0 and
    /// below 1; often 0.9.
    #[must_use]
    pub const fn momentum(self, momentum: f32) -> Self {
        Self { momentum, ..self }
    }

    /// Uses Nesterov's momentum: `parameter ← parameter − learning_rate · (gradient + momentum · velocity)`.
    #[must_use]
    pub const fn nesterov(self) -> Self {
        Self {
            is_nesterov: true,
            ..self
        }
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

    /// Returns whether the optimizer has neither momentum nor weight decay.
    pub(crate) fn is_plain(&self) -> bool {
        self.momentum == 0.0 && self.weight_decay == 0.0
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Settings {
    elements: u32,
    slots: u32,
    rate: f32,
    weight_decay: f32,
    momentum: f32,
    nesterov: u32,
}

static PLAIN: Kernel<Settings> = update::kernel(
    "sgd",
    include_str!("../../shaders/sgd.wgsl"),
    &UPDATE,
    fields!(Settings: elements, slots, rate, weight_decay, momentum, nesterov),
);
static MOMENTUM: Kernel<Settings> = Kernel {
    entry: "momentum",
    bindings: &[
        UPDATE[0],
        UPDATE[1],
        UPDATE[2],
        UPDATE[3],
        Binding::write("velocities"),
    ],
    ..PLAIN
};

impl Optimizer for Sgd {
    fn describe(&self) -> String {
        let Self {
            learning_rate,
            momentum,
            is_nesterov,
            weight_decay,
        } = self;
        format!(
            "Sgd {{ learning_rate: {learning_rate:?}, momentum: {momentum:?}, is_nesterov: {is_nesterov}, \
             weight_decay: {weight_decay:?} }}"
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

    fn decay(&self) -> f32 {
        self.weight_decay
    }

    fn check(&self) -> Result<(), Error> {
        update::check_learning_rate(self.learning_rate)?;
        update::check_below_one("momentum", self.momentum)?;
        update::check_weight_decay(self.weight_decay)?;
        if self.is_nesterov && self.momentum == 0.0 {
            Err(Error::setting(
                "momentum",
                "above 0 for Nesterov momentum",
                0,
            ))
        } else {
            Ok(())
        }
    }

    fn state(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 {
            &[]
        } else {
            &["velocity"]
        }
    }

    fn update(&self, recorder: &mut Recorder<'_>, pass: Update<'_>) -> Result<(), Error> {
        let (kernel, flops) = if self.momentum == 0.0 {
            (&PLAIN, 4)
        } else {
            (&MOMENTUM, 6 + 2 * u64::from(self.is_nesterov))
        };
        let decay = self.weight_decay;
        pass.record(recorder, kernel, flops, decay, |part| Settings {
            elements: part.elements,
            slots: part.slots,
            rate: part.rate,
            weight_decay: part.weight_decay,
            momentum: self.momentum,
            nesterov: self.is_nesterov.into(),
        });
        Ok(())
    }

    fn reference(&self) -> reference::Rule {
        reference::Rule::of(reference::Sgd {
            momentum: self.momentum.into(),
            is_nesterov: self.is_nesterov,
            weight_decay: self.weight_decay.into(),
        })
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    vec![PLAIN.contract(), MOMENTUM.contract()]
}
