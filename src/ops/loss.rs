//! The trait for losses, and the tensors that a loss reads and writes.

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

/// The tensors that a loss reads and writes.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct LossPass<'a> {
    /// Outputs of the network, (rows, outputs).
    pub outputs: &'a Tensor,
    /// The targets, of the kind that [`Loss::targets`] returns.
    pub targets: &'a Tensor,
    /// Receives the loss of every row, (1, rows).
    pub losses: &'a Tensor,
    /// Receives the gradient of the mean loss with respect to `outputs`, (rows, outputs).
    pub doutputs: &'a Tensor,
}

impl<'a> LossPass<'a> {
    /// Creates a pass that reads `outputs` and `targets`, and writes `losses` and `doutputs`.
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

/// The sizes of a minibatch, for the kernel of a loss whose targets are values.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(super) struct OfValues {
    pub(super) rows: u32,
    pub(super) outputs: u32,
    /// `1 / (rows · outputs)`.
    pub(super) scale: f32,
}

impl LossPass<'_> {
    /// Records the kernel of a loss whose targets are values. The kernel has one invocation per row, which loops over
    /// the row's outputs. Its bindings are the outputs, the targets, the losses and the gradient, in this order.
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

/// A loss: compares a network's outputs with targets.
pub trait Loss: Any + Debug + Send + Sync {
    /// Returns the loss's name and all its settings, for example `Huber { delta: 0.5 }`. The text is the same in every
    /// run: a [checkpoint](crate::checkpoint) identifies the loss by it, and messages use it.
    fn describe(&self) -> String;

    /// Returns the kind of the targets. The default is classes; a loss whose targets are values or probabilities
    /// overrides this method.
    fn targets(&self) -> TargetKind {
        TargetKind::Classes
    }

    /// Checks the settings for a network with this number of outputs. Called before training or evaluation starts.
    ///
    /// # Errors
    /// [`Error::Setting`] if a setting is invalid. The error names the setting.
    fn check(&self, outputs: usize) -> Result<(), Error> {
        let _ = outputs;
        Ok(())
    }

    /// Returns the weight of each class, if the loss is a weighted mean over the rows of a minibatch. The default is
    /// `None`: the loss is a plain mean.
    ///
    /// With class weights, the loss of a minibatch is the sum of all rows' terms divided by a divisor: the sum of the
    /// weights of the rows' labels, or the number of rows if the sum of weights is 0. Each element of
    /// [`losses`](LossPass::losses) is a row's term times the number of rows, divided by the same divisor, so that the
    /// mean of the elements is the loss. An evaluation splits a data set into chunks and averages their losses,
    /// weighted by the chunks' divisors.
    fn class_weights(&self) -> Option<&[f32]> {
        None
    }

    /// Records the loss of every row, and the gradient of the mean loss with respect to the outputs.
    ///
    /// # Errors
    /// An error if the device lacks something that the recording needs.
    fn forward_backward(
        &self,
        recorder: &mut Recorder<'_>,
        pass: LossPass<'_>,
    ) -> Result<(), Error>;

    /// Returns the reference implementation of the loss, which computes with ndarray.
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

// For a loss that is chosen at run time.
forward_loss!(Box<dyn Loss>);
forward_loss!(Arc<dyn Loss>);

/// Returns the weight of a chunk's loss in the mean over several chunks: the sum of the weights of the chunk's labels
/// if the loss has [`Loss::class_weights`], otherwise the chunk's number of rows. A label without a weight counts as 0.
/// If the sum is 0, the number of rows is returned.
pub(crate) fn weight_of_rows(loss: &dyn Loss, rows: usize, labels: Option<&[u32]>) -> f64 {
    let rows = rows as f64;
    let (Some(weights), Some(labels)) = (loss.class_weights(), labels) else {
        return rows;
    };
    let of_label = |&label: &u32| weights.get(label as usize).copied().unwrap_or_default();
    let sum: f64 = labels.iter().map(|label| f64::from(of_label(label))).sum();
    if sum > 0.0 { sum } else { rows }
}

/// Returns the loss inside any boxes and `Arc`s, so that it can be downcast to its own type.
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
