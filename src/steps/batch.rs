//! Rows in the caller's tensors.

use crate::error::{Error, TargetKind};
use crate::kernel::Element;
use crate::model::Model;
use crate::ops::Loss;
use crate::tensor::Tensor;

/// Rows of a training step in the program's own tensors, which its kernels may change between steps: see
/// [`Trainer::external`](crate::Trainer::external).
#[derive(Debug, Clone)]
pub struct Batch {
    pub(crate) x: Tensor,
    pub(crate) targets: Tensor,
    pub(crate) weights: Option<Tensor>,
}

impl Batch {
    /// Features `x` (rows, features) of `f32`, and targets: classes (1, rows) of `u32`, or values (rows, outputs) of
    /// `f32`.
    ///
    /// The targets are not checked. An invalid class gives a loss that is NaN or that of another class; a probability
    /// outside 0 to 1 gives a loss that is NaN.
    #[must_use]
    pub fn new(x: &Tensor, targets: &Tensor) -> Self {
        Self {
            x: x.clone(),
            targets: targets.clone(),
            weights: None,
        }
    }

    /// Adds a weight for each row, (1, rows) of `f32`. It multiplies the row's loss and its gradient. The mean still
    /// divides by the number of rows: weights of 1 change nothing.
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

    /// Checks that the rows fit the model, and that the targets fit the loss.
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
                        "{}, for a batch of this network and its loss,",
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
