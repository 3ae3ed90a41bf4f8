use super::pool::{Each, Pool, PoolShape, kernel};
use super::window::{Size2, Window, image};
use super::{Backward, Forward, Layer, LayerSpec};
use crate::error::Error;
use crate::kernel::{Binding, Contract, Kernel};
use crate::plan::Recorder;
use crate::reference;
use crate::shape::Shape;

/// Average pooling over images, like `torch.nn.AvgPool2d`: the mean of each window of a channel.
///
/// The input and the output are images, (channels, height, width), with the same number of channels. Padding counts as
/// zeros, like PyTorch's default.
///
/// ```
/// use wgrad::Sequential;
/// use wgrad::ops::{AvgPool2d, Conv2d};
///
/// let filtered = Sequential::input([3, 10, 8]).layer(Conv2d::new(64, 3)); // 64×8×6
/// assert_eq!(filtered.clone().layer(AvgPool2d::new(2)).output()?, [64, 4, 3].into());
/// assert_eq!(filtered.layer(AvgPool2d::global()).output()?, [64, 1, 1].into());
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AvgPool2d {
    /// `None` for global pooling: each image is one window.
    pub(super) window: Option<Window>,
}

impl AvgPool2d {
    /// Creates a layer with windows of this size that lie side by side: the stride equals the window's size.
    #[must_use]
    pub fn new(kernel: impl Into<Size2>) -> Self {
        Self {
            window: Some(Window::beside(kernel.into())),
        }
    }

    /// Creates a global pooling layer: it returns the mean of each channel, for images of any size, like
    /// `torch.nn.AdaptiveAvgPool2d(1)`. Stride and padding have no effect on it.
    #[must_use]
    pub fn global() -> Self {
        Self { window: None }
    }

    /// Sets the stride: the distance in pixels from one window to the next.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Size2>) -> Self {
        if let Some(window) = &mut self.window {
            window.stride = stride.into();
        }
        self
    }

    /// Sets the padding: the width in pixels of the border of zeros around the image. At most half of the window's
    /// size; by default 0.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Size2>) -> Self {
        if let Some(window) = &mut self.window {
            window.padding = padding.into();
        }
        self
    }

    /// Returns the window for images with this `[height, width]`.
    pub(crate) fn window(&self, image: [usize; 2]) -> Window {
        let whole = || Window::beside(image.into());
        self.window.unwrap_or_else(whole)
    }
}

const fn of(entry: &'static str, bindings: &'static [Binding]) -> Kernel<PoolShape> {
    let source = concat!(
        include_str!("../../shaders/pool_window.wgsl"),
        include_str!("../../shaders/avg_pool2d.wgsl")
    );
    kernel("avg_pool2d", source, entry, bindings)
}

static FORWARD: Kernel<PoolShape> = of("forward", &[Binding::read("x"), Binding::write("y")]);
static BACKWARD: Kernel<PoolShape> = of("backward", &[Binding::read("dy"), Binding::write("dx")]);

impl Layer for AvgPool2d {
    fn name(&self) -> String {
        match self.window {
            None => "AvgPool2d(global)".to_owned(),
            Some(window) => {
                let kernel = window.kernel;
                format!("AvgPool2d({kernel}{})", window.named(kernel))
            }
        }
    }

    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
        let [channels, height, width] = image(input)?;
        let window = self.window([height, width]);
        let [height, width] = window.output(input)?;
        window.check_padding()?;
        let output = Shape::from([channels, height, width]);
        let flops = (output.len() as u64).saturating_mul(window.len() as u64);
        Ok(LayerSpec::new(output).flops(flops))
    }

    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
        let pool = Pool::new(|image| self.window(image), pass.x, pass.y)?;
        pool.record(recorder, &FORWARD, Each::Window, &[pass.x, pass.y]);
        Ok(())
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error> {
        if let Some(dx) = pass.dx {
            let pool = Pool::new(|image| self.window(image), pass.x, pass.y)?;
            pool.record(recorder, &BACKWARD, Each::Pixel, &[pass.dy, dx]);
        }
        Ok(())
    }

    fn reference(&self) -> reference::Twin {
        reference::Twin::of(reference::AvgPool2d {
            window: self.window.map(|window| {
                let Window {
                    kernel,
                    stride,
                    padding,
                    ..
                } = window;
                [kernel, stride, padding].map(Size2::as_array)
            }),
        })
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    [&FORWARD, &BACKWARD].map(Kernel::contract).to_vec()
}
