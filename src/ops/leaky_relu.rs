use bytemuck::{Pod, Zeroable};

use super::elementwise::{Elementwise, Reads};
use super::update::check_not_subnormal;
use super::{Backward, Forward, Layer, LayerSpec, Response};
use crate::error::Error;
use crate::fields;
use crate::kernel::Contract;
use crate::plan::Recorder;
use crate::reference;
use crate::shape::Shape;

/// Leaky rectified linear unit (Maas, Hannun and Ng, 2013), elementwise, like `torch.nn.LeakyReLU`: `y = x` where
/// `x > 0`, else `negative_slope·x`. At 0 its gradient is `negative_slope`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[doc(alias = "LeakyReLU")]
pub struct LeakyRelu {
    negative_slope: f32,
}

impl LeakyRelu {
    /// Creates the activation. The slope may even be negative, because the gradient depends on the sign of `x`, not of
    /// `y`.
    #[must_use]
    pub const fn new(negative_slope: f32) -> Self {
        Self { negative_slope }
    }

    /// Returns the slope for negative inputs: `dy/dx` where `x ≤ 0`.
    #[must_use]
    pub const fn negative_slope(&self) -> f32 {
        self.negative_slope
    }

    fn block(self) -> impl FnOnce(u32) -> Slope {
        move |elements| Slope {
            elements,
            negative_slope: self.negative_slope,
        }
    }
}

/// The default slope is 0.01, like PyTorch's.
impl Default for LeakyRelu {
    fn default() -> Self {
        Self::new(0.01)
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Slope {
    elements: u32,
    negative_slope: f32,
}

static KERNELS: Elementwise<Slope> = Elementwise::with_block(
    "leaky_relu",
    include_str!("../../shaders/leaky_relu.wgsl"),
    fields!(Slope: elements, negative_slope),
    Reads::Input,
    [2, 2],
);

impl Layer for LeakyRelu {
    fn name(&self) -> String {
        format!("LeakyRelu({})", self.negative_slope)
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        let name = "negative slope";
        let slope = self.negative_slope;
        if !slope.is_finite() {
            return Err(Error::setting(name, "a finite number", slope));
        }
        check_not_subnormal(name, "0 or in magnitude ", slope)?;
        Ok(LayerSpec::new(*input).response(Response::Rectifies))
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        KERNELS.forward_with(recorder, self.block(), pass);
        Ok(())
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        KERNELS.backward_with(recorder, self.block(), pass);
        Ok(())
    }

    fn reference(&self) -> reference::Twin {
        reference::Twin::of(reference::LeakyRelu {
            negative_slope: self.negative_slope,
        })
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    KERNELS.contracts()
}
