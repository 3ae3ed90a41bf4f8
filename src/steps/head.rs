//! Decides whether the network's head can be fused, and whether fusing is faster: see
//! [`Fusion::Head`](super::Fusion::Head).

use super::{Rows, Training};
use crate::error::Unfused;
use crate::kernel::Element;
use crate::model::ModelHead;
use crate::ops::head::{Head, HeadLoss};

/// Returns the head of the trained network, or the reason why it cannot be fused.
pub(super) fn of(training: &Training<'_>) -> Result<ModelHead, Unfused> {
    check(training)?;
    let model = training.model;
    let head = model.head(Head::form_for(model.gpu()))?;
    head.check_rows(model, rows(training))?;
    Ok(head)
}

/// Returns the head if fusing it is possible and estimated to be faster; otherwise the reason why it is not.
pub(super) fn if_faster(training: &Training<'_>) -> Result<ModelHead, Unfused> {
    check(training)?;
    let head = training.model.faster_head()?;
    head.check_wanted(training.model, &training.updater.wanted())?;
    head.check_rows(training.model, rows(training))?;
    Ok(head)
}

/// Returns the result of [`if_faster`] if the features are floats, and the error `otherwise` if they are bytes.
pub(super) fn of_rows(training: &Training<'_>, otherwise: Unfused) -> Result<ModelHead, Unfused> {
    if takes_floats(training) {
        if_faster(training)
    } else {
        Err(otherwise)
    }
}

/// Number of rows of one minibatch.
fn rows(training: &Training<'_>) -> usize {
    match training.rows {
        Rows::Minibatches(minibatches) => minibatches.batch,
        Rows::Tensors(batch) => batch.rows(),
    }
}

fn check(training: &Training<'_>) -> Result<(), Unfused> {
    if matches!(training.rows, Rows::Tensors(batch) if batch.weights.is_some()) {
        return Err(Unfused::RowWeights);
    }
    HeadLoss::of(training.loss)?;
    Ok(())
}

/// Whether the features are floats. For features in bytes, the layers are not fused: a first layer that reads bytes
/// directly reads a quarter of the memory.
fn takes_floats(training: &Training<'_>) -> bool {
    match training.rows {
        Rows::Minibatches(rows) => rows.resident.features().element() == Element::F32,
        Rows::Tensors(_) => true,
    }
}
