//! The kernels of a fused head, in two families: for GPUs and for lavapipe.

use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::MOST_LAYERS;
use crate::error::Unfused;
use crate::fields;
use crate::gpu::{Gpu, Shortage};
use crate::kernel::{self, Binding, Contract, Kernel, Trust};

/// A family of shaders that computes a fused head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `shaders/head_tiles.wgsl`: a block's values are in workgroup memory.
    Tiles,
    /// `shaders/head_registers.wgsl`, for lavapipe: a block's values are in a storage buffer. Large tiles of sums are
    /// in registers.
    Registers,
}

/// The shaders' offset of a bias that does not exist.
pub(super) const NO_BIAS: u32 = u32::MAX;

/// A layer's settings, in the layout that the shaders read.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
pub(super) struct LayerBlock {
    pub(super) inputs: u32,
    pub(super) outputs: u32,
    pub(super) weight: u32,
    pub(super) bias: u32,
    pub(super) activation: u32,
    pub(super) slope: f32,
    pub(super) column: u32,
    pub(super) start: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Block {
    pub(super) rows: u32,
    pub(super) layers: u32,
    pub(super) pitch: u32,
    pub(super) block: u32,
    pub(super) workgroups: u32,
    pub(super) first: u32,
    pub(super) loss: u32,
    pub(super) setting: f32,
    pub(super) scale: f32,
    pub(super) slot: u32,
    pub(super) rectified: u32,
    pub(super) has_dx: u32,
    pub(super) layer: [LayerBlock; MOST_LAYERS],
}

impl Block {
    /// Sets the number of the dispatch's first workgroup.
    pub(super) fn from(mut self, first: u32) -> Self {
        self.first = first;
        self
    }
}

/// The kernels of a family of shaders, and the tile sizes that its shader uses.
pub(super) struct Kernels {
    pub(super) train_values: &'static Kernel<Block>,
    pub(super) train_classes: &'static Kernel<Block>,
    pub(super) forward: &'static Kernel<Block>,
    /// `[rows, columns]` of a tile of a layer's output, or of the gradient with respect to its input.
    pub(super) tile: [usize; 2],
    /// `[inputs, outputs]` of a tile of the gradient with respect to a layer's weights.
    pub(super) weight_tile: [usize; 2],
}

const TILES_VALUES: Kernel<Block> = Kernel {
    shader: "head_tiles",
    source: concat!(
        include_str!("../../../shaders/head_layers.wgsl"),
        include_str!("../../../shaders/rectified.wgsl"),
        include_str!("../../../shaders/is_finite.wgsl"),
        include_str!("../../../shaders/is_nan.wgsl"),
        include_str!("../../../shaders/logistic.wgsl"),
        include_str!("../../../shaders/hyperbolic_tangent.wgsl"),
        include_str!("../../../shaders/gaussian.wgsl"),
        include_str!("../../../shaders/loss_terms.wgsl"),
        include_str!("../../../shaders/head_losses.wgsl"),
        include_str!("../../../shaders/head_rows.wgsl"),
        include_str!("../../../shaders/head_passes.wgsl"),
        include_str!("../../../shaders/head_tiles.wgsl"),
    ),
    entry: "train_values",
    bindings: &[
        Binding::read("parameters"),
        Binding::read("x"),
        Binding::read("targets"),
        Binding::write("losses"),
        Binding::write("slots"),
        Binding::write("dx"),
    ],
    fields: fields!(Block: rows, layers, pitch, block, workgroups, first, loss, setting, scale, slot, rectified, has_dx, layer),
    constants: &[],
    workgroup_size: [256, 1, 1],
    block: kernel::Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};
static TILES: Kernels = Kernels {
    train_values: &TILES_VALUES,
    train_classes: &Kernel {
        entry: "train_classes",
        bindings: &[
            Binding::read("parameters"),
            Binding::read("x"),
            Binding::read("labels").of_u32(),
            Binding::write("losses"),
            Binding::write("slots"),
            Binding::write("dx"),
        ],
        ..TILES_VALUES
    },
    forward: &Kernel {
        entry: "forward",
        bindings: &[
            Binding::read("parameters"),
            Binding::read("x"),
            Binding::write("y"),
        ],
        ..TILES_VALUES
    },
    tile: [4, 2],
    weight_tile: [4, 4],
};

/// The settings are in a storage buffer. This is so for every lavapipe kernel whose settings determine the length of a
/// loop.
const REGISTERS_VALUES: Kernel<Block> = Kernel {
    shader: "head_registers",
    source: concat!(
        include_str!("../../../shaders/head_layers.wgsl"),
        include_str!("../../../shaders/rectified.wgsl"),
        include_str!("../../../shaders/is_finite.wgsl"),
        include_str!("../../../shaders/is_nan.wgsl"),
        include_str!("../../../shaders/logistic.wgsl"),
        include_str!("../../../shaders/hyperbolic_tangent.wgsl"),
        include_str!("../../../shaders/gaussian.wgsl"),
        include_str!("../../../shaders/loss_terms.wgsl"),
        include_str!("../../../shaders/head_losses.wgsl"),
        include_str!("../../../shaders/head_rows.wgsl"),
        include_str!("../../../shaders/head_passes.wgsl"),
        include_str!("../../../shaders/head_registers.wgsl"),
    ),
    bindings: &[
        Binding::read("parameters"),
        Binding::read("x"),
        Binding::write("scratch"),
        Binding::read("targets"),
        Binding::write("losses"),
        Binding::write("slots"),
        Binding::write("dx"),
    ],
    workgroup_size: [8, 1, 1],
    block: kernel::Block::Storage,
    ..TILES_VALUES
};
static REGISTERS: Kernels = Kernels {
    train_values: &REGISTERS_VALUES,
    train_classes: &Kernel {
        entry: "train_classes",
        bindings: &[
            Binding::read("parameters"),
            Binding::read("x"),
            Binding::write("scratch"),
            Binding::read("labels").of_u32(),
            Binding::write("losses"),
            Binding::write("slots"),
            Binding::write("dx"),
        ],
        ..REGISTERS_VALUES
    },
    forward: &Kernel {
        entry: "forward",
        bindings: &[
            Binding::read("parameters"),
            Binding::read("x"),
            Binding::write("scratch"),
            Binding::write("y"),
        ],
        ..REGISTERS_VALUES
    },
    tile: [10, 8],
    weight_tile: [8, 8],
};

/// Columns per workgroup of [`SUM`], which adds up all slots. A slot is a row with the gradients of one workgroup.
pub(super) const COLUMNS_OF_SUM: usize = 32;
pub(super) static SUM: Kernel<Block> = Kernel {
    shader: "head_sum",
    source: concat!(
        include_str!("../../../shaders/head_layers.wgsl"),
        include_str!("../../../shaders/head_sum.wgsl"),
    ),
    entry: "sum",
    bindings: &[Binding::read("slots"), Binding::write("gradients")],
    ..TILES_VALUES
};

/// Capacity of workgroup memory for the values of a block of rows: `ROOM` in `shaders/head_tiles.wgsl`.
const ROOM: usize = 4096;
/// Maximum number of rows per block. With 64 outputs, such a block has one tile for each invocation of a workgroup.
const MOST_ROWS: usize = 32;
/// Rows per block if its values are in a storage buffer: four tiles of 10 rows. With 64 outputs, each of a workgroup's
/// eight invocations then has four tiles.
const ROWS_IN_STORAGE: usize = 40;

impl Form {
    pub(super) fn kernels(self) -> &'static Kernels {
        match self {
            Self::Tiles => &TILES,
            Self::Registers => &REGISTERS,
        }
    }

    /// Returns the number of rows per block, for rows with `pitch` values. If a block's values are in workgroup memory,
    /// this is as many whole tiles as fit there, at most [`MOST_ROWS`] rows; `None` if not even one tile fits.
    pub(super) fn block(self, pitch: usize) -> Option<usize> {
        match self {
            Self::Registers => Some(ROWS_IN_STORAGE),
            Self::Tiles => {
                let tile = self.kernels().tile[0];
                let tiles = (ROOM / pitch).min(MOST_ROWS) / tile;
                (tiles > 0).then_some(tiles * tile)
            }
        }
    }

    /// Returns the maximum number of values per row.
    pub(super) fn most_columns(self) -> usize {
        ROOM / self.kernels().tile[0]
    }

    /// Checks that the device's limits allow the kernels.
    pub(super) fn check_limits(self, gpu: &Gpu) -> Result<(), Unfused> {
        let kernels = self.kernels();
        let all = [
            kernels.train_values,
            kernels.train_classes,
            kernels.forward,
            &SUM,
        ];
        let contracts = all.map(Kernel::contract);
        match contracts.iter().find_map(|kernel| gpu.shortage(kernel)) {
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
}

pub(in crate::ops) fn contracts() -> Vec<Contract> {
    let of_forms = [&TILES, &REGISTERS].into_iter();
    let kernels = of_forms.flat_map(|of| [of.train_values, of.train_classes, of.forward]);
    kernels.chain([&SUM]).map(Kernel::contract).collect()
}
