//! GPU code that pooling layers share: the Rust side of `shaders/pool_window.wgsl`.

use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::to_u32;
use super::window::{Size2, Window, image};
use crate::error::Error;
use crate::fields;
use crate::kernel::{Binding, Block, Kernel, Trust};
use crate::plan::{Cost, Recorder};
use crate::tensor::Tensor;

/// Uniform block of the kernels; pairs are [height, width].
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct PoolShape {
    image: [u32; 2],
    output: [u32; 2],
    kernel: [u32; 2],
    stride: [u32; 2],
    padding: [u32; 2],
    elements: u32,
    relu: u32,
}

/// Returns a pooling kernel, in which each invocation computes one element of a tensor.
pub(super) const fn kernel(
    shader: &'static str,
    source: &'static str,
    entry: &'static str,
    bindings: &'static [Binding],
) -> Kernel<PoolShape> {
    Kernel {
        shader,
        source,
        entry,
        bindings,
        fields: fields!(PoolShape: image, output, kernel, stride, padding, elements, relu),
        constants: &[],
        workgroup_size: [256, 1, 1],
        block: Block::Uniform,
        trust: Trust::PROVEN,
        uniform: PhantomData,
    }
}

/// The part of a pooling kernel's work that one invocation does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Each {
    /// One window: the invocation loops over the pixels that the window covers.
    Window,
    /// One pixel: the invocation loops over the windows that cover the pixel.
    Pixel,
    /// One window, for windows without overlaps or gaps: the invocation loops over the window's pixels. For the last
    /// windows, it continues to the end of the image.
    Cell,
}

/// The windows on all images of a minibatch.
#[derive(Debug)]
pub(super) struct Pool {
    window: Window,
    planes: usize,
    image: [usize; 2],
    output: [usize; 2],
    relu: bool,
}

impl Pool {
    /// Creates the windows on the images of `x`, for the output `y`.
    ///
    /// # Errors
    /// [`Error::Setting`] if the rows of `x` are not images, or the window does not fit them.
    pub(super) fn new(
        window: impl FnOnce([usize; 2]) -> Window,
        x: &Tensor,
        y: &Tensor,
    ) -> Result<Self, Error> {
        let [channels, height, width] = image(&x.row_shape())?;
        let window = window([height, width]);
        let pool = Self {
            planes: x.rows() * channels,
            image: [height, width],
            output: window.output(&x.row_shape())?,
            relu: false,
            window,
        };
        assert_eq!(
            y.len(),
            pool.windows(),
            "pooling: elements of {}",
            y.label()
        );
        Ok(pool)
    }

    /// Sets whether a `Relu` comes before the layer. If so, `dx` is the gradient with respect to that `Relu`'s input.
    pub(super) fn after_relu(self, relu: bool) -> Self {
        Self { relu, ..self }
    }

    /// Returns the number of windows on all planes. A plane is one channel of one image.
    fn windows(&self) -> usize {
        self.planes * self.output[0] * self.output[1]
    }

    /// Returns the maximum number of pixels or windows that one invocation loops over, `[height, width]`.
    fn most(&self, each: Each) -> [usize; 2] {
        let [kernel, stride] = [self.window.kernel, self.window.stride].map(Size2::as_array);
        [0, 1].map(|axis| match each {
            Each::Window => kernel[axis].min(self.image[axis]),
            Each::Pixel => kernel[axis].div_ceil(stride[axis]).min(self.output[axis]),
            // After the last window, up to `stride − 1` pixels may be in no window.
            Each::Cell => (2 * stride[axis] - 1).min(self.image[axis]),
        })
    }

    /// Records a kernel that reads and writes these tensors.
    pub(super) fn record(
        &self,
        recorder: &mut Recorder<'_>,
        kernel: &'static Kernel<PoolShape>,
        each: Each,
        tensors: &[&Tensor],
    ) {
        let elements = match each {
            Each::Window | Each::Cell => self.windows(),
            Each::Pixel => self.planes * self.image[0] * self.image[1],
        };
        let [rows, columns] = self.most(each).map(|most| most as u64);
        let pair = |pair: [usize; 2]| pair.map(to_u32);
        let Window {
            kernel: covered,
            stride,
            padding,
            ..
        } = self.window;
        let shape = PoolShape {
            image: pair(self.image),
            output: pair(self.output),
            kernel: pair(covered.as_array()),
            stride: pair(stride.as_array()),
            padding: pair(padding.as_array()),
            elements: to_u32(elements),
            relu: self.relu.into(),
        };
        let cost = Cost {
            flops: (elements as u64).saturating_mul(rows * columns),
            iterations: rows * (columns + 2) + 1,
            bytes: None,
        };
        recorder.dispatch_each(kernel, shape, tensors, elements, cost);
    }
}
