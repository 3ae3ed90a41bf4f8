use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::{Loss, LossPass, TargetKind, to_u32};
use crate::error::Error;
use crate::fields;
use crate::kernel::{Binding, Block, Contract, Kernel, Trust};
use crate::plan::{Cost, Recorder};
use crate::reference;

/// Mean squared error, `loss = mean_{r,c}((y − t)²)`, as `torch.nn.MSELoss`: for regression. Its
/// gradient by the outputs is `2·(y − t) / (rows · outputs)`.
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
        let LossPass {
            outputs,
            targets,
            losses,
            doutputs,
        } = pass;
        let [rows, columns] = outputs.dims();
        for tensor in [targets, doutputs] {
            let label = tensor.label();
            assert_eq!(
                tensor.dims(),
                [rows, columns],
                "mean_squared_error: {label}"
            );
        }
        assert_eq!(losses.dims(), [1, rows], "mean_squared_error: losses");
        #[expect(clippy::cast_precision_loss, reason = "rounded once")]
        let scale = 2.0 / outputs.len() as f32;
        let shape = Shape {
            rows: to_u32(rows),
            outputs: to_u32(columns),
            scale,
        };
        let cost = Cost {
            flops: 4 * outputs.len() as u64,
            iterations: columns as u64,
            bytes: None,
        };
        let tensors = [outputs, targets, losses, doutputs];
        recorder.dispatch_each(&FORWARD_BACKWARD, shape, &tensors, rows, cost);
        Ok(())
    }

    fn reference(&self) -> reference::Criterion {
        reference::Criterion::of(reference::MeanSquaredError)
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    vec![FORWARD_BACKWARD.contract()]
}
