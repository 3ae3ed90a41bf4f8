//! Elementwise kernels for networks with branches: they add values, and the gradients of a value that several layers
//! read.

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
struct Settings {
    elements: u32,
    factor: f32,
}

static ADD: Kernel<Settings> = Kernel {
    shader: "add",
    source: include_str!("../../shaders/add.wgsl"),
    entry: "add",
    bindings: &[Binding::read("a"), Binding::read("b"), Binding::write("y")],
    fields: fields!(Settings: elements, factor),
    constants: &[],
    workgroup_size: WORKGROUP_SIZE,
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};

static ACCUMULATE: Kernel<Settings> = Kernel {
    entry: "accumulate",
    bindings: &[Binding::read("part"), Binding::write("total")],
    ..ADD
};

static COPY: Kernel<Settings> = Kernel {
    entry: "copy",
    ..ACCUMULATE
};

static SCALE: Kernel<Settings> = Kernel {
    entry: "scale",
    bindings: &[Binding::write("scaled")],
    ..ADD
};

/// Records `y = a + b`.
///
/// # Panics
/// If the tensors differ in size, which is a bug in the caller.
pub fn add(recorder: &mut Recorder<'_>, [a, b]: [&Tensor; 2], y: &Tensor) {
    record(recorder, &ADD, &[a, b, y], 1.0, 1);
}

/// Records `total = total + part`.
///
/// # Panics
/// If the tensors differ in size, which is a bug in the caller.
pub fn accumulate(recorder: &mut Recorder<'_>, part: &Tensor, total: &Tensor) {
    record(recorder, &ACCUMULATE, &[part, total], 1.0, 1);
}

/// Records `total = part`.
///
/// # Panics
/// If the tensors differ in size, which is a bug in the caller.
pub fn copy(recorder: &mut Recorder<'_>, part: &Tensor, total: &Tensor) {
    record(recorder, &COPY, &[part, total], 1.0, 0);
}

/// Records `total = factor · total`.
pub fn scale(recorder: &mut Recorder<'_>, total: &Tensor, factor: f32) {
    record(recorder, &SCALE, &[total], factor, 1);
}

fn record(
    recorder: &mut Recorder<'_>,
    kernel: &'static Kernel<Settings>,
    tensors: &[&Tensor],
    factor: f32,
    flops: u64,
) {
    let elements = tensors[0].len();
    for tensor in tensors {
        let label = tensor.label();
        assert_eq!(tensor.len(), elements, "add::{}: {label}", kernel.entry);
    }
    let settings = Settings {
        elements: to_u32(elements),
        factor,
    };
    record_elements(recorder, kernel, settings, tensors, elements, flops);
}

pub(super) fn contracts() -> Vec<Contract> {
    [&ADD, &ACCUMULATE, &COPY, &SCALE]
        .map(Kernel::contract)
        .to_vec()
}
