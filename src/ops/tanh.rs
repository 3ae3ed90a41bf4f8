use super::elementwise::{Elementwise, Reads};
use super::{Backward, Forward, Layer};
use crate::kernel::Contract;
use crate::plan::Recorder;
use crate::reference;

/// Hyperbolic tangent, `y = tanh x`, elementwise, as `torch.tanh`; `dx = dy·(1 − y²)` from its output alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tanh;

static KERNELS: Elementwise = Elementwise::new(
    "tanh",
    include_str!("../../shaders/tanh.wgsl"),
    Reads::Output,
    [16, 4],
);

impl Layer for Tanh {
    fn name(&self) -> String {
        "Tanh".to_owned()
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) {
        KERNELS.forward(recorder, pass);
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) {
        KERNELS.backward(recorder, pass);
    }

    fn reference(&self) -> reference::Twin {
        reference::Twin::of(reference::Tanh)
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    KERNELS.contracts()
}
