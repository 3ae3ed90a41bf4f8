//! The contracts of the fused kernels, and their tile sizes. There are three sets of these kernels, one for each
//! `Algorithm`; each set has its own tile sizes.

use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::MAX_LAYERS;
use crate::error::Unfused;
use crate::fields;
use crate::gpu::{Gpu, Shortage};
use crate::kernel::{Binding, Block, Constant, Contract, Kernel, Scalar, Trust};
use crate::ops::to_u32;

/// A set of shaders for the fused step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::steps) enum Algorithm {
    /// `shaders/fused_*.wgsl`: tiles in workgroup memory.
    Tiles,
    /// `shaders/fused_*_registers.wgsl`: blocks in registers, for lavapipe.
    Registers,
    /// `shaders/fused_*_vectors.wgsl`: smaller blocks, each vector in a variable of its own, for
    /// SwiftShader.
    Vectors,
}

/// The settings of one linear layer in the shaders' uniform block.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
pub(super) struct LayerBlock {
    pub(super) inputs: u32,
    pub(super) outputs: u32,
    pub(super) weight: u32,
    pub(super) bias: u32,
    pub(super) activation: u32,
    pub(super) column: u32,
    pub(super) tiles: u32,
    pub(super) start: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Mlp {
    pub(super) rows: u32,
    pub(super) words: u32,
    pub(super) layers: u32,
    pub(super) columns: u32,
    pub(super) group: u32,
    pub(super) list_mask: u32,
    pub(super) capacity: u32,
    pub(super) learning_rate: f32,
    pub(super) layer: [LayerBlock; MAX_LAYERS],
}

impl Mlp {
    /// Returns the values of the kernel's pipeline constants; an empty vector for a kernel without constants.
    pub(super) fn constants(&self, kernel: &Kernel<Self>) -> Vec<Constant> {
        let outputs = self.layer.iter().map(|layer| layer.outputs);
        let sizes = [self.rows, self.layers, self.group, self.layer[0].inputs];
        let all = sizes.into_iter().chain(outputs);
        let declared = kernel.constants.iter().zip(all);
        declared
            .map(|(constant, size)| Constant::u32(constant.name, size))
            .collect()
    }
}

/// The kernels of an algorithm, and its tile sizes.
pub(super) struct Kernels {
    pub(super) middle: &'static Kernel<Mlp>,
    pub(super) backward_forward: &'static Kernel<Mlp>,
    pub(super) forward: &'static Kernel<Mlp>,
    /// Number of inputs and outputs in a tile of the first layer's weight; `later` is the same for the weights of all
    /// later layers.
    pub(super) first: [usize; 2],
    pub(super) later: [usize; 2],
    pub(super) biases: usize,
    pub(super) blocks_per_workgroup: usize,
    /// Lower bound for the number of sums that an invocation of `middle` computes in one loop.
    pub(super) sums: usize,
}

/// The pipeline constants for the sizes of a network, by their names in `fused_network.wgsl`. [`Mlp::constants`]
/// returns their values.
const CONSTANTS: [Constant; 4 + MAX_LAYERS] = [
    size("batch"),
    size("layers"),
    size("group"),
    size("width_0"),
    size("width_1"),
    size("width_2"),
    size("width_3"),
    size("width_4"),
    size("width_5"),
    size("width_6"),
    size("width_7"),
    size("width_8"),
];

const fn size(name: &'static str) -> Constant {
    Constant::open(name, Scalar::U32)
}

const MIDDLE: Kernel<Mlp> = Kernel {
    shader: "fused_middle",
    source: concat!(
        include_str!("../../../shaders/fused_mlp.wgsl"),
        include_str!("../../../shaders/fused_network.wgsl"),
        include_str!("../../../shaders/rectified.wgsl"),
        include_str!("../../../shaders/fused_middle_shared.wgsl"),
        include_str!("../../../shaders/fused_middle.wgsl")
    ),
    entry: "middle",
    bindings: &[
        Binding::read("weights"),
        Binding::read("list").of_u32(),
        Binding::read("labels").of_u32(),
        Binding::read("step_now").of_u32(),
        Binding::read("bytes").of_u32(),
        Binding::write("scratch"),
        Binding::write("minibatch").of_u32(),
    ],
    fields: fields!(Mlp: rows, words, layers, columns, group, list_mask, capacity, learning_rate, layer),
    constants: &CONSTANTS,
    workgroup_size: [256, 1, 1],
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};
const BACKWARD_FORWARD: Kernel<Mlp> = Kernel {
    shader: "fused_slices",
    source: concat!(
        include_str!("../../../shaders/fused_mlp.wgsl"),
        include_str!("../../../shaders/fused_network.wgsl"),
        include_str!("../../../shaders/fused_slices_shared.wgsl"),
        include_str!("../../../shaders/fused_slices.wgsl")
    ),
    entry: "backward_forward",
    bindings: &[
        Binding::read("minibatch").of_u32(),
        Binding::write("scratch"),
        Binding::write("parameters"),
        Binding::write("history"),
        Binding::write("step_count").of_u32(),
    ],
    ..MIDDLE
};
const FORWARD: Kernel<Mlp> = Kernel {
    entry: "forward",
    bindings: &[
        Binding::read("minibatch").of_u32(),
        Binding::write("scratch"),
        Binding::read("weights"),
    ],
    ..BACKWARD_FORWARD
};
static TILES: Kernels = Kernels {
    middle: &MIDDLE,
    backward_forward: &BACKWARD_FORWARD,
    forward: &FORWARD,
    first: [16, 16],
    later: [16, 16],
    biases: 16,
    blocks_per_workgroup: 1,
    // Up to 16 invocations share the terms of a sum, but one of them also adds their partial sums.
    sums: 10,
};

/// Makes the contract of a software driver's shader from that of the GPU's shader. The settings are in a storage buffer
/// instead of a uniform block. If a loop ends at a value of a uniform block, lavapipe (Mesa 22.3) compiles the value
/// into the kernel, and recompiles the kernel whenever the pipeline changes.
const fn for_software(
    kernel: Kernel<Mlp>,
    shader: &'static str,
    source: &'static str,
) -> Kernel<Mlp> {
    Kernel {
        shader,
        source,
        constants: &[],
        workgroup_size: [8, 1, 1],
        block: Block::Storage,
        ..kernel
    }
}
const SLICES: &str = concat!(
    include_str!("../../../shaders/fused_mlp.wgsl"),
    include_str!("../../../shaders/fused_slices_shared.wgsl"),
    include_str!("../../../shaders/byte.wgsl"),
    include_str!("../../../shaders/fused_slices_software.wgsl"),
    include_str!("../../../shaders/fused_slices_registers.wgsl"),
);
static REGISTERS: Kernels = Kernels {
    middle: &const {
        let source = concat!(
            include_str!("../../../shaders/fused_mlp.wgsl"),
            include_str!("../../../shaders/rectified.wgsl"),
            include_str!("../../../shaders/fused_middle_shared.wgsl"),
            include_str!("../../../shaders/is_finite.wgsl"),
            include_str!("../../../shaders/fused_middle_software.wgsl"),
            include_str!("../../../shaders/fused_middle_registers.wgsl"),
        );
        for_software(MIDDLE, "fused_middle_registers", source)
    },
    backward_forward: &const { for_software(BACKWARD_FORWARD, "fused_slices_registers", SLICES) },
    forward: &const { for_software(FORWARD, "fused_slices_registers", SLICES) },
    first: [20, 10],
    later: [8, 2],
    biases: 8,
    blocks_per_workgroup: 8,
    sums: 10,
};

const VECTOR_SLICES: &str = concat!(
    include_str!("../../../shaders/fused_mlp.wgsl"),
    include_str!("../../../shaders/fused_slices_shared.wgsl"),
    include_str!("../../../shaders/software_vectors.wgsl"),
    include_str!("../../../shaders/fused_slices_software.wgsl"),
    include_str!("../../../shaders/fused_slices_vectors.wgsl"),
);
static VECTORS: Kernels = Kernels {
    middle: &const {
        let source = concat!(
            include_str!("../../../shaders/fused_mlp.wgsl"),
            include_str!("../../../shaders/rectified.wgsl"),
            include_str!("../../../shaders/fused_middle_shared.wgsl"),
            include_str!("../../../shaders/is_finite.wgsl"),
            include_str!("../../../shaders/software_vectors.wgsl"),
            include_str!("../../../shaders/fused_middle_software.wgsl"),
            include_str!("../../../shaders/fused_middle_vectors.wgsl"),
        );
        for_software(MIDDLE, "fused_middle_vectors", source)
    },
    backward_forward: &const { for_software(BACKWARD_FORWARD, "fused_slices_vectors", VECTOR_SLICES) },
    forward: &const { for_software(FORWARD, "fused_slices_vectors", VECTOR_SLICES) },
    first: [28, 4],
    later: [4, 4],
    biases: 4,
    blocks_per_workgroup: 8,
    sums: 4,
};

impl Algorithm {
    pub(super) fn kernels(self) -> &'static Kernels {
        match self {
            Self::Tiles => &TILES,
            Self::Registers => &REGISTERS,
            Self::Vectors => &VECTORS,
        }
    }
}

impl Kernels {
    fn contracts(&self) -> [Contract; 3] {
        [self.middle, self.backward_forward, self.forward].map(Kernel::contract)
    }

    /// Checks that the device can run the kernels.
    pub(super) fn check_limits(&self, gpu: &Gpu) -> Result<(), Unfused> {
        let contracts = self.contracts();
        let mut shortages = contracts.iter().filter_map(|kernel| gpu.shortage(kernel));
        match shortages.next() {
            None => Ok(()),
            Some(Shortage {
                kernel,
                what,
                limit,
                needed,
                available,
            }) => Err(Unfused::Limit {
                kernel,
                what,
                limit,
                needed,
                available,
            }),
        }
    }

    /// Returns the number of tiles of a layer's weight, rounded up to whole workgroups.
    pub(super) fn tiles(&self, inputs: usize, outputs: usize, is_first: bool) -> u32 {
        let [high, wide] = if is_first { self.first } else { self.later };
        let blocks = inputs.div_ceil(high) * outputs.div_ceil(wide);
        to_u32(blocks.next_multiple_of(self.blocks_per_workgroup))
    }
}

pub(in crate::steps) fn contracts() -> Vec<Contract> {
    let kernels = [&TILES, &REGISTERS, &VECTORS];
    kernels.into_iter().flat_map(Kernels::contracts).collect()
}
