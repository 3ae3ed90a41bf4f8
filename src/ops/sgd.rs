use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::{Optimizer, to_u32};
use crate::error::Error;
use crate::fields;
use crate::kernel::{Binding, Block, Contract, Kernel, Trust};
use crate::plan::{Cost, Recorder};
use crate::tensor::{Arena, Tensor};

/// Stochastic gradient descent, `parameter ← parameter − learning_rate · gradient`.
#[derive(Debug, Clone, Copy)]
pub struct Sgd {
    learning_rate: f32,
}

impl Sgd {
    /// With this learning rate; the book's is 0.1.
    #[must_use]
    pub const fn new(learning_rate: f32) -> Self {
        Self { learning_rate }
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Settings {
    elements: u32,
    learning_rate: f32,
}

static UPDATE: Kernel<Settings> = Kernel {
    shader: "sgd",
    source: include_str!("../../shaders/sgd.wgsl"),
    entry: "update",
    bindings: &[Binding::read("gradients"), Binding::write("parameters")],
    fields: fields!(Settings: elements, learning_rate),
    workgroup_size: [64, 1, 1],
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};

impl Optimizer for Sgd {
    fn learning_rate(&self) -> f32 {
        self.learning_rate
    }

    fn check(&self) -> Result<(), Error> {
        if self.learning_rate.is_finite() && self.learning_rate > 0.0 {
            Ok(())
        } else {
            Err(Error::setting(
                "learning rate",
                "a finite number above 0",
                self.learning_rate,
            ))
        }
    }

    fn update(&self, recorder: &mut Recorder<'_>, parameters: &Arena, gradients: &Arena) {
        for (parameters, gradients) in parameters.blocks().iter().zip(gradients.blocks()) {
            self.record(recorder, parameters, gradients);
        }
    }
}

impl Sgd {
    fn record(&self, recorder: &mut Recorder<'_>, parameters: &Tensor, gradients: &Tensor) {
        assert_eq!(parameters.shape(), gradients.shape(), "sgd::update: shapes");
        let elements = parameters.len();
        let settings = Settings {
            elements: to_u32(elements),
            learning_rate: self.learning_rate,
        };
        let cost = Cost {
            flops: 2 * elements as u64,
            iterations: 0,
            bytes: None,
        };
        let tensors = [gradients, parameters];
        recorder.dispatch_each(&UPDATE, settings, &tensors, elements, cost);
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    vec![UPDATE.contract()]
}

#[cfg(test)]
mod tests;
