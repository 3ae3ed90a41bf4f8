#[cfg(test)]
mod tests;

use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::{Backward, Forward, Layer, ParameterSpec, to_u32};
use crate::fields;
use crate::gpu::{AdapterKind, Gpu};
use crate::init::Init;
use crate::kernel::{Binding, Block, Contract, Element, Kernel, Trust};
use crate::plan::{Cost, Recorder};
use crate::reference;
use crate::tensor::Tensor;

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

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Shape {
    rows: u32,
    inputs: u32,
    outputs: u32,
    /// 1 where a forward pass is that of a `Relu` behind the layer as well.
    relu: u32,
}

impl Shape {
    /// Of the batch `x` under weights `w`, with everything else checked against them.
    fn new(x: &Tensor, w: &Tensor, y: &Tensor) -> Self {
        let [inputs, outputs] = w.shape();
        let columns = match x.element() {
            Element::F32 => inputs,
            Element::U32 => inputs.div_ceil(4),
        };
        assert_eq!(x.columns(), columns, "linear: columns of {}", x.label());
        assert_eq!(y.shape(), [x.rows(), outputs], "linear: {}", y.label());
        Self {
            rows: to_u32(x.rows()),
            inputs: to_u32(inputs),
            outputs: to_u32(outputs),
            relu: 0,
        }
    }

    fn of(pass: &Backward<'_>) -> Self {
        Self::new(pass.x, &pass.parameters[0], pass.dy)
    }

    /// Multiplications and additions of each of the three products.
    fn flops(self) -> u64 {
        2 * u64::from(self.rows) * u64::from(self.inputs) * u64::from(self.outputs)
    }
}

/// How the three products are computed. Every variant passes the same parity table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// `shaders/linear.wgsl`: tiles of 32×32 in workgroup memory.
    Tiles,
    /// `shaders/linear_deep.wgsl`: tiles of 8×8, their sums split between groups of invocations.
    Deep,
    /// `shaders/linear_medium.wgsl`: tiles of 128×64, eight by eight to an invocation.
    Medium,
    /// `shaders/linear_large.wgsl`: tiles of 128×128, eight by eight to an invocation.
    Large,
    /// `shaders/linear_registers.wgsl`: 20×17 sums in the registers of each invocation.
    Registers,
    /// `shaders/linear_bytes.wgsl`: 28×13 sums over packed bytes, for the first layer.
    Bytes,
}

/// An algorithm as data: its kernels, and the block of outputs that one workgroup or invocation
/// makes.
struct Products {
    forward: Kernel<Shape>,
    /// Alone, and with the derivative of a `Relu` before the layer. The first layer of a network has no use
    /// for them.
    backward_input: Option<[Kernel<Shape>; 2]>,
    backward_weight: Kernel<Shape>,
    backward_bias: &'static Sums,
    block: [usize; 2],
    blocks_per_workgroup: u64,
    /// [`Cost::iterations`] for sums of so many products, were no loop unrolled.
    iterations: fn(u64) -> u64,
}

/// How all rows are summed.
struct Sums {
    kernel: &'static Kernel<Shape>,
    /// Of a workgroup.
    columns: u64,
    /// Of a column, in one round of its loop.
    rows_at_a_time: u32,
    /// That a sum is split into.
    parts: u64,
}

impl Variant {
    /// Those that take an `x` of floats.
    pub const OF_FLOATS: [Self; 5] = [
        Self::Tiles,
        Self::Deep,
        Self::Medium,
        Self::Large,
        Self::Registers,
    ];

    /// How to compute a product of this shape that has `x` as a factor, or its gradient; `depth` is the
    /// number of products in each of its sums.
    ///
    /// | adapter | `x` | product, the first that fits | variant | because |
    /// |---|---|---|---|---|
    /// | hardware | floats | 256 tiles of 128×128 or more | `Large` | measured: 44 and 45 TFLOP/s at 2048³ and 4096³, where `Medium` has 27 and 37 |
    /// | hardware | floats | 32 tiles of 128×64 or more | `Medium` | measured: 32 TFLOP/s at 1024³ and 7.4 at 512³, where `Large` has 19 and 4.6, `Tiles` 8.6 and 6.7 |
    /// | hardware | floats | at most 64 tiles of 32×32, 64 deep or more | `Deep` | measured: 3.3 TFLOP/s at 256³ and 1.3 at 100×784×50, where `Tiles` has 2.0 and 0.2 |
    /// | hardware | floats | any other | `Tiles` | one load for a multiplication, and many workgroups |
    /// | software | floats | any | `Registers` | a load costs as much as dozens of multiplications |
    /// | software | bytes | any | `Bytes` | one load brings four values of `x` |
    ///
    /// A tile that would be less than half used is not counted. What is measured is so on an H200 through
    /// Vulkan; ARCHITECTURE.md has the figures of each product. The bounds of `Deep` are derived by counting
    /// trips to memory, and workgroups against the 132 multiprocessors of that GPU.
    ///
    /// # Panics
    /// When `x` are bytes and the device has no kernel for them: a bug in the caller, which asks
    /// [`Layer::takes_bytes`] before it gives bytes.
    #[must_use]
    pub fn choose(gpu: &Gpu, x: &Tensor, product: [usize; 2], depth: usize) -> Self {
        if x.element() == Element::U32 {
            let variant = Self::of_bytes(gpu);
            assert!(variant.is_some(), "linear: {} are bytes", x.label());
            return Self::Bytes;
        }
        match gpu.kind() {
            AdapterKind::Hardware => Self::of_hardware(product, depth),
            AdapterKind::Software => Self::Registers,
        }
    }

    fn of_hardware(product: [usize; 2], depth: usize) -> Self {
        let along = |size: usize, tile: usize| (size + tile / 2) / tile;
        let tiles = |rows, columns| along(product[0], rows) * along(product[1], columns);
        if tiles(128, 128) >= 256 {
            return Self::Large;
        }
        if tiles(128, 64) >= 32 {
            return Self::Medium;
        }
        if tiles(32, 32) <= 64 && depth >= 64 {
            return Self::Deep;
        }
        Self::Tiles
    }

    /// What this device has for an `x` of bytes; for hardware none is built.
    fn of_bytes(gpu: &Gpu) -> Option<Self> {
        (gpu.kind() == AdapterKind::Software).then_some(Self::Bytes)
    }

    fn products(self) -> &'static Products {
        match self {
            Self::Tiles => &TILES,
            Self::Deep => &DEEP,
            Self::Medium => &MEDIUM,
            Self::Large => &LARGE,
            Self::Registers => &REGISTERS,
            Self::Bytes => &BYTES,
        }
    }

    /// Records `y = x·w + b`; `parameters` are `w` and `b`.
    ///
    /// # Panics
    /// When the shapes do not fit together: a bug in the caller.
    pub fn forward(
        self,
        recorder: &mut Recorder<'_>,
        x: &Tensor,
        parameters: &[Tensor],
        y: &Tensor,
    ) {
        self.record_forward(recorder, [x, y], parameters, false);
    }

    /// Records `y = x·w + b` where that is above 0, else 0: a layer with a `Relu` behind it.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn forward_relu(
        self,
        recorder: &mut Recorder<'_>,
        x: &Tensor,
        parameters: &[Tensor],
        y: &Tensor,
    ) {
        self.record_forward(recorder, [x, y], parameters, true);
    }

    fn record_forward(
        self,
        recorder: &mut Recorder<'_>,
        [x, y]: [&Tensor; 2],
        parameters: &[Tensor],
        relu: bool,
    ) {
        let [w, b] = [&parameters[0], &parameters[1]];
        let shape = Shape {
            relu: relu.into(),
            ..Shape::new(x, w, y)
        };
        assert_eq!(b.shape(), [1, y.columns()], "linear: {}", b.label());
        let (products, tensors) = (self.products(), [x, w, y, b]);
        let kernel = &products.forward;
        products.record(recorder, kernel, shape, &tensors, shape.inputs, relu);
    }

    /// Records `dw = xᵀ·dy`, `db = Σ_rows dy`, and `dx = dy·wᵀ` where it is wanted.
    ///
    /// # Panics
    /// When the shapes do not fit together: a bug in the caller.
    pub fn backward(self, recorder: &mut Recorder<'_>, pass: Backward<'_>) {
        self.record_backward(recorder, &pass, false);
    }

    /// The same behind a `Relu`, of which `x` is the output: `dx` is 0 where `x` is not above 0, and so the
    /// gradient by the input of that `Relu`.
    ///
    /// # Panics
    /// As [`backward`](Self::backward).
    pub fn backward_relu(self, recorder: &mut Recorder<'_>, pass: Backward<'_>) {
        self.record_backward(recorder, &pass, true);
    }

    fn record_backward(self, recorder: &mut Recorder<'_>, pass: &Backward<'_>, relu: bool) {
        self.backward_weight(recorder, pass);
        self.backward_bias(recorder, pass);
        if let Some(dx) = pass.dx {
            self.backward_input(recorder, pass, dx, relu);
        }
    }

    fn backward_weight(self, recorder: &mut Recorder<'_>, pass: &Backward<'_>) {
        let (shape, dw) = (Shape::of(pass), &pass.gradients[0]);
        assert_eq!(
            dw.shape(),
            pass.parameters[0].shape(),
            "linear: {}",
            dw.label()
        );
        let (products, tensors) = (self.products(), [pass.x, pass.dy, dw]);
        let kernel = &products.backward_weight;
        products.record(recorder, kernel, shape, &tensors, shape.rows, false);
    }

    fn backward_bias(self, recorder: &mut Recorder<'_>, pass: &Backward<'_>) {
        let (shape, dy, db) = (Shape::of(pass), pass.dy, &pass.gradients[1]);
        assert_eq!(db.shape(), [1, dy.columns()], "linear: {}", db.label());
        let sums = self.products().backward_bias;
        let cost = Cost {
            flops: u64::from(shape.rows) * u64::from(shape.outputs),
            iterations: u64::from(shape.rows.div_ceil(sums.rows_at_a_time)) + sums.parts + 2,
            bytes: None,
        };
        let workgroups = (dy.columns() as u64).div_ceil(sums.columns);
        recorder.dispatch(sums.kernel, shape, &[dy, db], workgroups, cost);
    }

    fn backward_input(
        self,
        recorder: &mut Recorder<'_>,
        pass: &Backward<'_>,
        dx: &Tensor,
        relu: bool,
    ) {
        let (shape, products) = (Shape::of(pass), self.products());
        assert_eq!(dx.shape(), pass.x.shape(), "linear: {}", dx.label());
        assert!(
            products.backward_input.is_some(),
            "linear: gradient by bytes"
        );
        let kernels = products.backward_input.as_ref();
        let kernel = kernels.map_or(&products.forward, |kernels| &kernels[usize::from(relu)]);
        let tensors = [pass.dy, &pass.parameters[0], dx, pass.x];
        let tensors = &tensors[..kernel.bindings.len()];
        products.record(recorder, kernel, shape, tensors, shape.outputs, relu);
    }
}

impl Products {
    /// Of one source with an entry point for each product, of which `forward` is one: a workgroup makes one
    /// block, and the only loop is that over the products of a sum.
    const fn of(forward: Kernel<Shape>, block: [usize; 2]) -> Self {
        Self {
            backward_input: Some([
                Kernel {
                    entry: "backward_input",
                    bindings: PRODUCT,
                    ..forward
                },
                Kernel {
                    entry: "backward_input_relu",
                    bindings: PRODUCT_AND_X,
                    ..forward
                },
            ]),
            backward_weight: Kernel {
                entry: "backward_weight",
                bindings: PRODUCT,
                ..forward
            },
            forward,
            backward_bias: &SPLIT,
            block,
            blocks_per_workgroup: 1,
            iterations: |depth| depth,
        }
    }

    /// The third of the tensors is the product; with `relu`, each of its elements is looked at once more.
    fn record(
        &self,
        recorder: &mut Recorder<'_>,
        kernel: &'static Kernel<Shape>,
        shape: Shape,
        tensors: &[&Tensor],
        depth: u32,
        relu: bool,
    ) {
        let [rows, columns] = tensors[2].shape();
        let blocks = rows.div_ceil(self.block[0]) * columns.div_ceil(self.block[1]);
        let workgroups = (blocks as u64).div_ceil(self.blocks_per_workgroup);
        let cost = Cost {
            flops: shape.flops() + u64::from(relu) * tensors[2].len() as u64,
            iterations: (self.iterations)(depth.into()),
            bytes: None,
        };
        recorder.dispatch(kernel, shape, tensors, workgroups, cost);
    }
}

const PRODUCT: &[Binding] = &[
    Binding::read("left"),
    Binding::read("right"),
    Binding::write("product"),
];
const PRODUCT_AND_BIAS: &[Binding] = &[PRODUCT[0], PRODUCT[1], PRODUCT[2], Binding::read("bias")];
const PRODUCT_AND_X: &[Binding] = &[PRODUCT[0], PRODUCT[1], PRODUCT[2], Binding::read("x")];

const TILED: Kernel<Shape> = Kernel {
    shader: "linear",
    source: include_str!("../../shaders/linear.wgsl"),
    entry: "forward",
    bindings: PRODUCT_AND_BIAS,
    fields: fields!(Shape: rows, inputs, outputs, relu),
    constants: &[],
    workgroup_size: [256, 1, 1],
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};
static TILES: Products = Products {
    iterations: |depth| depth.div_ceil(16) * (1 + 3 + 3 + 17) + 1,
    ..Products::of(TILED, [32, 32])
};

static DEEP: Products = Products {
    iterations: |depth| depth.div_ceil(128) * (1 + 3) + 1 + 17,
    ..Products::of(
        Kernel {
            shader: "linear_deep",
            source: include_str!("../../shaders/linear_deep.wgsl"),
            ..TILED
        },
        [8, 8],
    )
};

static MEDIUM: Products = Products {
    iterations: |depth| depth / 16 + 1 + depth % 16 + 1,
    ..Products::of(
        Kernel {
            shader: "linear_medium",
            source: concat!(
                include_str!("../../shaders/linear_blocks.wgsl"),
                include_str!("../../shaders/linear_medium.wgsl")
            ),
            workgroup_size: [128, 1, 1],
            ..TILED
        },
        [128, 64],
    )
};

static LARGE: Products = Products {
    iterations: |depth| depth / 8 + 1 + depth % 8 + 1,
    ..Products::of(
        Kernel {
            shader: "linear_large",
            source: concat!(
                include_str!("../../shaders/linear_blocks.wgsl"),
                include_str!("../../shaders/linear_large.wgsl")
            ),
            ..TILED
        },
        [128, 128],
    )
};

const IN_REGISTERS: Kernel<Shape> = Kernel {
    shader: "linear_registers",
    source: include_str!("../../shaders/linear_registers.wgsl"),
    workgroup_size: [8, 1, 1],
    ..TILED
};
static REGISTERS: Products = Products {
    backward_bias: &WHOLE,
    blocks_per_workgroup: 8,
    ..Products::of(IN_REGISTERS, [20, 17])
};

const OF_BYTES: Kernel<Shape> = Kernel {
    shader: "linear_bytes",
    source: include_str!("../../shaders/linear_bytes.wgsl"),
    bindings: &[
        Binding::read("x").of_u32(),
        Binding::read("w"),
        Binding::write("y"),
        Binding::read("bias"),
    ],
    ..IN_REGISTERS
};
static BYTES: Products = Products {
    backward_input: None,
    backward_weight: Kernel {
        entry: "backward_weight",
        bindings: &[
            Binding::read("x").of_u32(),
            Binding::read("dy"),
            Binding::write("dw"),
        ],
        ..OF_BYTES
    },
    backward_bias: &WHOLE,
    blocks_per_workgroup: 8,
    ..Products::of(OF_BYTES, [28, 13])
};

const BIAS: &[Binding] = &[Binding::read("dy"), Binding::write("db")];
static SPLIT: Sums = Sums {
    kernel: &Kernel {
        entry: "backward_bias",
        bindings: BIAS,
        ..TILED
    },
    columns: 16,
    rows_at_a_time: 64,
    parts: 16,
};
static WHOLE: Sums = Sums {
    kernel: &Kernel {
        entry: "backward_bias",
        bindings: BIAS,
        ..IN_REGISTERS
    },
    columns: 8,
    rows_at_a_time: 1,
    parts: 1,
};

pub(super) fn contracts() -> Vec<Contract> {
    let kernels = [&TILES, &DEEP, &MEDIUM, &LARGE, &REGISTERS, &BYTES]
        .into_iter()
        .flat_map(|products| {
            let others = [&products.forward, &products.backward_weight];
            others
                .into_iter()
                .chain(products.backward_input.iter().flatten())
        });
    let kernels = kernels.chain([SPLIT.kernel, WHOLE.kernel]);
    kernels.map(Kernel::contract).collect()
}
