use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::{Backward, Forward, to_u32};
use crate::fields;
use crate::kernel::{Binding, Block, Contract, Field, Kernel, Trust};
use crate::plan::{Cost, Recorder};
use crate::tensor::Tensor;

/// Workgroup size of the kernels that [`record_elements`] records.
pub(super) const WORKGROUP_SIZE: [u32; 3] = [256, 1, 1];
/// Elements per invocation of the kernels that [`record_elements`] records. With fewer elements, a GPU takes longer to
/// start the workgroups than to move the data.
const PER_INVOCATION: usize = 4;

/// The forward and the backward kernel of an activation. `U` is the type of their uniform block.
#[derive(Debug)]
pub(super) struct Elementwise<U: 'static = Shape> {
    forward: Kernel<U>,
    backward: Kernel<U>,
    reads: Reads,
    /// FLOPs per element: of the forward kernel, then of the backward kernel.
    flops: [u64; 2],
}

/// The tensor that the backward pass reads besides `dy`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reads {
    /// `x`, if the derivative is not a function of the output.
    Input,
    /// `y`. Its binding is called `output`, because the shader uses the name `y` for the forward kernel's output.
    Output,
}

/// Uniform block of an activation without settings.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct Shape {
    elements: u32,
}

impl Elementwise {
    pub(super) const fn new(
        shader: &'static str,
        source: &'static str,
        reads: Reads,
        flops: [u64; 2],
    ) -> Self {
        Self::with_block(shader, source, fields!(Shape: elements), reads, flops)
    }

    pub(super) fn forward(&'static self, recorder: &mut Recorder<'_>, pass: Forward<'_>) {
        self.forward_with(recorder, |elements| Shape { elements }, pass);
    }

    pub(super) fn backward(&'static self, recorder: &mut Recorder<'_>, pass: Backward<'_>) {
        self.backward_with(recorder, |elements| Shape { elements }, pass);
    }
}

impl<U: Pod> Elementwise<U> {
    /// Creates the kernels of an activation whose uniform block has other fields besides the number of elements.
    pub(super) const fn with_block(
        shader: &'static str,
        source: &'static str,
        fields: &'static [Field],
        reads: Reads,
        flops: [u64; 2],
    ) -> Self {
        let forward = Kernel {
            shader,
            source,
            entry: "forward",
            bindings: const { &[Binding::read("x"), Binding::write("y")] },
            fields,
            constants: &[],
            workgroup_size: WORKGROUP_SIZE,
            block: Block::Uniform,
            trust: Trust::PROVEN,
            uniform: PhantomData,
        };
        let backward = Kernel {
            entry: "backward",
            bindings: match reads {
                Reads::Input => const { &backward_bindings("x") },
                Reads::Output => const { &backward_bindings("output") },
            },
            ..forward
        };
        Self {
            forward,
            backward,
            reads,
            flops,
        }
    }

    /// Records the forward pass. `block` makes the uniform block from the number of elements.
    pub(super) fn forward_with(
        &'static self,
        recorder: &mut Recorder<'_>,
        block: impl FnOnce(u32) -> U,
        pass: Forward<'_>,
    ) {
        let tensors = [pass.x, pass.y];
        record(recorder, &self.forward, block, &tensors, self.flops[0]);
    }

    pub(super) fn backward_with(
        &'static self,
        recorder: &mut Recorder<'_>,
        block: impl FnOnce(u32) -> U,
        pass: Backward<'_>,
    ) {
        let value = match self.reads {
            Reads::Input => pass.x,
            Reads::Output => pass.y,
        };
        if let Some(dx) = pass.dx {
            let tensors = [value, pass.dy, dx];
            record(recorder, &self.backward, block, &tensors, self.flops[1]);
        }
    }

    pub(super) fn contracts(&self) -> Vec<Contract> {
        vec![self.forward.contract(), self.backward.contract()]
    }
}

const fn backward_bindings(value: &'static str) -> [Binding; 3] {
    [
        Binding::read(value),
        Binding::read("dy"),
        Binding::write("dx"),
    ]
}

fn record<U: Pod>(
    recorder: &mut Recorder<'_>,
    kernel: &'static Kernel<U>,
    block: impl FnOnce(u32) -> U,
    tensors: &[&Tensor],
    flops: u64,
) {
    let dims = tensors[0].dims();
    for tensor in tensors {
        assert_eq!(
            tensor.dims(),
            dims,
            "{}::{}: shapes",
            kernel.shader,
            kernel.entry
        );
    }
    let elements = tensors[0].len();
    let block = block(to_u32(elements));
    record_elements(recorder, kernel, block, tensors, elements, flops);
}

/// Records a kernel whose workgroups process 1,024 elements each. An invocation processes four elements that are 256
/// apart, so that neighboring invocations read and write neighboring elements.
pub(super) fn record_elements<U: Pod>(
    recorder: &mut Recorder<'_>,
    kernel: &'static Kernel<U>,
    uniform: U,
    tensors: &[&Tensor],
    elements: usize,
    flops_per_element: u64,
) {
    record_loops(
        recorder,
        kernel,
        uniform,
        tensors,
        elements,
        (0, flops_per_element),
    );
}

/// Like [`record_elements`], for a kernel with a loop: `rounds` iterations per element, and `flops_per_round`
/// operations per iteration. For a kernel without a loop, `rounds` is 0 and `flops_per_round` counts per element.
pub(super) fn record_loops<U: Pod>(
    recorder: &mut Recorder<'_>,
    kernel: &'static Kernel<U>,
    uniform: U,
    tensors: &[&Tensor],
    elements: usize,
    (rounds, flops_per_round): (usize, u64),
) {
    // The final test of a loop counts as an iteration.
    let looks = if rounds == 0 { 0 } else { rounds as u64 + 1 };
    let of_element = flops_per_round * rounds.max(1) as u64;
    let cost = Cost {
        flops: of_element * elements as u64,
        iterations: PER_INVOCATION as u64 * (1 + looks) + 1,
        bytes: None,
    };
    let invocations = elements.div_ceil(PER_INVOCATION);
    recorder.dispatch_each(kernel, uniform, tensors, invocations, cost);
}
