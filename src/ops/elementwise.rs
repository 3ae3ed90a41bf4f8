use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::{Backward, to_u32};
use crate::fields;
use crate::kernel::{Binding, Block, Contract, Kernel, Trust};
use crate::plan::{Cost, Recorder};
use crate::tensor::Tensor;

/// An activation as its two kernels: one invocation per element, backward from the output.
#[derive(Debug)]
pub(super) struct Elementwise {
    forward: Kernel<Shape>,
    backward: Kernel<Shape>,
    /// FLOPs per element, forward and backward.
    flops: [u64; 2],
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Shape {
    elements: u32,
}

impl Elementwise {
    pub(super) const fn new(shader: &'static str, source: &'static str, flops: [u64; 2]) -> Self {
        let forward = Kernel {
            shader,
            source,
            entry: "forward",
            bindings: const { &[Binding::read("x"), Binding::write("y")] },
            fields: fields!(Shape: elements),
            workgroup_size: [64, 1, 1],
            block: Block::Uniform,
            trust: Trust::PROVEN,
            uniform: PhantomData,
        };
        let backward = Kernel {
            entry: "backward",
            bindings: const {
                &[
                    Binding::read("output"),
                    Binding::read("dy"),
                    Binding::write("dx"),
                ]
            },
            ..forward
        };
        Self {
            forward,
            backward,
            flops,
        }
    }

    pub(super) fn forward(&'static self, recorder: &mut Recorder<'_>, x: &Tensor, y: &Tensor) {
        self.record(recorder, &self.forward, &[x, y], self.flops[0]);
    }

    pub(super) fn backward(&'static self, recorder: &mut Recorder<'_>, pass: Backward<'_>) {
        if let Some(dx) = pass.dx {
            self.record(
                recorder,
                &self.backward,
                &[pass.y, pass.dy, dx],
                self.flops[1],
            );
        }
    }

    fn record(
        &self,
        recorder: &mut Recorder<'_>,
        kernel: &'static Kernel<Shape>,
        tensors: &[&Tensor],
        flops: u64,
    ) {
        let shape = tensors[0].shape();
        for tensor in tensors {
            assert_eq!(
                tensor.shape(),
                shape,
                "{}::{}: shapes",
                kernel.shader,
                kernel.entry
            );
        }
        let elements = tensors[0].len();
        let uniform = Shape {
            elements: to_u32(elements),
        };
        let cost = Cost {
            flops: flops * elements as u64,
            iterations: 0,
            bytes: None,
        };
        recorder.dispatch_each(kernel, uniform, tensors, elements, cost);
    }

    pub(super) fn contracts(&self) -> Vec<Contract> {
        vec![self.forward.contract(), self.backward.contract()]
    }
}
