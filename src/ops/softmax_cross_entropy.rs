use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

use super::{Loss, LossPass, to_u32};
use crate::error::Error;
use crate::fields;
use crate::kernel::{Binding, Block, Contract, Kernel, Trust};
use crate::plan::{Cost, Recorder};
use crate::reference;

/// Softmax with mean cross-entropy: `loss = mean_r(log Σ_c e^(logits[c]) − logits[label])` over the rows `r`. Its
/// gradient with respect to the logits is `(softmax(logits) − onehot(label)) / rows`.
///
/// The loss is stable for logits of any finite size. A row with an infinite or NaN logit has a NaN loss.
#[doc(alias = "SoftmaxWithLoss")]
#[derive(Debug, Clone, Copy, Default)]
pub struct SoftmaxCrossEntropy;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Shape {
    rows: u32,
    classes: u32,
    scale: f32,
}

static FORWARD_BACKWARD: Kernel<Shape> = Kernel {
    shader: "softmax_cross_entropy",
    source: concat!(
        include_str!("../../shaders/is_finite.wgsl"),
        include_str!("../../shaders/softmax_cross_entropy.wgsl"),
    ),
    entry: "forward_backward",
    bindings: &[
        Binding::read("logits"),
        Binding::read("labels").of_u32(),
        Binding::write("losses"),
        Binding::write("dlogits"),
    ],
    fields: fields!(Shape: rows, classes, scale),
    constants: &[],
    workgroup_size: [64, 1, 1],
    block: Block::Uniform,
    trust: Trust::PROVEN,
    uniform: PhantomData,
};

impl Loss for SoftmaxCrossEntropy {
    fn describe(&self) -> String {
        "SoftmaxCrossEntropy".to_owned()
    }

    fn forward_backward(
        &self,
        recorder: &mut Recorder<'_>,
        pass: LossPass<'_>,
    ) -> Result<(), Error> {
        let LossPass {
            outputs: logits,
            targets: labels,
            losses,
            doutputs: dlogits,
        } = pass;
        let [rows, classes] = logits.dims();
        assert_eq!(
            dlogits.dims(),
            logits.dims(),
            "softmax_cross_entropy: dlogits"
        );
        assert_eq!(labels.dims(), [1, rows], "softmax_cross_entropy: labels");
        assert_eq!(losses.dims(), [1, rows], "softmax_cross_entropy: losses");
        #[expect(
            clippy::cast_precision_loss,
            reason = "rounded once, as in the reference"
        )]
        let scale = 1.0 / rows as f32;
        let shape = Shape {
            rows: to_u32(rows),
            classes: to_u32(classes),
            scale,
        };
        let tensors = [logits, labels, losses, dlogits];
        let cost = Cost {
            flops: 8 * logits.len() as u64,
            iterations: 3 * classes as u64,
            bytes: None,
        };
        recorder.dispatch_each(&FORWARD_BACKWARD, shape, &tensors, rows, cost);
        Ok(())
    }

    fn reference(&self) -> reference::Criterion {
        reference::Criterion::of(reference::SoftmaxCrossEntropy)
    }
}

pub(super) fn contracts() -> Vec<Contract> {
    vec![FORWARD_BACKWARD.contract()]
}
