//! The kernels of a convolution's three products: the output, and the gradients with respect to the input and the
//! weights.

use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::{Conv2d, sum};
use crate::error::Error;
use crate::fields;
use crate::kernel::{Binding, Block, Contract, Kernel, Trust};
use crate::ops::to_u32;
use crate::ops::window::image;
use crate::plan::{Cost, Recorder};
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Shape {
    pub(super) rows: u32,
    pub(super) channels: u32,
    pub(super) height: u32,
    pub(super) width: u32,
    pub(super) outputs: u32,
    pub(super) out_height: u32,
    pub(super) out_width: u32,
    pub(super) kernel_height: u32,
    pub(super) kernel_width: u32,
    stride_height: u32,
    stride_width: u32,
    padding_height: u32,
    padding_width: u32,
    dilation_height: u32,
    dilation_width: u32,
    /// 1 if the forward pass also applies the `Relu` after the layer, otherwise 0.
    pub(super) relu: u32,
    /// 1 if the layer has a bias, otherwise 0.
    pub(super) bias: u32,
    /// Number of parts into which each sum of the gradients with respect to the weights and the bias is split.
    pub(super) parts: u32,
    /// Number of kernel positions that one part sums. Positions are counted over all images of the minibatch.
    pub(super) share: u32,
    /// First position within each part that this dispatch sums.
    begin: u32,
    /// One past the last position within each part that this dispatch sums.
    end: u32,
    /// Number of the dispatch's first workgroup.
    first: u32,
}

impl Shape {
    /// Returns the sizes of a layer for a minibatch of `rows` images with the shape `input`.
    pub(super) fn new(
        layer: &Conv2d,
        input: &crate::shape::Shape,
        rows: usize,
    ) -> Result<Self, Error> {
        let window = layer.window();
        let [channels, height, width] = image(input)?.map(to_u32);
        let [out_height, out_width] = window.output(input)?.map(to_u32);
        Ok(Self {
            rows: to_u32(rows),
            channels,
            height,
            width,
            outputs: to_u32(layer.outputs()),
            out_height,
            out_width,
            kernel_height: to_u32(window.kernel.height),
            kernel_width: to_u32(window.kernel.width),
            stride_height: to_u32(window.stride.height),
            stride_width: to_u32(window.stride.width),
            padding_height: to_u32(window.padding.height),
            padding_width: to_u32(window.padding.width),
            dilation_height: to_u32(window.dilation.height),
            dilation_width: to_u32(window.dilation.width),
            relu: 0,
            bias: layer.has_bias().into(),
            ..Self::zeroed()
        })
    }

    /// Returns the number of values in one input image: pixels of all channels.
    pub(super) fn input(self) -> usize {
        [self.channels, self.height, self.width]
            .map(|extent| extent as usize)
            .iter()
            .product()
    }

    /// Returns the number of elements in one row of the output.
    pub(super) fn output(self) -> usize {
        self.outputs as usize * self.places()
    }

    /// Returns the number of positions of the kernel on one image.
    fn places(self) -> usize {
        self.out_height as usize * self.out_width as usize
    }

    /// Returns the number of weights per output.
    pub(super) fn weights(self) -> usize {
        [self.channels, self.kernel_height, self.kernel_width]
            .map(|extent| extent as usize)
            .iter()
            .product()
    }

    /// Returns the number of gradient elements per output: one per weight and, if the layer has biases, one for the
    /// bias.
    pub(super) fn sums(self) -> usize {
        self.weights() + self.bias as usize
    }
}

/// An algorithm for a convolution: its kernels, and the sizes of the blocks that they compute.
pub(super) struct Products {
    pub(super) forward: Kernel<Shape>,
    /// `None` if the algorithm is only for a network's first layer.
    pub(super) backward_input: Option<Kernel<Shape>>,
    backward_weight: Kernel<Shape>,
    /// Positions and channels of the product per workgroup of `forward` and `backward_input`.
    block: [usize; 2],
    /// Weights and outputs per block of `backward_weight`.
    weight_block: [usize; 2],
    weight_blocks_per_workgroup: u64,
    /// Maximum number of parts into which the sums of `backward_weight` are split.
    parts: usize,
    /// Returns [`Cost::iterations`] of a sum over a kernel's height, its width and this many channels.
    iterations: fn([u64; 3]) -> u64,
    /// Returns [`Cost::iterations`] of a sum over this many positions.
    weight_iterations: fn(u64) -> u64,
}

/// Maximum number of elements in all parts of a gradient together, unless a single part has more. These are 2 MiB, or
/// 256 tiles of 64×32: about two tiles for each multiprocessor of a large GPU.
const PARTS_ELEMENTS: usize = 1 << 19;
/// Minimum number of positions per part. With fewer, the split saves less time than the addition of the part takes.
const LEAST_SHARE: usize = 32;
/// Maximum number of positions of a part per dispatch. It keeps the loops short enough for a software driver.
const SHARE_OF_DISPATCH: u32 = 1 << 14;

impl Products {
    /// Records a product whose sums run over the kernel and `depth` channels. The third tensor receives the product:
    /// images with `columns` channels.
    pub(super) fn record(
        &self,
        recorder: &mut Recorder<'_>,
        kernel: &Kernel<Shape>,
        shape: Shape,
        tensors: &[&Tensor],
        [columns, depth]: [u32; 2],
    ) {
        let made = tensors[2].len();
        let positions = made / columns as usize;
        let blocks = positions.div_ceil(self.block[0]) as u64;
        let workgroups = blocks * (columns as usize).div_ceil(self.block[1]) as u64;
        let sums = [shape.kernel_height, shape.kernel_width, depth].map(u64::from);
        let flops_of_sum = 2 * sums.iter().product::<u64>() + u64::from(shape.relu);
        let cost = Cost {
            flops: made as u64 * flops_of_sum,
            iterations: (self.iterations)(sums),
            bytes: None,
        };
        let part = |first| Shape { first, ..shape };
        recorder.dispatch_in_parts(kernel, part, tensors, workgroups, cost);
    }

    /// Returns the sizes, with the weight gradient's sums split into parts. The split depends only on the layer and the
    /// number of rows.
    pub(super) fn in_parts(&self, shape: Shape) -> Shape {
        let elements = shape.outputs as usize * shape.sums();
        let places = shape.rows as usize * shape.places();
        let parts = (PARTS_ELEMENTS / elements).min(places.div_ceil(LEAST_SHARE));
        let parts = parts.clamp(1, self.parts);
        Shape {
            parts: to_u32(parts),
            share: to_u32(places.div_ceil(parts)),
            ..shape
        }
    }

    /// Records the parts of the gradients with respect to the weights and the bias, from `x` and `dy`. Each part is
    /// written to a row of the third tensor.
    pub(super) fn record_parts(
        &self,
        recorder: &mut Recorder<'_>,
        shape: Shape,
        tensors: &[&Tensor; 3],
    ) {
        let sums = shape.outputs as usize * shape.sums();
        let blocks = shape.sums().div_ceil(self.weight_block[0])
            * (shape.outputs as usize).div_ceil(self.weight_block[1])
            * shape.parts as usize;
        let workgroups = (blocks as u64).div_ceil(self.weight_blocks_per_workgroup);
        let mut begin = 0;
        while begin < shape.share {
            let end = shape.share.min(begin.saturating_add(SHARE_OF_DISPATCH));
            let places = u64::from(end - begin);
            let cost = Cost {
                flops: 2 * sums as u64 * u64::from(shape.parts) * places,
                iterations: (self.weight_iterations)(places),
                bytes: None,
            };
            let part = |first| Shape {
                begin,
                end,
                first,
                ..shape
            };
            let kernel = &self.backward_weight;
            recorder.dispatch_in_parts(kernel, part, tensors, workgroups, cost);
            begin = end;
        }
    }
}

/// Returns the shape of the tensor of all parts: (parts, sums).
pub(super) fn parts_shape(shape: Shape) -> [usize; 2] {
    [shape.parts as usize, shape.outputs as usize * shape.sums()]
}

const PRODUCT: &[Binding] = &[
    Binding::read("left"),
    Binding::read("right"),
    Binding::write("product"),
];
const PRODUCT_AND_BIAS: &[Binding] = &[PRODUCT[0], PRODUCT[1], PRODUCT[2], Binding::read("bias")];
const OF_BYTES: &[Binding] = &[PRODUCT[0].of_u32(), PRODUCT[1], PRODUCT[2]];
const OF_BYTES_AND_BIAS: &[Binding] = &[OF_BYTES[0], OF_BYTES[1], OF_BYTES[2], PRODUCT_AND_BIAS[3]];

const IN_TILES: Kernel<Shape> = Kernel {
    shader: "conv2d_tiles",
    source: concat!(
        include_str!("../../../shaders/rectified.wgsl"),
        include_str!("../../../shaders/conv2d_shape.wgsl"),
        include_str!("../../../shaders/conv2d_view.wgsl"),
        include_str!("../../../shaders/conv2d_tile.wgsl"),
        include_str!("../../../shaders/conv2d_tiles.wgsl"),
    ),
    entry: "forward",
    bindings: PRODUCT_AND_BIAS,
    fields: fields!(
        Shape: rows,
        channels,
        height,
        width,
        outputs,
        out_height,
        out_width,
        kernel_height,
        kernel_width,
        stride_height,
        stride_width,
        padding_height,
        padding_width,
        dilation_height,
        dilation_width,
        relu,
        bias,
        parts,
        share,
        begin,
        end,
        first
    ),
    constants: &[],
    workgroup_size: [128, 1, 1],
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};
pub(super) static TILES: Products = Products {
    forward: IN_TILES,
    backward_input: Some(Kernel {
        entry: "backward_input",
        bindings: PRODUCT,
        ..IN_TILES
    }),
    backward_weight: Kernel {
        shader: "conv2d_tiles_weight",
        source: concat!(
            include_str!("../../../shaders/conv2d_shape.wgsl"),
            include_str!("../../../shaders/conv2d_position.wgsl"),
            include_str!("../../../shaders/conv2d_tile.wgsl"),
            include_str!("../../../shaders/conv2d_tiles_weight.wgsl"),
        ),
        entry: "backward_weight",
        bindings: PRODUCT,
        ..IN_TILES
    },
    block: [64, 32],
    weight_block: [64, 32],
    weight_blocks_per_workgroup: 1,
    parts: 512,
    iterations: |[height, width, depth]| (height * width * depth).div_ceil(16) + 1,
    weight_iterations: |places| places.div_ceil(16) + 1,
};

const IN_REGISTERS: Kernel<Shape> = Kernel {
    shader: "conv2d_registers",
    source: concat!(
        include_str!("../../../shaders/rectified.wgsl"),
        include_str!("../../../shaders/conv2d_shape.wgsl"),
        include_str!("../../../shaders/conv2d_view.wgsl"),
        include_str!("../../../shaders/conv2d_position.wgsl"),
        include_str!("../../../shaders/conv2d_block.wgsl"),
        include_str!("../../../shaders/conv2d_block_weight.wgsl"),
        include_str!("../../../shaders/conv2d_registers.wgsl"),
    ),
    workgroup_size: [8, 1, 1],
    ..IN_TILES
};
pub(super) static REGISTERS: Products = Products {
    forward: IN_REGISTERS,
    backward_input: Some(Kernel {
        entry: "backward_input",
        bindings: PRODUCT,
        ..IN_REGISTERS
    }),
    backward_weight: Kernel {
        entry: "backward_weight",
        bindings: PRODUCT,
        ..IN_REGISTERS
    },
    block: [8 * 16, 16],
    weight_block: [13, 16],
    weight_blocks_per_workgroup: 8,
    parts: 32,
    iterations: |[height, width, depth]| height * (width * (depth + 2) + 2) + 1,
    weight_iterations: |places| places + 1,
};

const BYTES_IN_REGISTERS: Kernel<Shape> = Kernel {
    shader: "conv2d_bytes",
    source: concat!(
        include_str!("../../../shaders/rectified.wgsl"),
        include_str!("../../../shaders/conv2d_shape.wgsl"),
        include_str!("../../../shaders/conv2d_view.wgsl"),
        include_str!("../../../shaders/conv2d_position.wgsl"),
        include_str!("../../../shaders/conv2d_block.wgsl"),
        include_str!("../../../shaders/conv2d_block_weight.wgsl"),
        include_str!("../../../shaders/byte.wgsl"),
        include_str!("../../../shaders/conv2d_bytes.wgsl"),
    ),
    bindings: OF_BYTES_AND_BIAS,
    ..IN_REGISTERS
};
pub(super) static BYTES: Products = Products {
    forward: BYTES_IN_REGISTERS,
    backward_input: None,
    backward_weight: Kernel {
        entry: "backward_weight",
        bindings: OF_BYTES,
        ..BYTES_IN_REGISTERS
    },
    ..REGISTERS
};

const IN_VECTORS: Kernel<Shape> = Kernel {
    shader: "conv2d_vectors",
    source: concat!(
        include_str!("../../../shaders/rectified.wgsl"),
        include_str!("../../../shaders/conv2d_shape.wgsl"),
        include_str!("../../../shaders/conv2d_view.wgsl"),
        include_str!("../../../shaders/conv2d_position.wgsl"),
        include_str!("../../../shaders/software_vectors.wgsl"),
        include_str!("../../../shaders/conv2d_vectors_block.wgsl"),
        include_str!("../../../shaders/conv2d_vectors_weight.wgsl"),
        include_str!("../../../shaders/conv2d_vectors.wgsl"),
    ),
    ..IN_REGISTERS
};
pub(super) static VECTORS: Products = Products {
    forward: IN_VECTORS,
    backward_input: Some(Kernel {
        entry: "backward_input",
        bindings: PRODUCT,
        ..IN_VECTORS
    }),
    backward_weight: Kernel {
        entry: "backward_weight",
        bindings: PRODUCT,
        ..IN_VECTORS
    },
    block: [8 * 8, 8],
    weight_block: [8, 8],
    iterations: |[height, width, depth]| height * width * depth + 1,
    ..REGISTERS
};

pub(in crate::ops) fn contracts() -> Vec<Contract> {
    let products = [&TILES, &REGISTERS, &VECTORS, &BYTES].into_iter();
    let kernels = products.flat_map(|products| {
        let others = [&products.forward, &products.backward_weight];
        others.into_iter().chain(&products.backward_input)
    });
    let kernels = kernels.map(Kernel::contract);
    kernels.chain(sum::contracts()).collect()
}
