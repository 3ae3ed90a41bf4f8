use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::{Loss, LossPass, TargetKind};
use crate::error::Error;
use crate::fields;
use crate::kernel::{Binding, Block, Contract, Kernel, Trust};
use crate::plan::Recorder;
use crate::reference;

/// Mean squared error for regression, like `torch.nn.MSELoss`: `loss = mean_{r,c}((y − t)²)`. Its gradient with respect
/// to the outputs is `2·(y − t) / (rows · outputs)`.
#[doc(alias = "MSELoss")]
#[derive(Debug, Clone, Copy, Default)]
pub struct MeanSquaredError;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Shape {
    rows: u32,
    outputs: u32,
    scale: f32,
}

static FORWARD_BACKWARD: Kernel<Shape> = Kernel {
    shader: "mean_squared_error",
    source: include_str!("../../shaders/mean_squared_error.wgsl"),
    entry: "forward_backward",
    bindings: &[
        Binding::read("y"),
        Binding::read("targets"),
        Binding::write("losses"),
        Binding::write("dy"),
    ],
    fields: fields!(Shape: rows, outputs, scale),
    constants: &[],
    workgroup_size: [64, 1, 1],
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};

impl Loss for MeanSquaredError {
    fn describe(&self) -> String {
        "MeanSquaredError".to_owned()
    }

    fn targets(&self) -> TargetKind {
        TargetKind::Values
    }

    fn forward_backward(
        &self,
        recorder: &mut Recorder<'_>,
        pass: LossPass<'_>,
    ) -> Result<(), Error> {
        pass.record_of_values(recorder, &FORWARD_BACKWARD, 4, |of| Shape {
            rows: of.rows,
            outputs: of.outputs,
            // The derivative of a square has a factor of 2.
            scale: 2.0 * of.scale,
        });
        Ok(())
    }

    fn reference(&self) -> reference::Criterion {
        reference::Criterion::of(reference::MeanSquaredError)
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    vec![FORWARD_BACKWARD.contract()]
}
