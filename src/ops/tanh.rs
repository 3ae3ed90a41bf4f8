use super::elementwise::{Elementwise, Reads};
use super::{Backward, Forward, Layer, LayerSpec};
use crate::error::Error;
use crate::kernel::Contract;
use crate::plan::Recorder;
use crate::reference;
use crate::shape::Shape;

/// Hyperbolic tangent, `y = tanh x`, elementwise, like `torch.tanh`. The backward pass, `dx = dy·(1 − y²)`, needs only
/// `y` and `dy`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tanh;

static KERNELS: Elementwise = Elementwise::new(
    "tanh",
    concat!(
        include_str!("../../shaders/is_nan.wgsl"),
        include_str!("../../shaders/hyperbolic_tangent.wgsl"),
        include_str!("../../shaders/tanh.wgsl"),
    ),
    Reads::Output,
    [16, 4],
);

impl Layer for Tanh {
    fn name(&self) -> String {
        "Tanh".to_owned()
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
        reference::Twin::of(reference::Tanh)
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    KERNELS.contracts()
}
