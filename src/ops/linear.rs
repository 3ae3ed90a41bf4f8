mod products;
mod variant;

use super::{Backward, Forward, Layer, LayerSpec, ParameterSpec};
use crate::error::Error;
use crate::gpu::Gpu;
use crate::init::Init;
use crate::kernel::Element;
use crate::plan::Recorder;
use crate::reference;
use crate::shape::Shape;
use crate::tensor::Tensor;

pub(super) use products::contracts;
pub use variant::Variant;

/// Fully connected layer: `y = x·w + b`.
///
/// `w` is (inputs, outputs), and `b` is (outputs). An input with several dimensions, such as an image, is flattened.
///
/// The initial weights [depend on the activation after the layer](Init::Auto), and biases start at 0. Files store `w`
/// transposed, like PyTorch.
///
/// ```
/// use wgrad::ops::Linear;
/// use wgrad::{Init, Sequential};
///
/// let small = Linear::new(50).weight_init(Init::Normal { std: 0.01 });
/// let network = Sequential::input(784).layer(small).layer(Linear::new(10).without_bias());
/// assert_eq!(network.summary()?.parameters(), 784 * 50 + 50 + 50 * 10);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[doc(alias = "Affine")]
#[doc(alias = "Dense")]
#[derive(Debug, Clone)]
pub struct Linear {
    pub(super) outputs: usize,
    weight: Init,
    /// Initial values of the biases; `None` for a layer without biases.
    pub(super) bias: Option<Init>,
}

impl Linear {
    /// Creates a layer with this number of outputs.
    #[must_use]
    pub fn new(outputs: usize) -> Self {
        Self {
            outputs,
            weight: Init::Auto,
            bias: Some(Init::Zeros),
        }
    }

    /// Sets the initial values of the weights.
    #[must_use]
    pub fn weight_init(mut self, init: Init) -> Self {
        self.weight = init;
        self
    }

    /// Sets the initial values of the biases. If the layer has no biases, this adds them.
    #[must_use]
    pub fn bias_init(mut self, init: Init) -> Self {
        self.bias = Some(init);
        self
    }

    /// Removes the biases from the layer: `y = x·w`.
    #[must_use]
    pub fn without_bias(mut self) -> Self {
        self.bias = None;
        self
    }

    /// Records the forward pass. If `relu` is set, the pass also applies the [`Relu`](super::Relu) that follows the
    /// layer, and `y` receives the output of that `Relu`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the GPU has no memory for the zeros that replace missing biases.
    pub(crate) fn record_forward(
        recorder: &mut Recorder<'_>,
        pass: Forward<'_>,
        relu: bool,
    ) -> Result<(), Error> {
        let gpu = recorder.gpu();
        let x = pass.x;
        let y = pass.y;
        let w = &pass.parameters[0];
        let variant = Variant::choose(gpu, x, y.dims(), w.rows());
        let zeros = match pass.parameters.get(1) {
            Some(_) => None,
            None => Some(Tensor::zeros(
                gpu,
                "no bias",
                [1, y.columns()],
                Element::F32,
            )?),
        };
        if let Some(b) = pass.parameters.get(1).or(zeros.as_ref()) {
            variant.record_forward(recorder, [x, y], [w, b], relu);
        }
        Ok(())
    }

    /// Records the backward pass. If `relu` is set, `x` is the output of a [`Relu`](super::Relu) before the layer, and
    /// the pass includes that `Relu`: `dx` is the gradient with respect to its input.
    pub(crate) fn record_backward(recorder: &mut Recorder<'_>, pass: &Backward<'_>, relu: bool) {
        let gpu = recorder.gpu();
        let x = pass.x;
        let dw = &pass.gradients[0];
        let of_gradient = Variant::choose(gpu, x, dw.dims(), x.rows());
        of_gradient.backward_parameters(recorder, pass);
        if let Some(dx) = pass.dx {
            let variant = Variant::choose(gpu, x, dx.dims(), pass.dy.columns());
            variant.backward_input(recorder, pass, dx, relu);
        }
    }
}

impl Layer for Linear {
    fn name(&self) -> String {
        match self.bias {
            Some(_) => format!("Linear({})", self.outputs),
            None => format!("Linear({}, no bias)", self.outputs),
        }
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        let inputs = input.len();
        let outputs = self.outputs;
        if outputs == 0 {
            return Err(Error::setting("width", "at least 1", outputs));
        }
        let weight = ParameterSpec::new("weight", [inputs, outputs], self.weight.clone());
        let flops = (inputs as u64)
            .saturating_mul(outputs as u64)
            .saturating_mul(2);
        let spec = LayerSpec::new(outputs)
            .parameter(weight.transposed())
            .flops(flops);
        Ok(match &self.bias {
            Some(init) => {
                spec.parameter(ParameterSpec::new("bias", outputs, init.clone()).without_decay())
            }
            None => spec,
        })
    }

    fn takes_bytes(&self, gpu: &Gpu) -> bool {
        Variant::of_bytes(gpu).is_some()
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        Self::record_forward(recorder, pass, false)
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        Self::record_backward(recorder, &pass, false);
        Ok(())
    }

    fn reference(&self) -> reference::Twin {
        reference::Twin::of(reference::Linear)
    }
}
