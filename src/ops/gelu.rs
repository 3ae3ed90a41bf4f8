use super::elementwise::{Elementwise, Reads};
use super::{Backward, Forward, Layer, LayerSpec, Response};
use crate::error::Error;
use crate::kernel::Contract;
use crate::plan::Recorder;
use crate::reference;
use crate::shape::Shape;

/// Gaussian error linear unit (Hendrycks and Gimpel, 2016), elementwise, like `torch.nn.GELU` with its defaults:
/// `y = x·Φ(x) = x·(1 + erf(x/√2))/2`, not the approximation with `tanh`. In the backward pass,
/// `dx = dy·(Φ(x) + x·φ(x))` with the normal density `φ(x) = e^(−x²/2)/√(2π)`.
#[derive(Debug, Clone, Copy, Default)]
#[doc(alias = "GELU")]
pub struct Gelu;

static KERNELS: Elementwise = Elementwise::new(
    "gelu",
    concat!(
        include_str!("../../shaders/gaussian.wgsl"),
        include_str!("../../shaders/gelu.wgsl"),
    ),
    Reads::Input,
    [28, 31],
);

impl Layer for Gelu {
    fn name(&self) -> String {
        "Gelu".to_owned()
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
        reference::Twin::of(reference::Gelu)
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    KERNELS.contracts()
}
