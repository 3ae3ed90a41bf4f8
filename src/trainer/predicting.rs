//! Predictions for given rows, between steps.

use ndarray::{Array2, ArrayView2};

use super::Trainer;
use crate::error::Error;
#[cfg(doc)]
use crate::model::Model;

impl Trainer {
    /// Computes the outputs (rows, outputs) of rows `x` (rows, features) with the parameters at the time of this call;
    /// the training may continue while the future waits.
    ///
    /// Buffers for the four most recent row counts are kept, so that the next call with the same count is fast. For
    /// many rows, use [`Model::predict`]. The result for zero rows is empty.
    ///
    /// # Errors
    /// [`Error::Shape`] when `x` has the wrong number of columns, [`Error::Limit`] or [`Error::OutOfMemory`] when the
    /// GPU has no room for so many rows, or another error of the device.
    pub fn predict_async(
        &mut self,
        x: ArrayView2<'_, f32>,
    ) -> impl Future<Output = Result<Array2<f32>, Error>> + use<> {
        self.passes.predict(&self.model, x)
    }
}
