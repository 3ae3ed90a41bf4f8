//! Whether the head of a network is fused in a step, and whether that is faster.

use super::{Rows, Training};
use crate::error::Unfused;
use crate::model::ModelHead;
use crate::ops::head::Head;

/// The head of a network that is trained.
pub(super) fn of(training: &Training<'_>) -> Result<ModelHead, Unfused> {
    if matches!(training.rows, Rows::Tensors(_)) {
        return Err(Unfused::Features);
    }
    training.model.head(Head::form_for(training.model.gpu()))
}

/// The same, if it is taken for the faster one.
pub(super) fn if_faster(training: &Training<'_>) -> Result<ModelHead, Unfused> {
    let _head = of(training)?;
    Err(Unfused::SlowerHead { fused: 0, layers: 0, because: "nothing is measured" })
}

/// Of two reasons the one that says more.
pub(super) fn more_telling(unfused: Unfused, _of_head: Unfused) -> Unfused {
    unfused
}
