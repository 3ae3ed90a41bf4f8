//! Predictions for rows of the program, between steps.

use ndarray::{Array2, ArrayView2};

use super::Trainer;
use crate::error::Error;
#[cfg(doc)]
use crate::model::Model;

impl Trainer {
    /// Computes the outputs (rows, outputs) for the inputs `x` (rows, features), with the parameters at the time of
    /// this call. The training may continue while the future waits.
    ///
    /// The trainer keeps the buffers of the four row counts used last, so that a further call with the same count
    /// starts quickly. For many rows, use [`Model::predict`]. For zero rows, the result is empty.
    ///
    /// # Errors
    /// [`Error::Shape`] when `x` has the wrong number of columns, [`Error::Limit`] or [`Error::OutOfMemory`] when the
    /// GPU has no memory for so many rows, or another error of the device.
    pub fn predict_async(
        &mut self,
        x: ArrayView2<'_, f32>,
    ) -> impl Future<Output = Result<Array2<f32>, Error>> + use<> {
        self.passes.predict(&self.model, x)
    }
}
