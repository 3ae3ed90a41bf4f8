use super::elementwise::{Elementwise, Reads};
use super::{Backward, Forward, Layer};
use crate::kernel::Contract;
use crate::plan::Recorder;
use crate::reference;

/// Logistic sigmoid, `y = 1 / (1 + e⁻ˣ)`, with `dx = dy·(1 − y)·y` from its output alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sigmoid;

static KERNELS: Elementwise = Elementwise::new(
    "sigmoid",
    include_str!("../../shaders/sigmoid.wgsl"),
    Reads::Output,
    [4, 3],
);

impl Layer for Sigmoid {
    fn name(&self) -> String {
        "Sigmoid".to_owned()
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) {
        KERNELS.forward(recorder, pass);
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) {
        KERNELS.backward(recorder, pass);
    }

    fn reference(&self) -> reference::Twin {
        reference::Twin::of(reference::Sigmoid)
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    KERNELS.contracts()
}
