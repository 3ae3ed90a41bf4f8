//! Outputs of rows that are given, between steps.

use ndarray::{Array2, ArrayView2};

use super::Trainer;
use crate::error::Error;
#[cfg(doc)]
use crate::model::Model;

impl Trainer {
    /// Outputs (rows, outputs) of rows `x` (rows, features) with the parameters of the time of this call, so that the
    /// training may go on while the future waits. Room for the last numbers of rows is kept, so that the next call with
    /// as many is fast; for many rows there is [`Model::predict`]. Of no rows there are no outputs.
    ///
    /// # Errors
    /// [`Error::Shape`] when `x` has another number of columns, [`Error::Limit`] or [`Error::OutOfMemory`] without room
    /// for so many; or another error of the device.
    pub fn predict_async(
        &mut self,
        x: ArrayView2<'_, f32>,
    ) -> impl Future<Output = Result<Array2<f32>, Error>> + use<> {
        self.passes.predict(&self.model, x)
    }
}
