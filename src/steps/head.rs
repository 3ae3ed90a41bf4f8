//! Decides whether a step fuses the network's head, and whether that is faster.

use super::{Rows, Training};
use crate::error::Unfused;
use crate::kernel::Element;
use crate::model::ModelHead;
use crate::ops::head::{Head, HeadLoss};

/// The head of the trained network, or why it cannot be fused.
pub(super) fn of(training: &Training<'_>) -> Result<ModelHead, Unfused> {
    check(training)?;
    let model = training.model;
    let head = model.head(Head::form_for(model.gpu()))?;
    head.check_rows(model, rows(training))?;
    Ok(head)
}

/// The head, if fusing it is estimated to be faster.
pub(super) fn if_faster(training: &Training<'_>) -> Result<ModelHead, Unfused> {
    check(training)?;
    let head = training.model.faster_head()?;
    head.check_wanted(training.model, &training.updater.wanted())?;
    head.check_rows(training.model, rows(training))?;
    Ok(head)
}

/// [`if_faster`] for rows of floats; `otherwise` for rows of bytes.
pub(super) fn of_rows(training: &Training<'_>, otherwise: Unfused) -> Result<ModelHead, Unfused> {
    if takes_floats(training) {
        if_faster(training)
    } else {
        Err(otherwise)
    }
}

/// Number of rows in a pass.
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

/// Whether rows are floats. A first layer that takes bytes directly reads a quarter of the memory of floats.
fn takes_floats(training: &Training<'_>) -> bool {
    match training.rows {
        Rows::Minibatches(rows) => rows.resident.features().element() == Element::F32,
        Rows::Tensors(_) => true,
    }
}
