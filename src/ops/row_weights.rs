//! Multiplies losses and gradients by row weights, between the loss and the backward pass.

use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::elementwise::{WORKGROUP_SIZE, record_elements};
use super::to_u32;
use crate::fields;
use crate::kernel::{Binding, Block, Contract, Kernel, Trust};
use crate::plan::Recorder;
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Shape {
    elements: u32,
    columns: u32,
}

static WEIGH: Kernel<Shape> = Kernel {
    shader: "row_weights",
    source: include_str!("../../shaders/row_weights.wgsl"),
    entry: "weigh",
    bindings: &[
        Binding::read("weights"),
        Binding::write("losses"),
        Binding::write("dy"),
    ],
    fields: fields!(Shape: elements, columns),
    constants: &[],
    workgroup_size: WORKGROUP_SIZE,
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};

/// Records the multiplication of each row's loss in `losses`, (1, rows), and of each row of the gradient `dy`,
/// (rows, columns), by the row's weight in `weights`, (1, rows).
///
/// # Panics
/// If the numbers of rows differ, which is a bug in the caller.
pub fn weigh(recorder: &mut Recorder<'_>, weights: &Tensor, losses: &Tensor, dy: &Tensor) {
    let rows = dy.rows();
    assert_eq!(
        weights.len(),
        rows,
        "row_weights::weigh: {}",
        weights.label()
    );
    assert_eq!(losses.len(), rows, "row_weights::weigh: {}", losses.label());
    let shape = Shape {
        elements: to_u32(dy.len()),
        columns: to_u32(dy.columns()),
    };
    record_elements(recorder, &WEIGH, shape, &[weights, losses, dy], dy.len(), 1);
}

pub(super) fn contracts() -> Vec<Contract> {
    vec![WEIGH.contract()]
}
