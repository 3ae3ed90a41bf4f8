//! The choice of kernels that compute a convolution.

use super::products::{BYTES, Products, REGISTERS, Shape, TILES, VECTORS, parts_shape};
use super::{Conv2d, sum};
use crate::error::Error;
use crate::gpu::{Gpu, SoftwareDriver};
use crate::kernel::Element;
use crate::ops::{Backward, Forward};
use crate::plan::Recorder;
use crate::tensor::Tensor;

/// How the three products of a convolution are computed. Every variant passes the same tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// `shaders/conv2d_tiles.wgsl` and `conv2d_tiles_weight.wgsl`: tiles of 64×32 in workgroup memory.
    Tiles,
    /// `shaders/conv2d_registers.wgsl`: 16×16 sums in the registers of each invocation, and 13×16 sums for the gradient
    /// with respect to the weights.
    Registers,
    /// `shaders/conv2d_vectors.wgsl`: 8×8 sums per invocation, in named vectors.
    Vectors,
    /// `shaders/conv2d_bytes.wgsl`: as many sums as in `Registers`, over packed bytes, for the first layer.
    Bytes,
}

impl Variant {
    /// The variants for an `x` of floats.
    pub const OF_FLOATS: [Self; 3] = [Self::Tiles, Self::Registers, Self::Vectors];

    /// Returns the variant for a layer whose input is `x`.
    ///
    /// | adapter | `x` | variant | because |
    /// |---|---|---|---|
    /// | hardware | floats | `Tiles` | measured on an H200 for 30 kernels of 5×5 on 28×28 pixels: 7.5 TFLOP/s for the output and 5.1 for the gradient with respect to the weights, which is split into 512 parts, so that 512 workgroups, instead of one, compute its 30×25 elements |
    /// | lavapipe | floats | `Registers` | measured: a load costs as much as dozens of multiplications; 16 + 16 loads serve 256 products |
    /// | lavapipe | bytes | `Bytes` | like `Registers`, and the minibatch need not be converted to floats |
    /// | SwiftShader | floats | `Vectors` | measured for the same layer and 100 images: 68 ms for the output and 63 ms for the gradient with respect to the weights, where `Registers` takes 361 and 307 ms; over packed bytes, each took 97 ms |
    ///
    /// # Panics
    /// If `x` holds bytes and the device has no kernel for them. This is a bug in the caller, which must ask
    /// [`Layer::takes_bytes`](crate::ops::Layer::takes_bytes) first.
    #[must_use]
    pub fn choose(gpu: &Gpu, x: &Tensor) -> Self {
        if x.element() == Element::U32 {
            let variant = Self::of_bytes(gpu);
            assert!(
                variant.is_some(),
                "conv2d: {} holds packed bytes, which this kernel does not read",
                x.label()
            );
            return Self::Bytes;
        }
        match gpu.software_driver() {
            None => Self::Tiles,
            Some(SoftwareDriver::Lavapipe) => Self::Registers,
            Some(SoftwareDriver::SwiftShader) => Self::Vectors,
        }
    }

    /// Returns the device's variant for an `x` of packed bytes, or `None` if the device has none. Only lavapipe
    /// has one.
    pub(super) fn of_bytes(gpu: &Gpu) -> Option<Self> {
        (gpu.software_driver() == Some(SoftwareDriver::Lavapipe)).then_some(Self::Bytes)
    }

    fn products(self) -> &'static Products {
        match self {
            Self::Tiles => &TILES,
            Self::Registers => &REGISTERS,
            Self::Vectors => &VECTORS,
            Self::Bytes => &BYTES,
        }
    }

    /// Records `y`, the convolution of `x`.
    ///
    /// # Errors
    /// [`Error::Setting`] if the layer does not accept such images, [`Error::OutOfMemory`] if the GPU has no memory for
    /// the zeros that replace a missing bias.
    ///
    /// # Panics
    /// If the tensors do not fit the layer, which is a bug in the caller.
    pub fn forward(
        self,
        recorder: &mut Recorder<'_>,
        layer: &Conv2d,
        pass: &Forward<'_>,
    ) -> Result<(), Error> {
        self.record_forward(recorder, layer, pass, false)
    }

    /// Records `max(y, 0)`: a layer followed by a `Relu`.
    ///
    /// # Errors
    /// [`Error::Setting`] if the layer does not accept such images, [`Error::OutOfMemory`] if the GPU has no memory for
    /// the zeros that replace a missing bias.
    ///
    /// # Panics
    /// If the tensors do not fit the layer, which is a bug in the caller.
    pub fn forward_relu(
        self,
        recorder: &mut Recorder<'_>,
        layer: &Conv2d,
        pass: &Forward<'_>,
    ) -> Result<(), Error> {
        self.record_forward(recorder, layer, pass, true)
    }

    pub(super) fn record_forward(
        self,
        recorder: &mut Recorder<'_>,
        layer: &Conv2d,
        pass: &Forward<'_>,
        relu: bool,
    ) -> Result<(), Error> {
        let gpu = recorder.gpu();
        let x = pass.x;
        let y = pass.y;
        let mut shape = checked(layer, &pass.input, [x, &pass.parameters[0], y])?;
        shape.relu = relu.into();
        let zeros = layer.zeros(gpu)?;
        let products = self.products();
        if let Some(bias) = pass.parameters.get(1).or(zeros.as_ref()) {
            let outputs = shape.outputs as usize;
            assert_eq!(bias.dims(), [1, outputs], "conv2d: {}", bias.label());
            let tensors = [x, &pass.parameters[0], y, bias];
            let channels = [shape.outputs, shape.channels];
            products.record(recorder, &products.forward, shape, &tensors, channels);
        }
        Ok(())
    }

    /// Records the gradients with respect to the weights and the bias, and with respect to `x` if it is needed.
    ///
    /// # Errors
    /// [`Error::Setting`] if the layer does not accept such images, [`Error::OutOfMemory`] if the GPU has no memory for
    /// the parts of the gradient with respect to the weights.
    ///
    /// # Panics
    /// If the tensors do not fit the layer, which is a bug in the caller.
    pub fn backward(
        self,
        recorder: &mut Recorder<'_>,
        layer: &Conv2d,
        pass: &Backward<'_>,
    ) -> Result<(), Error> {
        let x = pass.x;
        let w = &pass.parameters[0];
        let dy = pass.dy;
        let shape = checked(layer, &pass.input, [x, w, dy])?;
        for (gradient, parameter) in pass.gradients.iter().zip(pass.parameters) {
            let label = gradient.label();
            assert_eq!(gradient.dims(), parameter.dims(), "conv2d: {label}");
        }
        let products = self.products();
        let shape = products.in_parts(shape);
        let label = "parts of the gradient by the weights";
        let of_parts = parts_shape(shape);
        let parts = Tensor::zeros(recorder.gpu(), label, of_parts, Element::F32)?;
        products.record_parts(recorder, shape, &[x, dy, &parts]);
        sum::record(recorder, shape, &parts, pass.gradients);
        let Some(dx) = pass.dx else {
            return Ok(());
        };
        assert_eq!(dx.dims(), x.dims(), "conv2d: {}", dx.label());
        assert!(
            products.backward_input.is_some(),
            "conv2d: packed bytes have no gradient"
        );
        if let Some(kernel) = &products.backward_input {
            let channels = [shape.channels, shape.outputs];
            products.record(recorder, kernel, shape, &[dy, w, dx], channels);
        }
        Ok(())
    }
}

/// Returns the sizes of a layer for the images in `x`. Checks that the tensors have these sizes.
fn checked(
    layer: &Conv2d,
    input: &crate::shape::Shape,
    [x, w, y]: [&Tensor; 3],
) -> Result<Shape, Error> {
    let rows = x.rows();
    let shape = Shape::new(layer, input, rows)?;
    let columns = match x.element() {
        Element::F32 => shape.input(),
        Element::U32 => shape.input().div_ceil(4),
    };
    let weights = [shape.outputs as usize, shape.weights()];
    assert_eq!(x.columns(), columns, "conv2d: columns of {}", x.label());
    assert_eq!(w.dims(), weights, "conv2d: {}", w.label());
    assert_eq!(y.dims(), [rows, shape.output()], "conv2d: {}", y.label());
    Ok(shape)
}
