use super::elementwise::{Elementwise, Reads};
use super::{Backward, Forward, Layer, LayerSpec, Response};
use crate::error::Error;
use crate::kernel::Contract;
use crate::plan::Recorder;
use crate::reference;
use crate::shape::Shape;

/// Rectified linear unit, `y = max(x, 0)`. At 0 its gradient is 0, as in "Deep Learning from Scratch" and in PyTorch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Relu;

static KERNELS: Elementwise = Elementwise::new(
    "relu",
    concat!(
        include_str!("../../shaders/rectified.wgsl"),
        include_str!("../../shaders/relu.wgsl"),
    ),
    Reads::Output,
    [1, 1],
);

impl Layer for Relu {
    fn name(&self) -> String {
        "Relu".to_owned()
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        Ok(LayerSpec::new(*input).response(Response::Rectifies))
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
        reference::Twin::of(reference::Relu)
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    KERNELS.contracts()
}
