mod products;
mod variant;

use super::{Backward, Forward, Layer, ParameterSpec};
use crate::gpu::Gpu;
use crate::init::Init;
use crate::plan::Recorder;
use crate::reference;

pub(super) use products::contracts;
pub use variant::Variant;

/// Fully connected layer, `y = x·w + b`: `w` is (inputs, outputs), `b` is (1, outputs).
///
/// Weights start as 0.01·N(0, 1) and biases as 0, as in the book. (PyTorch keeps `w` transposed.)
#[doc(alias = "Affine")]
#[doc(alias = "Dense")]
#[derive(Debug, Clone)]
pub struct Linear {
    outputs: usize,
    weight: Init,
}

impl Linear {
    /// A layer with this many outputs.
    #[must_use]
    pub fn new(outputs: usize) -> Self {
        Self {
            outputs,
            weight: Init::Normal { std: 0.01 },
        }
    }

    /// Starts the weights in another way.
    #[must_use]
    pub fn weight_init(mut self, init: Init) -> Self {
        self.weight = init;
        self
    }

    /// Records a forward pass; with `relu`, that of a [`Relu`](super::Relu) behind the layer as well, whose
    /// output is `y` then.
    pub(crate) fn record_forward(recorder: &mut Recorder<'_>, pass: Forward<'_>, relu: bool) {
        let (x, y) = (pass.x, pass.y);
        let depth = pass.parameters[0].rows();
        let variant = Variant::choose(recorder.gpu(), x, y.shape(), depth);
        variant.record_forward(recorder, [x, y], pass.parameters, relu);
    }

    /// Records a backward pass; with `relu`, that of a [`Relu`](super::Relu) before the layer as well, of which
    /// `x` is the output: `dx` is the gradient by its input then.
    pub(crate) fn record_backward(recorder: &mut Recorder<'_>, pass: &Backward<'_>, relu: bool) {
        let (gpu, x, dw) = (recorder.gpu(), pass.x, &pass.gradients[0]);
        let of_gradient = Variant::choose(gpu, x, dw.shape(), x.rows());
        of_gradient.backward_weight(recorder, pass);
        of_gradient.backward_bias(recorder, pass);
        if let Some(dx) = pass.dx {
            let variant = Variant::choose(gpu, x, dx.shape(), pass.dy.columns());
            variant.backward_input(recorder, pass, dx, relu);
        }
    }
}

impl Layer for Linear {
    fn name(&self) -> String {
        format!("Linear({})", self.outputs)
    }

    fn outputs(&self, _inputs: usize) -> usize {
        self.outputs
    }

    fn parameters(&self, inputs: usize) -> Vec<ParameterSpec> {
        vec![
            ParameterSpec::matrix("weight", [inputs, self.outputs], self.weight),
            ParameterSpec::vector("bias", self.outputs, Init::Zeros),
        ]
    }

    fn flops(&self, inputs: usize) -> u64 {
        2 * inputs as u64 * self.outputs as u64
    }

    fn takes_bytes(&self, gpu: &Gpu) -> bool {
        Variant::of_bytes(gpu).is_some()
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) {
        Self::record_forward(recorder, pass, false);
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) {
        Self::record_backward(recorder, &pass, false);
    }

    fn reference(&self) -> reference::Twin {
        reference::Twin::of(reference::Linear)
    }
}
