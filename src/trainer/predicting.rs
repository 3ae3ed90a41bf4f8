//! Outputs of rows that are given, between steps.

use ndarray::{Array2, ArrayView2};

use super::Trainer;
use crate::error::Error;
use crate::fit::check_features;
use crate::kernel::Element;
use crate::model::{Model, read_matrix};
use crate::plan::Plan;
use crate::tensor::Tensor;

/// A forward pass over so many rows.
#[derive(Debug)]
pub(super) struct Pass {
    x: Tensor,
    y: Tensor,
    plan: Plan,
}

impl Pass {
    fn record(model: &Model, rows: usize) -> Result<Self, Error> {
        let x = model.features_tensor(rows, Element::F32)?;
        let y = model.output_tensor("outputs asked for", rows)?;
        let plan = model.forward_plan(&x, &y)?;
        Ok(Self { x, y, plan })
    }
}

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
        let none = Array2::zeros((0, self.model.graph().outputs()));
        let read = self
            .submit_pass(x)
            .map(|y| y.map(|y| read_matrix(self.model.gpu(), &y)));
        async move {
            match read? {
                Some(read) => read.await,
                None => Ok(none),
            }
        }
    }

    /// The outputs, of which there are none without rows.
    fn submit_pass(&mut self, x: ArrayView2<'_, f32>) -> Result<Option<Tensor>, Error> {
        check_features(self.model.graph(), x)?;
        if x.nrows() == 0 {
            return Ok(None);
        }
        let is_it = |pass: &Pass| pass.x.rows() == x.nrows();
        let make = || Pass::record(&self.model, x.nrows());
        let pass = self.passes.find_or_make(is_it, make)?;
        let gpu = self.model.gpu();
        gpu.write_view(&pass.x, x)?;
        gpu.submit(&pass.plan, 1)?;
        Ok(Some(pass.y.clone()))
    }
}
