//! Whether the head of a network is fused in a step, and whether that is faster.

use super::{Rows, Training};
use crate::error::Unfused;
use crate::kernel::Element;
use crate::model::ModelHead;
use crate::ops::head::{Head, HeadLoss};

/// The head of a network that is trained.
pub(super) fn of(training: &Training<'_>) -> Result<ModelHead, Unfused> {
    check(training)?;
    let model = training.model;
    let head = model.head(Head::form_for(model.gpu()))?;
    head.check_rows(model, rows(training))?;
    Ok(head)
}

/// The same, if it is taken for the faster one.
pub(super) fn if_faster(training: &Training<'_>) -> Result<ModelHead, Unfused> {
    check(training)?;
    let head = training.model.faster_head()?;
    head.check_wanted(training.model, &training.updater.wanted())?;
    head.check_rows(training.model, rows(training))?;
    Ok(head)
}

/// The same over rows of floats; else why not.
pub(super) fn of_rows(training: &Training<'_>, otherwise: Unfused) -> Result<ModelHead, Unfused> {
    if takes_floats(training) {
        if_faster(training)
    } else {
        Err(otherwise)
    }
}

/// Rows of a pass.
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

/// Whether rows are floats: a first layer that takes bytes as they are reads a quarter of what floats are.
fn takes_floats(training: &Training<'_>) -> bool {
    match training.rows {
        Rows::Minibatches(rows) => rows.resident.features().element() == Element::F32,
        Rows::Tensors(_) => true,
    }
}
