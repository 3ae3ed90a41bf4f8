use super::elementwise::{Elementwise, Reads};
use super::{Backward, Forward, Layer, LayerSpec};
use crate::error::Error;
use crate::kernel::Contract;
use crate::plan::Recorder;
use crate::reference;
use crate::shape::Shape;

/// Logistic sigmoid, `y = 1 / (1 + e⁻ˣ)`. The backward pass, `dx = dy·(1 − y)·y`, needs only its output.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sigmoid;

static KERNELS: Elementwise = Elementwise::new(
    "sigmoid",
    concat!(
        include_str!("../../shaders/logistic.wgsl"),
        include_str!("../../shaders/sigmoid.wgsl"),
    ),
    Reads::Output,
    [4, 3],
);

impl Layer for Sigmoid {
    fn name(&self) -> String {
        "Sigmoid".to_owned()
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        Ok(LayerSpec::new(*input))
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        KERNELS.forward(recorder, pass);
        Ok(())
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        KERNELS.backward(recorder, pass);
        Ok(())
    }

    fn reference(&self) -> reference::Twin {
        reference::Twin::of(reference::Sigmoid)
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    KERNELS.contracts()
}
