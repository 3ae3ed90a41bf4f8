//! The kernels of a linear layer's three products: the output, and the gradients with respect to the input and the
//! weights.

use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use crate::fields;
use crate::kernel::{Binding, Block, Contract, Element, Kernel, Trust};
use crate::ops::{Backward, to_u32};
use crate::plan::{Cost, Recorder};
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Shape {
    pub(super) rows: u32,
    pub(super) inputs: u32,
    pub(super) outputs: u32,
    /// 1 if the forward pass also applies the `Relu` after the layer, otherwise 0.
    pub(super) relu: u32,
    /// Index of this dispatch's first workgroup. It is above 0 if another dispatch runs the workgroups with lower
    /// indices.
    pub(super) first: u32,
}

impl Shape {
    /// Returns the sizes of a layer with the input `x`, the weights `w` and the output `y`. Checks that `x` and `y` fit
    /// `w`.
    pub(super) fn new(x: &Tensor, w: &Tensor, y: &Tensor) -> Self {
        let [inputs, outputs] = w.dims();
        let columns = match x.element() {
            Element::F32 => inputs,
            Element::U32 => inputs.div_ceil(4),
        };
        assert_eq!(x.columns(), columns, "linear: columns of {}", x.label());
        assert_eq!(y.dims(), [x.rows(), outputs], "linear: {}", y.label());
        Self {
            rows: to_u32(x.rows()),
            inputs: to_u32(inputs),
            outputs: to_u32(outputs),
            relu: 0,
            first: 0,
        }
    }

    pub(super) fn of(pass: &Backward<'_>) -> Self {
        Self::new(pass.x, &pass.parameters[0], pass.dy)
    }

    /// Returns the multiplications and additions of one product. All three products have the same number.
    fn flops(self) -> u64 {
        2 * u64::from(self.rows) * u64::from(self.inputs) * u64::from(self.outputs)
    }
}

/// An algorithm: its kernels, and its block sizes. A block is the part of a product that one workgroup or invocation
/// computes.
pub(super) struct Products {
    pub(super) forward: Kernel<Shape>,
    /// Two kernels: without and with the derivative of a `Relu` before the layer. `None` if the algorithm is only for a
    /// network's first layer.
    pub(super) backward_input: Option<[Kernel<Shape>; 2]>,
    pub(super) backward_weight: Kernel<Shape>,
    pub(super) backward_bias: BiasGradient,
    block: [usize; 2],
    /// `[inputs, outputs]` of a block of the gradient with respect to the weights.
    weight_block: [usize; 2],
    blocks_per_workgroup: u64,
    /// Returns [`Cost::iterations`] for sums of this number of terms, assuming that no loop is unrolled.
    iterations: fn(u64) -> u64,
}

/// How the gradient with respect to the bias is computed.
pub(super) enum BiasGradient {
    /// In the same dispatch as the gradient with respect to the weights, by additional workgroups of 16 columns each.
    WithWeights(Kernel<Shape>),
    /// In a dispatch of its own: [`BIAS_ALONE`].
    Alone,
}

impl Products {
    /// Creates an algorithm from one shader that has an entry point for each product; `forward` is the kernel of the
    /// output. A workgroup computes one block, and the only loop is over the terms of a sum.
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
            backward_bias: BiasGradient::WithWeights(Kernel {
                entry: "backward_weight_and_bias",
                bindings: PRODUCT_AND_DB,
                ..forward
            }),
            forward,
            block,
            weight_block: block,
            blocks_per_workgroup: 1,
            iterations: |depth| depth,
        }
    }

    /// Records one product. The third tensor receives it. If `relu` is set, the cost includes one more operation per
    /// element of the product.
    pub(super) fn record(
        &self,
        recorder: &mut Recorder<'_>,
        kernel: &'static Kernel<Shape>,
        shape: Shape,
        tensors: &[&Tensor],
        depth: u32,
        relu: bool,
    ) {
        let workgroups = self.workgroups(tensors[2], self.block);
        self.record_workgroups(recorder, kernel, shape, tensors, (depth, workgroups), relu);
    }

    /// Records only the gradient with respect to the weights, from `x` and `dy`.
    pub(super) fn record_weight(
        &'static self,
        recorder: &mut Recorder<'_>,
        shape: Shape,
        tensors: &[&Tensor; 3],
    ) {
        let sums = (shape.rows, self.workgroups(tensors[2], self.weight_block));
        let kernel = &self.backward_weight;
        self.record_workgroups(recorder, kernel, shape, tensors, sums, false);
    }

    fn record_workgroups(
        &self,
        recorder: &mut Recorder<'_>,
        kernel: &'static Kernel<Shape>,
        shape: Shape,
        tensors: &[&Tensor],
        (depth, workgroups): (u32, u64),
        relu: bool,
    ) {
        let cost = Cost {
            flops: shape.flops() + u64::from(relu) * tensors[2].len() as u64,
            iterations: (self.iterations)(depth.into()),
            bytes: None,
        };
        let part = |first| Shape { first, ..shape };
        recorder.dispatch_in_parts(kernel, part, tensors, workgroups, cost);
    }

    fn workgroups(&self, product: &Tensor, block: [usize; 2]) -> u64 {
        let [rows, columns] = product.dims();
        let blocks = rows.div_ceil(block[0]) * columns.div_ceil(block[1]);
        (blocks as u64).div_ceil(self.blocks_per_workgroup)
    }

    /// Records the gradients with respect to the weights and the bias, from `x` and `dy`.
    pub(super) fn record_gradients(
        &'static self,
        recorder: &mut Recorder<'_>,
        shape: Shape,
        [x, dy, dw, db]: [&Tensor; 4],
    ) {
        let by_weight = |recorder: &mut Recorder<'_>| {
            self.record_weight(recorder, shape, &[x, dy, dw]);
        };
        let kernel = match &self.backward_bias {
            BiasGradient::Alone => {
                by_weight(recorder);
                return record_bias(recorder, shape, [dy, db]);
            }
            BiasGradient::WithWeights(kernel) => kernel,
        };
        let rows = u64::from(shape.rows);
        let tiles = self.workgroups(dw, self.weight_block);
        let of_bias = Cost {
            flops: rows * u64::from(shape.outputs),
            // At least eight invocations share the rows of a column, and each adds four rows per iteration.
            iterations: rows.div_ceil(32) + 18,
            bytes: None,
        };
        let of_all = Cost {
            flops: shape.flops() + of_bias.flops,
            iterations: (self.iterations)(rows).max(of_bias.iterations),
            bytes: None,
        };
        let tensors = &[x, dy, dw, db];
        let workgroups = u64::from(shape.outputs.div_ceil(BIAS_COLUMNS));
        if of_all.flops <= recorder.gpu().flops_per_dispatch() {
            return recorder.dispatch(kernel, shape, tensors, tiles + workgroups, of_all);
        }
        // The tiles of the weights' gradient are nearly all of the work. Without the bias, their dispatch can be split.
        by_weight(recorder);
        let part = |first| Shape {
            first: first + to_u32(usize::try_from(tiles).unwrap_or(usize::MAX)),
            ..shape
        };
        recorder.dispatch_in_parts(kernel, part, tensors, workgroups, of_bias);
    }
}

/// Records only the gradient with respect to the bias, from `dy`.
fn record_bias(recorder: &mut Recorder<'_>, shape: Shape, tensors: [&Tensor; 2]) {
    let cost = Cost {
        flops: u64::from(shape.rows) * u64::from(shape.outputs),
        iterations: u64::from(shape.rows) + 1,
        bytes: None,
    };
    let columns = u64::from(BIAS_ALONE.invocations());
    let workgroups = u64::from(shape.outputs).div_ceil(columns);
    recorder.dispatch(&BIAS_ALONE, shape, &tensors, workgroups, cost);
}

/// Columns of the gradient with respect to the bias per workgroup.
const BIAS_COLUMNS: u32 = 16;

const PRODUCT: &[Binding] = &[
    Binding::read("left"),
    Binding::read("right"),
    Binding::write("product"),
];
const PRODUCT_AND_BIAS: &[Binding] = &[PRODUCT[0], PRODUCT[1], PRODUCT[2], Binding::read("bias")];
const PRODUCT_AND_DB: &[Binding] = &[PRODUCT[0], PRODUCT[1], PRODUCT[2], Binding::write("db")];
const PRODUCT_AND_X: &[Binding] = &[PRODUCT[0], PRODUCT[1], PRODUCT[2], Binding::read("x")];

const TILED: Kernel<Shape> = Kernel {
    shader: "linear",
    source: concat!(
        include_str!("../../../shaders/rectified.wgsl"),
        include_str!("../../../shaders/linear_shape.wgsl"),
        include_str!("../../../shaders/linear_product.wgsl"),
        include_str!("../../../shaders/linear_bias.wgsl"),
        include_str!("../../../shaders/linear_view.wgsl"),
        include_str!("../../../shaders/linear.wgsl"),
    ),
    entry: "forward",
    bindings: PRODUCT_AND_BIAS,
    fields: fields!(Shape: rows, inputs, outputs, relu, first),
    constants: &[],
    workgroup_size: [256, 1, 1],
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};
pub(super) static TILES: Products = Products {
    iterations: |depth| depth.div_ceil(16) * (1 + 3 + 3 + 17) + 1,
    ..Products::of(TILED, [32, 32])
};

pub(super) static DEEP: Products = Products {
    iterations: |depth| depth.div_ceil(128) * (1 + 3) + 1 + 17,
    ..Products::of(
        Kernel {
            shader: "linear_deep",
            source: concat!(
                include_str!("../../../shaders/rectified.wgsl"),
                include_str!("../../../shaders/linear_shape.wgsl"),
                include_str!("../../../shaders/linear_product.wgsl"),
                include_str!("../../../shaders/linear_bias.wgsl"),
                include_str!("../../../shaders/linear_factor.wgsl"),
                include_str!("../../../shaders/linear_deep.wgsl"),
            ),
            ..TILED
        },
        [8, 8],
    )
};

pub(super) static MEDIUM: Products = Products {
    iterations: |depth| depth / 16 * (1 + 3) + 1 + depth % 16 + 1,
    ..Products::of(
        Kernel {
            shader: "linear_medium",
            source: concat!(
                include_str!("../../../shaders/rectified.wgsl"),
                include_str!("../../../shaders/linear_shape.wgsl"),
                include_str!("../../../shaders/linear_product.wgsl"),
                include_str!("../../../shaders/linear_bias.wgsl"),
                include_str!("../../../shaders/linear_factor.wgsl"),
                include_str!("../../../shaders/linear_blocks.wgsl"),
                include_str!("../../../shaders/linear_8x4.wgsl"),
                include_str!("../../../shaders/linear_medium.wgsl")
            ),
            workgroup_size: [128, 1, 1],
            ..TILED
        },
        [64, 64],
    )
};

pub(super) static LARGE: Products = Products {
    iterations: |depth| depth / 8 + 1 + depth % 8 + 1,
    ..Products::of(
        Kernel {
            shader: "linear_large",
            source: concat!(
                include_str!("../../../shaders/rectified.wgsl"),
                include_str!("../../../shaders/linear_shape.wgsl"),
                include_str!("../../../shaders/linear_product.wgsl"),
                include_str!("../../../shaders/linear_bias.wgsl"),
                include_str!("../../../shaders/linear_factor.wgsl"),
                include_str!("../../../shaders/linear_blocks.wgsl"),
                include_str!("../../../shaders/linear_8x8.wgsl"),
                include_str!("../../../shaders/linear_large.wgsl")
            ),
            ..TILED
        },
        [128, 128],
    )
};

const IN_REGISTERS: Kernel<Shape> = Kernel {
    shader: "linear_registers",
    source: concat!(
        include_str!("../../../shaders/rectified.wgsl"),
        include_str!("../../../shaders/linear_shape.wgsl"),
        include_str!("../../../shaders/linear_product.wgsl"),
        include_str!("../../../shaders/linear_view.wgsl"),
        include_str!("../../../shaders/linear_registers.wgsl"),
    ),
    workgroup_size: [8, 1, 1],
    ..TILED
};
pub(super) static REGISTERS: Products = Products {
    backward_bias: BiasGradient::Alone,
    blocks_per_workgroup: 8,
    ..Products::of(IN_REGISTERS, [20, 17])
};

pub(super) static VECTORS: Products = Products {
    backward_bias: BiasGradient::Alone,
    blocks_per_workgroup: 8,
    ..Products::of(
        Kernel {
            shader: "linear_vectors",
            source: concat!(
                include_str!("../../../shaders/rectified.wgsl"),
                include_str!("../../../shaders/linear_shape.wgsl"),
                include_str!("../../../shaders/linear_product.wgsl"),
                include_str!("../../../shaders/linear_view.wgsl"),
                include_str!("../../../shaders/software_vectors.wgsl"),
                include_str!("../../../shaders/linear_vectors.wgsl"),
            ),
            ..IN_REGISTERS
        },
        [8, 8],
    )
};

const OF_BYTES: Kernel<Shape> = Kernel {
    shader: "linear_bytes",
    source: concat!(
        include_str!("../../../shaders/rectified.wgsl"),
        include_str!("../../../shaders/linear_shape.wgsl"),
        include_str!("../../../shaders/byte.wgsl"),
        include_str!("../../../shaders/linear_bytes.wgsl"),
    ),
    bindings: &[
        Binding::read("x").of_u32(),
        Binding::read("w"),
        Binding::write("y"),
        Binding::read("bias"),
    ],
    ..IN_REGISTERS
};
pub(super) static BYTES: Products = Products {
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
    backward_bias: BiasGradient::Alone,
    blocks_per_workgroup: 8,
    ..Products::of(OF_BYTES, [28, 13])
};

const VECTORS_OF_BYTES: Kernel<Shape> = Kernel {
    shader: "linear_vectors_bytes",
    source: concat!(
        include_str!("../../../shaders/rectified.wgsl"),
        include_str!("../../../shaders/linear_shape.wgsl"),
        include_str!("../../../shaders/software_vectors.wgsl"),
        include_str!("../../../shaders/linear_vectors_bytes.wgsl"),
    ),
    ..OF_BYTES
};
pub(super) static VECTOR_BYTES: Products = Products {
    backward_input: None,
    backward_weight: Kernel {
        entry: "backward_weight",
        bindings: BYTES.backward_weight.bindings,
        ..VECTORS_OF_BYTES
    },
    backward_bias: BiasGradient::Alone,
    weight_block: [28, 4],
    blocks_per_workgroup: 8,
    ..Products::of(VECTORS_OF_BYTES, [8, 4])
};

const BIAS: &[Binding] = &[Binding::read("dy"), Binding::write("db")];
/// Each invocation sums one column of `dy`.
static BIAS_ALONE: Kernel<Shape> = Kernel {
    entry: "backward_bias",
    bindings: BIAS,
    ..IN_REGISTERS
};

pub(in crate::ops) fn contracts() -> Vec<Contract> {
    let for_hardware = [&TILES, &DEEP, &MEDIUM, &LARGE].into_iter();
    let for_software = [&REGISTERS, &VECTORS, &BYTES, &VECTOR_BYTES];
    let kernels = for_hardware.chain(for_software).flat_map(|products| {
        let of_bias = match &products.backward_bias {
            BiasGradient::WithWeights(kernel) => Some(kernel),
            BiasGradient::Alone => None,
        };
        let others = [&products.forward, &products.backward_weight].into_iter();
        let of_input = products.backward_input.iter().flatten();
        others.chain(of_bias).chain(of_input)
    });
    let kernels = kernels.chain([&BIAS_ALONE]);
    kernels.map(Kernel::contract).collect()
}
