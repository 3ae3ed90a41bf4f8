mod products;
mod sum;
mod variant;

use super::window::{Size2, Window, image};
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

/// Convolution over images, like `torch.nn.Conv2d`.
///
/// The input is an image, (channels, height, width), and the output is an image, (outputs, height, width):
/// `y[o, i, j] = b[o] + Σ_{c,u,v} w[o, c, u, v] · x[c, i·stride + u·dilation − padding, j·… + v·… − …]`, where `x` is 0
/// outside of the image.
///
/// `w` is (outputs, channels, kernel height, kernel width), and `b` is (outputs). The initial weights [depend on the
/// activation after the layer](Init::Auto), and biases start at 0. An axis with `extent` pixels in the input has
/// `⌊(extent + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1` pixels in the output.
///
/// ```
/// use wgrad::Sequential;
/// use wgrad::ops::{Conv2d, Linear, MaxPool2d, Relu};
///
/// let network = Sequential::input([1, 28, 28])
///     .layer(Conv2d::new(30, 5))
///     .layer(Relu)
///     .layer(MaxPool2d::new(2))
///     .layer(Linear::new(10));
/// assert_eq!(network.summary()?.parameters(), 30 * 25 + 30 + 30 * 12 * 12 * 10 + 10);
/// let same = Conv2d::new(16, [3, 5]).padding([1, 2]);
/// assert_eq!(Sequential::input([3, 9, 9]).layer(same).output()?, [16, 9, 9].into());
/// # Ok::<(), wgrad::Error>(())
/// ```
#[doc(alias = "Convolution")]
#[derive(Debug, Clone)]
pub struct Conv2d {
    pub(super) outputs: usize,
    pub(super) window: Window,
    weight: Init,
    /// Initial values of the biases; `None` for a layer without biases.
    pub(super) bias: Option<Init>,
}

impl Conv2d {
    /// Creates a layer with this number of outputs (filters) and kernels of this size, with stride 1 and no padding.
    #[must_use]
    pub fn new(outputs: usize, kernel: impl Into<Size2>) -> Self {
        Self::with_window(outputs, Window::new(kernel.into()))
    }

    pub(super) fn with_window(outputs: usize, window: Window) -> Self {
        Self {
            outputs,
            window,
            weight: Init::Auto,
            bias: Some(Init::Zeros),
        }
    }

    /// Sets the stride: the distance in pixels from one position of the kernel to the next. By default 1.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Size2>) -> Self {
        self.window.stride = stride.into();
        self
    }

    /// Sets the padding: the width in pixels of the border of zeros above and below the image, and to its left and
    /// right. By default 0.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Size2>) -> Self {
        self.window.padding = padding.into();
        self
    }

    /// Sets the dilation: the distance in pixels between neighboring weights of the kernel. By default 1.
    #[must_use]
    pub fn dilation(mut self, dilation: impl Into<Size2>) -> Self {
        self.window.dilation = dilation.into();
        self
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

    /// Removes the biases from the layer.
    #[must_use]
    pub fn without_bias(mut self) -> Self {
        self.bias = None;
        self
    }

    /// Records the forward pass. If `relu` is set, the pass also applies the [`Relu`](super::Relu) that follows the
    /// layer, and `y` receives the output of that `Relu`.
    ///
    /// # Errors
    /// [`Error::Setting`] if the layer does not accept such images, [`Error::OutOfMemory`] if the GPU has no memory for
    /// the zeros that replace missing biases.
    pub(crate) fn record_forward(
        &self,
        recorder: &mut Recorder<'_>,
        pass: &Forward<'_>,
        relu: bool,
    ) -> Result<(), Error> {
        let variant = Variant::choose(recorder.gpu(), pass.x);
        variant.record_forward(recorder, self, pass, relu)
    }

    /// Returns the number of outputs.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    fn has_bias(&self) -> bool {
        self.bias.is_some()
    }

    /// Allocates zeros that replace missing biases. Returns `None` if the layer has biases.
    fn zeros(&self, gpu: &Gpu) -> Result<Option<Tensor>, Error> {
        let zeros = || Tensor::zeros(gpu, "no bias", [1, self.outputs], Element::F32);
        (!self.has_bias()).then(zeros).transpose()
    }

    /// Returns the window that slides over the images.
    pub(crate) fn window(&self) -> Window {
        self.window
    }
}

impl Layer for Conv2d {
    fn name(&self) -> String {
        let bias = if self.bias.is_none() { ", no bias" } else { "" };
        let kernel = self.window.kernel;
        let others = self.window.named(Size2::from(1));
        format!("Conv2d({}, {kernel}{others}{bias})", self.outputs)
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        if self.outputs == 0 {
            return Err(Error::setting("outputs", "at least 1", 0));
        }
        let [channels, ..] = image(input)?;
        let [height, width] = self.window.output(input)?;
        let outputs = self.outputs;
        let kernel = self.window.kernel;
        let shape = [outputs, channels, kernel.height, kernel.width];
        let weight = ParameterSpec::new("weight", shape, self.weight.clone());
        let output = Shape::from([outputs, height, width]);
        let products = (output.len() as u64)
            .saturating_mul(channels as u64)
            .saturating_mul(self.window.len() as u64);
        let spec = LayerSpec::new(output)
            .parameter(weight)
            .flops(products.saturating_mul(2));
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
        self.record_forward(recorder, &pass, false)
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        let variant = Variant::choose(recorder.gpu(), pass.x);
        variant.backward(recorder, self, &pass)
    }

    fn reference(&self) -> reference::Twin {
        let Window {
            kernel,
            stride,
            padding,
            dilation,
        } = self.window;
        reference::Twin::of(reference::Conv2d {
            kernel: kernel.as_array(),
            stride: stride.as_array(),
            padding: padding.as_array(),
            dilation: dilation.as_array(),
        })
    }
}
