use super::pool::{Each, Pool, PoolShape, kernel};
use super::window::{Size2, Window, image};
use super::{Backward, Forward, KeptSpec, Layer, LayerSpec, Response};
use crate::error::Error;
use crate::kernel::{Binding, Contract, Kernel};
use crate::plan::Recorder;
use crate::reference;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Max pooling over images, like `torch.nn.MaxPool2d`: the largest value of each window of a channel.
///
/// The input and the output are images, (channels, height, width), with the same number of channels.
///
/// The whole gradient of an output goes to the largest pixel of its window; if several are equal, to the first of them,
/// row by row. A NaN counts as the largest value, so that it is not hidden. Padding never counts as the largest value.
///
/// ```
/// use wgrad::Sequential;
/// use wgrad::ops::{Conv2d, MaxPool2d};
///
/// let filtered = Sequential::input([1, 28, 28]).layer(Conv2d::new(30, 5)); // 30×24×24
/// let halved = filtered.clone().layer(MaxPool2d::new(2));
/// assert_eq!(halved.output()?, [30, 12, 12].into());
/// let overlapping = MaxPool2d::new(3).stride(2).padding(1);
/// assert_eq!(filtered.layer(overlapping).output()?, [30, 12, 12].into());
/// # Ok::<(), wgrad::Error>(())
/// ```
#[doc(alias = "Pooling")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxPool2d {
    pub(super) window: Window,
}

impl MaxPool2d {
    /// Creates a layer with windows of this size that lie side by side: the stride equals the window's size.
    #[must_use]
    pub fn new(kernel: impl Into<Size2>) -> Self {
        Self {
            window: Window::beside(kernel.into()),
        }
    }

    /// Sets the stride: the distance in pixels from one window to the next.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Size2>) -> Self {
        self.window.stride = stride.into();
        self
    }

    /// Sets the padding: the number of pixels by which windows may extend beyond each side of the image. At most half
    /// of the window's size; by default 0.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Size2>) -> Self {
        self.window.padding = padding.into();
        self
    }

    /// Returns the window that slides over the images.
    pub(crate) fn window(&self) -> Window {
        self.window
    }

    /// Records the backward pass. If `relu` is set, `x` is the output of a [`Relu`](super::Relu) before the layer, and
    /// the pass includes that `Relu`: `dx` is the gradient with respect to its input.
    pub(crate) fn record_backward(
        &self,
        recorder: &mut Recorder<'_>,
        pass: &Backward<'_>,
        relu: bool,
    ) -> Result<(), Error> {
        let Some(dx) = pass.dx else { return Ok(()) };
        let pool = Pool::new(|_| self.window(), pass.x, pass.y)?;
        let (kernel, each) = if self.is_apart() {
            (&BACKWARD_APART, Each::Cell)
        } else {
            (&BACKWARD, Each::Pixel)
        };
        let tensors = [winner(pass.kept), pass.dy, dx, pass.y];
        pool.after_relu(relu)
            .record(recorder, kernel, each, &tensors);
        Ok(())
    }

    /// Returns whether the windows are small and lie side by side, as is usual. One invocation then reads the position
    /// of a window's largest pixel once, and writes the gradients of all the window's pixels.
    fn is_apart(&self) -> bool {
        self.window.stride == self.window.kernel && self.window.len() <= MOST_APART
    }
}

/// Maximum number of pixels per window that one invocation of the backward pass writes. With more pixels, other
/// invocations would wait for it.
const MOST_APART: usize = 16;
/// Maximum number of pixels per window. A pixel's position in its window is stored as `f32`, which represents every
/// integer up to this number.
const MOST_PIXELS: usize = 1 << 24;

const WINNERS: Binding = Binding::read("winners");

const fn of(entry: &'static str, bindings: &'static [Binding]) -> Kernel<PoolShape> {
    let source = concat!(
        include_str!("../../shaders/pool_window.wgsl"),
        include_str!("../../shaders/max_pool2d.wgsl")
    );
    kernel("max_pool2d", source, entry, bindings)
}

static FORWARD: Kernel<PoolShape> = of(
    "forward",
    &[
        Binding::read("x"),
        Binding::write("y"),
        Binding::write("winner"),
    ],
);
static BACKWARD: Kernel<PoolShape> = of(
    "backward",
    &[
        WINNERS,
        Binding::read("dy"),
        Binding::write("dx"),
        Binding::read("output"),
    ],
);
static BACKWARD_APART: Kernel<PoolShape> = of("backward_apart", BACKWARD.bindings);

/// Returns the tensor of winners (the positions of the largest pixels), the only one that the forward pass saves.
fn winner(kept: &[Tensor]) -> &Tensor {
    match kept {
        [winner] => winner,
        _ => panic!("max_pool2d: {} tensors are kept", kept.len()),
    }
}

impl Layer for MaxPool2d {
    fn name(&self) -> String {
        let kernel = self.window.kernel;
        format!("MaxPool2d({kernel}{})", self.window.named(kernel))
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        let [channels, ..] = image(input)?;
        let [height, width] = self.window.output(input)?;
        self.window.check_padding()?;
        if self.window.len() > MOST_PIXELS {
            let expected = format!("at most {MOST_PIXELS} pixels");
            return Err(Error::setting("kernel", expected, self.window.kernel));
        }
        let output = Shape::from([channels, height, width]);
        Ok(LayerSpec::new(output)
            // For each output, the position of its largest pixel within the window.
            .kept(KeptSpec::per_row("winner", output))
            .flops((output.len() as u64).saturating_mul(self.window.len() as u64))
            .response(Response::PassesOn))
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        let pool = Pool::new(|_| self.window(), pass.x, pass.y)?;
        let tensors = [pass.x, pass.y, winner(pass.kept)];
        pool.record(recorder, &FORWARD, Each::Window, &tensors);
        Ok(())
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        self.record_backward(recorder, &pass, false)
    }

    fn reference(&self) -> reference::Twin {
        let Window {
            kernel,
            stride,
            padding,
            ..
        } = self.window;
        reference::Twin::of(reference::MaxPool2d {
            kernel: kernel.as_array(),
            stride: stride.as_array(),
            padding: padding.as_array(),
        })
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    [&FORWARD, &BACKWARD, &BACKWARD_APART]
        .map(Kernel::contract)
        .to_vec()
}
