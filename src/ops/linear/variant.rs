//! The choice of kernels that compute a linear layer's products.

use super::products::{
    BYTES, DEEP, LARGE, MEDIUM, Products, REGISTERS, Shape, TILES, VECTOR_BYTES, VECTORS,
};
use crate::gpu::{Gpu, SoftwareDriver};
use crate::kernel::Element;
use crate::ops::Backward;
use crate::plan::Recorder;
use crate::tensor::Tensor;

/// How the three products of a linear layer are computed. Every variant passes the same tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// `shaders/linear.wgsl`: tiles of 32×32 in workgroup memory.
    Tiles,
    /// `shaders/linear_deep.wgsl`: tiles of 8×8, where groups of invocations share the terms of a sum.
    Deep,
    /// `shaders/linear_medium.wgsl`: tiles of 64×64, with 8×4 sums per invocation.
    Medium,
    /// `shaders/linear_large.wgsl`: tiles of 128×128, with 8×8 sums per invocation.
    Large,
    /// `shaders/linear_registers.wgsl`: 20×17 sums in the registers of each invocation.
    Registers,
    /// `shaders/linear_vectors.wgsl`: 8×8 sums per invocation, in named vectors.
    Vectors,
    /// `shaders/linear_bytes.wgsl`: 28×13 sums over packed bytes, for the first layer.
    Bytes,
    /// `shaders/linear_vectors_bytes.wgsl`: 8×4 sums over packed bytes, in named vectors, and 28×4 sums for the
    /// gradient with respect to the weights.
    VectorBytes,
}

impl Variant {
    /// The variants for an `x` of floats.
    pub const OF_FLOATS: [Self; 6] = [
        Self::Tiles,
        Self::Deep,
        Self::Medium,
        Self::Large,
        Self::Registers,
        Self::Vectors,
    ];
    /// The variants for an `x` of packed bytes.
    pub const OF_BYTES: [Self; 2] = [Self::Bytes, Self::VectorBytes];

    /// Returns the variant for one product of a layer whose input is `x`: either a product with the factor `x`, or the
    /// gradient with respect to `x`. `product` is the product's shape, `[rows, columns]`. Each element of the product
    /// is a sum of `depth` terms.
    ///
    /// | adapter | `x` | product (the first row that fits applies) | variant | because |
    /// |---|---|---|---|---|
    /// | hardware | floats | 256 tiles of 128×128 or more | `Large` | measured: 42 and 43 TFLOP/s at 2048³ and 4096³, where `Medium` has 31 and 32 |
    /// | hardware | floats | 32 tiles of 64×64 or more | `Medium` | measured: 28 TFLOP/s at 1024³ and 7.3 at 448³, where `Large` has 18 and 3.3, `Tiles` 8.6 and 5.2 |
    /// | hardware | floats | at most 64 tiles of 32×32, 64 deep or more | `Deep` | measured: 3.2 TFLOP/s at 256³ and 1.3 at 100×784×50, where `Medium` has 2.2 and 0.2 |
    /// | hardware | floats | any other | `Tiles` | one load per multiplication, and many workgroups |
    /// | lavapipe | floats | any | `Registers` | a load costs as much as dozens of multiplications |
    /// | lavapipe | bytes | any | `Bytes` | one load gives four values of `x` |
    /// | SwiftShader | floats | any | `Vectors` | measured: 3.8 ms for the first product of 784 → 50 → 10, where `Registers` takes 24 ms: the driver neither unrolls loops nor keeps arrays in registers |
    /// | SwiftShader | bytes | any | `VectorBytes` | measured: 3.4 ms for the same product, and 3.2 ms for the gradient with respect to the weights, where `Vectors` takes 4.2 ms |
    ///
    /// Along each axis, a last tile that would be less than half full does not count. The measurements are from an H200
    /// through Vulkan; ARCHITECTURE.md has the figures for each product. The thresholds of `Deep` are derived by
    /// counting memory accesses, and by comparing the number of workgroups with that GPU's 132 multiprocessors.
    ///
    /// # Panics
    /// If `x` holds bytes and the device has no kernel for them. This is a bug in the caller, which must ask
    /// [`Layer::takes_bytes`](crate::ops::Layer::takes_bytes) first.
    #[must_use]
    pub fn choose(gpu: &Gpu, x: &Tensor, product: [usize; 2], depth: usize) -> Self {
        if x.element() == Element::U32 {
            let variant = Self::of_bytes(gpu);
            assert!(
                variant.is_some(),
                "linear: {} holds packed bytes, which this kernel does not read",
                x.label()
            );
            return variant.unwrap_or(Self::Bytes);
        }
        match gpu.software_driver() {
            None => Self::of_hardware(product, depth),
            Some(SoftwareDriver::Lavapipe) => Self::Registers,
            Some(SoftwareDriver::SwiftShader) => Self::Vectors,
        }
    }

    fn of_hardware(product: [usize; 2], depth: usize) -> Self {
        let along = |size: usize, tile: usize| (size + tile / 2) / tile;
        let tiles = |rows, columns| along(product[0], rows) * along(product[1], columns);
        if tiles(128, 128) >= 256 {
            return Self::Large;
        }
        if tiles(64, 64) >= 32 {
            return Self::Medium;
        }
        if tiles(32, 32) <= 64 && depth >= 64 {
            return Self::Deep;
        }
        Self::Tiles
    }

    /// Returns the device's variant for an `x` of packed bytes, or `None` on hardware, which has none.
    pub(super) fn of_bytes(gpu: &Gpu) -> Option<Self> {
        gpu.software_driver().map(|driver| match driver {
            SoftwareDriver::Lavapipe => Self::Bytes,
            SoftwareDriver::SwiftShader => Self::VectorBytes,
        })
    }

    fn products(self) -> &'static Products {
        match self {
            Self::Tiles => &TILES,
            Self::Deep => &DEEP,
            Self::Medium => &MEDIUM,
            Self::Large => &LARGE,
            Self::Registers => &REGISTERS,
            Self::Vectors => &VECTORS,
            Self::Bytes => &BYTES,
            Self::VectorBytes => &VECTOR_BYTES,
        }
    }

    /// Records `y = x·w + b`; `parameters` are `w` and `b`.
    ///
    /// # Panics
    /// If the shapes do not fit together, which is a bug in the caller.
    pub fn forward(
        self,
        recorder: &mut Recorder<'_>,
        x: &Tensor,
        parameters: &[Tensor],
        y: &Tensor,
    ) {
        self.record_forward(recorder, [x, y], [&parameters[0], &parameters[1]], false);
    }

    /// Records `y = max(x·w + b, 0)`: a layer followed by a `Relu`.
    ///
    /// # Panics
    /// If the shapes do not fit together, which is a bug in the caller.
    pub fn forward_relu(
        self,
        recorder: &mut Recorder<'_>,
        x: &Tensor,
        parameters: &[Tensor],
        y: &Tensor,
    ) {
        self.record_forward(recorder, [x, y], [&parameters[0], &parameters[1]], true);
    }

    pub(super) fn record_forward(
        self,
        recorder: &mut Recorder<'_>,
        [x, y]: [&Tensor; 2],
        [w, b]: [&Tensor; 2],
        relu: bool,
    ) {
        let shape = Shape {
            relu: relu.into(),
            ..Shape::new(x, w, y)
        };
        assert_eq!(b.dims(), [1, y.columns()], "linear: {}", b.label());
        let products = self.products();
        let tensors = [x, w, y, b];
        let kernel = &products.forward;
        products.record(recorder, kernel, shape, &tensors, shape.inputs, relu);
    }

    /// Records `dw = xᵀ·dy`, `db = Σ_rows dy`, and `dx = dy·wᵀ` if it is needed.
    ///
    /// # Panics
    /// If the shapes do not fit together, which is a bug in the caller.
    pub fn backward(self, recorder: &mut Recorder<'_>, pass: Backward<'_>) {
        self.record_backward(recorder, &pass, false);
    }

    /// Records the same gradients as [`backward`](Self::backward), for a layer after a `Relu` whose output is `x`. `dx`
    /// is the gradient with respect to that `Relu`'s input: it is 0 where `x` is not above 0.
    ///
    /// # Panics
    /// If the shapes do not fit together, which is a bug in the caller.
    pub fn backward_relu(self, recorder: &mut Recorder<'_>, pass: Backward<'_>) {
        self.record_backward(recorder, &pass, true);
    }

    fn record_backward(self, recorder: &mut Recorder<'_>, pass: &Backward<'_>, relu: bool) {
        self.backward_parameters(recorder, pass);
        if let Some(dx) = pass.dx {
            self.backward_input(recorder, pass, dx, relu);
        }
    }

    /// Records the gradients with respect to the weights and, if the layer has one, the bias.
    pub(super) fn backward_parameters(self, recorder: &mut Recorder<'_>, pass: &Backward<'_>) {
        let shape = Shape::of(pass);
        let products = self.products();
        let dw = &pass.gradients[0];
        let label = dw.label();
        assert_eq!(dw.dims(), pass.parameters[0].dims(), "linear: {label}");
        let Some(db) = pass.gradients.get(1) else {
            products.record_weight(recorder, shape, &[pass.x, pass.dy, dw]);
            return;
        };
        assert_eq!(db.dims(), [1, pass.dy.columns()], "linear: {}", db.label());
        products.record_gradients(recorder, shape, [pass.x, pass.dy, dw, db]);
    }

    pub(super) fn backward_input(
        self,
        recorder: &mut Recorder<'_>,
        pass: &Backward<'_>,
        dx: &Tensor,
        relu: bool,
    ) {
        let shape = Shape::of(pass);
        let products = self.products();
        assert_eq!(dx.dims(), pass.x.dims(), "linear: {}", dx.label());
        assert!(
            products.backward_input.is_some(),
            "linear: packed bytes have no gradient"
        );
        let kernels = products.backward_input.as_ref();
        let kernel = kernels.map_or(&products.forward, |kernels| &kernels[usize::from(relu)]);
        let tensors = [pass.dy, &pass.parameters[0], dx, pass.x];
        let tensors = &tensors[..kernel.bindings.len()];
        products.record(recorder, kernel, shape, tensors, shape.outputs, relu);
    }
}

#[cfg(test)]
mod tests;
