//! What a loss is, and what its pass reads and writes.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use super::to_u32;
use crate::error::Error;
use crate::error::TargetKind;
use crate::kernel::Kernel;
use crate::plan::{Cost, Recorder};
use crate::reference;
use crate::tensor::Tensor;

/// What the pass of a loss reads and writes.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct LossPass<'a> {
    /// What the network gives, (rows, outputs).
    pub outputs: &'a Tensor,
    /// What they are compared with, as [`Loss::targets`] says.
    pub targets: &'a Tensor,
    /// Where the loss of every row goes, (1, rows).
    pub losses: &'a Tensor,
    /// Where the gradient of their mean by `outputs` goes, (rows, outputs).
    pub doutputs: &'a Tensor,
}

impl<'a> LossPass<'a> {
    /// A pass from `outputs` and `targets` to `losses` and `doutputs`.
    #[must_use]
    pub fn new([outputs, targets]: [&'a Tensor; 2], [losses, doutputs]: [&'a Tensor; 2]) -> Self {
        Self {
            outputs,
            targets,
            losses,
            doutputs,
        }
    }
}

/// What the kernel of a loss of values is told of a minibatch.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct OfValues {
    pub(super) rows: u32,
    pub(super) outputs: u32,
    /// 1 / (rows · outputs).
    pub(super) scale: f32,
}

impl LossPass<'_> {
    /// Records a kernel with an invocation for each row, which loops over its outputs, of a loss whose targets are values.
    /// Its bindings are outputs, targets, losses and gradient.
    pub(super) fn record_of_values<U: Pod>(
        &self,
        recorder: &mut Recorder<'_>,
        kernel: &'static Kernel<U>,
        flops_per_element: u64,
        settings: impl FnOnce(OfValues) -> U,
    ) {
        let outputs = self.outputs;
        let shader = kernel.shader;
        let [rows, columns] = outputs.dims();
        for tensor in [self.targets, self.doutputs] {
            let label = tensor.label();
            assert_eq!(tensor.dims(), [rows, columns], "{shader}: {label}");
        }
        assert_eq!(self.losses.dims(), [1, rows], "{shader}: losses");
        #[expect(clippy::cast_precision_loss, reason = "rounded once")]
        let scale = 1.0 / outputs.len() as f32;
        let settings = settings(OfValues {
            rows: to_u32(rows),
            outputs: to_u32(columns),
            scale,
        });
        let cost = Cost {
            flops: flops_per_element * outputs.len() as u64,
            iterations: columns as u64,
            bytes: None,
        };
        let tensors = [outputs, self.targets, self.losses, self.doutputs];
        recorder.dispatch_each(kernel, settings, &tensors, rows, cost);
    }
}

/// A loss over rows of outputs.
pub trait Loss: Any + Debug + Send + Sync {
    /// Its name and all its settings, the same in every run, for example `Huber { delta: 0.5 }`: a
    /// [checkpoint](crate::checkpoint) knows it by this text, and messages call it so.
    fn describe(&self) -> String;

    /// What it needs to know of every row: classes, where it says nothing else. A loss of values, or of probabilities,
    /// says so here.
    fn targets(&self) -> TargetKind {
        TargetKind::Classes
    }

    /// Whether its settings make sense for a network of so many outputs: asked before anything is trained or evaluated.
    ///
    /// # Errors
    /// [`Error::Setting`] with the setting that makes none.
    fn check(&self, outputs: usize) -> Result<(), Error> {
        let _ = outputs;
        Ok(())
    }

    /// The weight of each class, where a minibatch's loss is no mean over its rows, but that mean weighted by what the
    /// rows' labels weigh: the sum of all terms over the sum of the labels' weights, or over the number of rows where
    /// all labels weigh 0. An entry of [`losses`](LossPass::losses) is then the row's term, times the number of rows,
    /// over that sum, so that their mean is the loss. Data sets are evaluated in chunks, which are weighed so.
    fn class_weights(&self) -> Option<&[f32]> {
        None
    }

    /// Records the loss of every row, and the gradient of their mean by the outputs.
    ///
    /// # Errors
    /// What recording it needs and the device does not have.
    fn forward_backward(
        &self,
        recorder: &mut Recorder<'_>,
        pass: LossPass<'_>,
    ) -> Result<(), Error>;

    /// The same loss on ndarray.
    fn reference(&self) -> reference::Criterion;
}

macro_rules! forward_loss {
    ($pointer:ty) => {
        impl Loss for $pointer {
            fn describe(&self) -> String {
                (**self).describe()
            }

            fn targets(&self) -> TargetKind {
                (**self).targets()
            }

            fn check(&self, outputs: usize) -> Result<(), Error> {
                (**self).check(outputs)
            }

            fn class_weights(&self) -> Option<&[f32]> {
                (**self).class_weights()
            }

            fn forward_backward(
                &self,
                recorder: &mut Recorder<'_>,
                pass: LossPass<'_>,
            ) -> Result<(), Error> {
                (**self).forward_backward(recorder, pass)
            }

            fn reference(&self) -> reference::Criterion {
                (**self).reference()
            }
        }
    };
}

// A loss that is chosen while the program runs.
forward_loss!(Box<dyn Loss>);
forward_loss!(Arc<dyn Loss>);

/// How much rows with these labels count in a mean: their number, or what [`Loss::class_weights`] makes of them. Labels
/// that have no weight count 0.
pub(crate) fn weight_of_rows(loss: &dyn Loss, rows: usize, labels: Option<&[u32]>) -> f64 {
    let rows = rows as f64;
    let (Some(weights), Some(labels)) = (loss.class_weights(), labels) else {
        return rows;
    };
    let of_label = |&label: &u32| weights.get(label as usize).copied().unwrap_or_default();
    let sum: f64 = labels.iter().map(|label| f64::from(of_label(label))).sum();
    if sum > 0.0 { sum } else { rows }
}

/// The loss within boxes and `Arc`s, as the type that it is.
pub(crate) fn unwrapped_loss(loss: &dyn Loss) -> &dyn Any {
    let any: &dyn Any = loss;
    if let Some(boxed) = any.downcast_ref::<Box<dyn Loss>>() {
        return unwrapped_loss(&**boxed);
    }
    match any.downcast_ref::<Arc<dyn Loss>>() {
        Some(shared) => unwrapped_loss(&**shared),
        None => any,
    }
}
