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
    model.head(Head::form_for(model.gpu()))
}

/// The same, if it is taken for the faster one.
pub(super) fn if_faster(training: &Training<'_>) -> Result<ModelHead, Unfused> {
    check(training)?;
    let Rows::Minibatches { resident, .. } = training.rows else {
        return Err(Unfused::Features);
    };
    let head = training.model.faster_head()?;
    head.check_wanted(&training.updater.wanted())?;
    // A first layer that takes bytes as they are reads a quarter of what floats are.
    if head.input() == 0 && resident.features().element() != Element::F32 {
        return Err(Unfused::Features);
    }
    Ok(head)
}

fn check(training: &Training<'_>) -> Result<(), Unfused> {
    if matches!(training.rows, Rows::Tensors(_)) {
        return Err(Unfused::Features);
    }
    HeadLoss::of(training.loss).ok_or(Unfused::RowLoss)?;
    Ok(())
}

/// Of why neither two dispatches nor a fused head are taken, what says more: of rows of floats that about the head.
pub(super) fn more_telling(training: &Training<'_>, fused: Unfused, head: Unfused) -> Unfused {
    match training.rows {
        Rows::Minibatches { resident, .. } if resident.features().element() == Element::F32 => head,
        _ => fused,
    }
}
