//! Adds up the partial sums of the gradients with respect to the weights and the bias.

use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::products::Shape;
use crate::fields;
use crate::kernel::{Binding, Block, Contract, Kernel, Trust};
use crate::ops::to_u32;
use crate::plan::{Cost, Recorder};
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Parts {
    parts: u32,
    outputs: u32,
    weights: u32,
}

/// Number of sums that one workgroup of [`SUM`] computes.
const SUMS_PER_WORKGROUP: u64 = 16;

/// Records the kernel that adds up the partial sums in `parts`. It writes `dw` and, if the layer has a bias, `db`.
pub(super) fn record(
    recorder: &mut Recorder<'_>,
    shape: Shape,
    parts: &Tensor,
    gradients: &[Tensor],
) {
    let block = Parts {
        parts: shape.parts,
        outputs: shape.outputs,
        weights: to_u32(shape.weights()),
    };
    let sums = shape.outputs as usize * shape.sums();
    let cost = Cost {
        flops: parts.len() as u64,
        iterations: u64::from(shape.parts.div_ceil(64)) + 17,
        bytes: None,
    };
    let workgroups = (sums as u64).div_ceil(SUMS_PER_WORKGROUP);
    match gradients {
        [dw] => recorder.dispatch(&SUM, block, &[parts, dw], workgroups, cost),
        [dw, db, ..] => {
            recorder.dispatch(&SUM_WITH_BIAS, block, &[parts, dw, db], workgroups, cost);
        }
        [] => {}
    }
}

const SUM_WITH_BIAS: Kernel<Parts> = Kernel {
    shader: "conv2d_parts",
    source: include_str!("../../../shaders/conv2d_parts.wgsl"),
    entry: "sum_with_bias",
    bindings: &[
        Binding::read("parts"),
        Binding::write("dw"),
        Binding::write("db"),
    ],
    fields: fields!(Parts: parts, outputs, weights),
    constants: &[],
    workgroup_size: [256, 1, 1],
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};
const SUM: Kernel<Parts> = Kernel {
    entry: "sum",
    bindings: &[Binding::read("parts"), Binding::write("dw")],
    ..SUM_WITH_BIAS
};

pub(super) fn contracts() -> [Contract; 2] {
    [SUM.contract(), SUM_WITH_BIAS.contract()]
}
