//! Training rows in tensors of the caller.

use crate::error::{Error, TargetKind};
use crate::kernel::Element;
use crate::model::Model;
use crate::ops::Loss;
use crate::tensor::Tensor;

/// The rows of a training step in tensors of the caller, whose own kernels may change them between steps: see
/// [`Trainer::external`](crate::Trainer::external).
#[derive(Debug, Clone)]
pub struct Batch {
    pub(crate) x: Tensor,
    pub(crate) targets: Tensor,
    pub(crate) weights: Option<Tensor>,
}

impl Batch {
    /// Makes a batch of features `x`, (rows, features) in `f32`, and targets. Targets are classes, (1, rows) in `u32`,
    /// or values, (rows, outputs) in `f32`.
    ///
    /// The values in the target tensor are not checked. An invalid class gives a loss that is NaN, or the loss of
    /// another class. A probability outside 0 to 1 gives a loss that is NaN.
    #[must_use]
    pub fn new(x: &Tensor, targets: &Tensor) -> Self {
        Self {
            x: x.clone(),
            targets: targets.clone(),
            weights: None,
        }
    }

    /// Adds one weight per row, (1, rows) in `f32`, that multiplies the row's loss and gradient. The weights do not
    /// change the divisor of the mean loss: weights of 1 change nothing.
    #[must_use]
    pub fn weights(self, weights: &Tensor) -> Self {
        Self {
            weights: Some(weights.clone()),
            ..self
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.x.rows()
    }

    /// Checks device, element type and shape of all tensors against the model and the loss.
    pub(crate) fn check(&self, model: &Model, loss: &dyn Loss) -> Result<(), Error> {
        let rows = self.rows();
        let (of_targets, targets) = match loss.targets() {
            TargetKind::Classes => (Element::U32, [1, rows]),
            TargetKind::Values | TargetKind::Probabilities => {
                (Element::F32, [rows, model.graph().outputs()])
            }
        };
        let weights = self.weights.iter();
        let all = [
            (&self.x, Element::F32, [rows, model.features()]),
            (&self.targets, of_targets, targets),
        ];
        let weights = weights.map(|weights| (weights, Element::F32, [1, rows]));
        for (tensor, element, expected) in all.into_iter().chain(weights) {
            tensor.check_gpu(model.gpu())?;
            tensor.check_element(element)?;
            if tensor.dims() != expected {
                return Err(Error::shape(
                    format!(
                        "{}, for a batch of this network and its loss",
                        tensor.label()
                    ),
                    expected,
                    tensor.shape(),
                    "Make x as (rows, features), classes or weights as (1, rows), and values as (rows, outputs)",
                ));
            }
        }
        Ok(())
    }
}
