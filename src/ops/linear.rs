use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::{Backward, Layer, ParameterSpec, to_u32};
use crate::fields;
use crate::gpu::{AdapterKind, Gpu};
use crate::init::Init;
use crate::kernel::{Binding, Block, Contract, Element, Kernel};
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
}

impl Layer for Linear {
    fn name(&self) -> String {
        format!("Linear({})", self.outputs)
    }

    fn outputs(&self, _inputs: usize) -> usize {
        self.outputs
    }

    fn parameters(&self, inputs: usize) -> Vec<ParameterSpec> {
        let weight = ParameterSpec {
            name: "weight",
            shape: [inputs, self.outputs],
            init: self.weight,
        };
        let bias = ParameterSpec {
            name: "bias",
            shape: [1, self.outputs],
            init: Init::Zeros,
        };
        vec![weight, bias]
    }

    fn takes_bytes(&self, gpu: &Gpu) -> bool {
        Variant::choose(gpu, Element::U32) == Some(Variant::Bytes)
    }

    fn forward(&self, recorder: &mut Recorder<'_>, x: &Tensor, parameters: &[Tensor], y: &Tensor) {
        chosen(recorder, x).forward(recorder, x, parameters, y);
    }

    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) {
        chosen(recorder, pass.x).backward(recorder, pass);
    }

    fn reference(&self) -> reference::Twin {
        reference::Twin::of(reference::Linear)
    }
}

/// The trainer asks [`Layer::takes_bytes`] before it gives bytes.
fn chosen(recorder: &Recorder<'_>, x: &Tensor) -> Variant {
    let variant = Variant::choose(recorder.gpu(), x.element());
    assert!(variant.is_some(), "linear: {} are bytes", x.label());
    variant.unwrap_or(Variant::Tiles)
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Shape {
    rows: u32,
    inputs: u32,
    outputs: u32,
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
        }
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
    /// `shaders/linear_registers.wgsl`: 20×17 sums in the registers of each invocation.
    Registers,
    /// `shaders/linear_bytes.wgsl`: 28×13 sums over packed bytes, for the first layer.
    Bytes,
}

/// An algorithm as data: its kernels, and the block of outputs that one workgroup or invocation
/// makes.
struct Products {
    forward: &'static Kernel<Shape>,
    /// The first layer of a network has no use for it.
    backward_input: Option<&'static Kernel<Shape>>,
    backward_weight: &'static Kernel<Shape>,
    block: [usize; 2],
    blocks_per_workgroup: u64,
}

impl Variant {
    /// Those that take an `x` of floats.
    pub const OF_FLOATS: [Self; 2] = [Self::Tiles, Self::Registers];

    /// | adapter | `x` | variant | because |
    /// |---|---|---|---|
    /// | hardware | floats | `Tiles` | workgroup memory is fast, and many workgroups run at once |
    /// | hardware | bytes | none | not built |
    /// | software | floats | `Registers` | a load costs as much as dozens of multiplications |
    /// | software | bytes | `Bytes` | one load brings four values of `x` |
    #[must_use]
    pub fn choose(gpu: &Gpu, x: Element) -> Option<Self> {
        match (gpu.kind(), x) {
            (AdapterKind::Hardware, Element::F32) => Some(Self::Tiles),
            (AdapterKind::Hardware, Element::U32) => None,
            (AdapterKind::Software, Element::F32) => Some(Self::Registers),
            (AdapterKind::Software, Element::U32) => Some(Self::Bytes),
        }
    }

    fn products(self) -> &'static Products {
        match self {
            Self::Tiles => &TILES,
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
        let [w, b] = [&parameters[0], &parameters[1]];
        let shape = Shape::new(x, w, y);
        assert_eq!(b.shape(), [1, y.columns()], "linear: {}", b.label());
        let products = self.products();
        let tensors = [x, w, y, b];
        products.record(
            recorder,
            products.forward,
            shape,
            &tensors,
            y.shape(),
            shape.inputs,
        );
    }

    /// Records `dw = xᵀ·dy`, `db = Σ_rows dy`, and `dx = dy·wᵀ` where it is wanted.
    ///
    /// # Panics
    /// When the shapes do not fit together: a bug in the caller.
    pub fn backward(self, recorder: &mut Recorder<'_>, pass: Backward<'_>) {
        let Backward {
            x,
            dy,
            parameters,
            gradients,
            dx,
            ..
        } = pass;
        let [w, dw, db] = [&parameters[0], &gradients[0], &gradients[1]];
        let shape = Shape::new(x, w, dy);
        assert_eq!(dw.shape(), w.shape(), "linear: {}", dw.label());
        assert_eq!(db.shape(), [1, dy.columns()], "linear: {}", db.label());
        let products = self.products();
        let tensors = [x, dy, dw];
        let kernel = products.backward_weight;
        products.record(recorder, kernel, shape, &tensors, dw.shape(), shape.rows);
        recorder.dispatch_each(
            &BACKWARD_BIAS,
            shape,
            &[dy, db],
            dy.columns(),
            Cost {
                flops: u64::from(shape.rows) * u64::from(shape.outputs),
                iterations: u64::from(shape.rows),
                bytes: None,
            },
        );
        if let Some(dx) = dx {
            assert_eq!(dx.shape(), x.shape(), "linear: {}", dx.label());
            assert!(
                products.backward_input.is_some(),
                "linear: gradient by bytes"
            );
            let tensors = [dy, w, dx];
            let kernel = products.backward_input.unwrap_or(products.forward);
            products.record(recorder, kernel, shape, &tensors, dx.shape(), shape.outputs);
        }
    }
}

impl Products {
    fn record(
        &self,
        recorder: &mut Recorder<'_>,
        kernel: &'static Kernel<Shape>,
        shape: Shape,
        tensors: &[&Tensor],
        output: [usize; 2],
        depth: u32,
    ) {
        let blocks = output[0].div_ceil(self.block[0]) * output[1].div_ceil(self.block[1]);
        let workgroups = (blocks as u64).div_ceil(self.blocks_per_workgroup);
        let cost = Cost {
            flops: shape.flops(),
            iterations: u64::from(depth),
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

const TILED: Kernel<Shape> = Kernel {
    shader: "linear",
    source: include_str!("../../shaders/linear.wgsl"),
    entry: "forward",
    bindings: PRODUCT_AND_BIAS,
    fields: fields!(Shape: rows, inputs, outputs),
    workgroup_size: [256, 1, 1],
    block: Block::Uniform,
    uniform: PhantomData,
};
static TILES: Products = Products {
    forward: &TILED,
    backward_input: Some(&Kernel {
        entry: "backward_input",
        bindings: PRODUCT,
        ..TILED
    }),
    backward_weight: &Kernel {
        entry: "backward_weight",
        bindings: PRODUCT,
        ..TILED
    },
    block: [32, 32],
    blocks_per_workgroup: 1,
};

const IN_REGISTERS: Kernel<Shape> = Kernel {
    shader: "linear_registers",
    source: include_str!("../../shaders/linear_registers.wgsl"),
    workgroup_size: [8, 1, 1],
    ..TILED
};
static REGISTERS: Products = Products {
    forward: &IN_REGISTERS,
    backward_input: Some(&Kernel {
        entry: "backward_input",
        bindings: PRODUCT,
        ..IN_REGISTERS
    }),
    backward_weight: &Kernel {
        entry: "backward_weight",
        bindings: PRODUCT,
        ..IN_REGISTERS
    },
    block: [20, 17],
    blocks_per_workgroup: 8,
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
    forward: &OF_BYTES,
    backward_input: None,
    backward_weight: &Kernel {
        entry: "backward_weight",
        bindings: &[
            Binding::read("x").of_u32(),
            Binding::read("dy"),
            Binding::write("dw"),
        ],
        ..OF_BYTES
    },
    block: [28, 13],
    blocks_per_workgroup: 8,
};

static BACKWARD_BIAS: Kernel<Shape> = Kernel {
    entry: "backward_bias",
    bindings: &[Binding::read("dy"), Binding::write("db")],
    workgroup_size: [64, 1, 1],
    ..TILED
};

pub(super) fn contracts() -> Vec<Contract> {
    let kernels = [&TILES, &REGISTERS, &BYTES]
        .into_iter()
        .flat_map(|products| {
            [
                Some(products.forward),
                products.backward_input,
                Some(products.backward_weight),
            ]
        });
    let kernels = kernels.flatten().chain([&BACKWARD_BIAS]);
    kernels.map(Kernel::contract).collect()
}
