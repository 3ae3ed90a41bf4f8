//! Steps on rows that are passed to each call.

use ndarray::ArrayView2;

use super::Trainer;
#[cfg(not(target_arch = "wasm32"))]
use crate::distributed::check_alone;
use crate::error::{Error, TargetKind};
use crate::fit::{check_given, check_weights};
use crate::kernel::Element;
use crate::model::Model;
use crate::plan::Plan;
use crate::reference::Targets;
use crate::steps::{Batch, Rows, Steps, Training};
use crate::tensor::Tensor;

/// The tensors and the recorded step for one number of rows.
#[derive(Debug)]
pub(super) struct GivenStep {
    batch: Batch,
    step: Plan,
}

impl Trainer {
    /// Takes a step on the minibatch `x` (rows, features) and its targets.
    ///
    /// Returns the mean loss before the update, so it waits for the device. The trainer keeps the buffers of the four
    /// row counts used last, so that a further step with the same count starts quickly.
    ///
    /// ```
    /// use wgrad::ndarray::Array2;
    /// use wgrad::ops::{Adam, Linear, MeanSquaredError};
    /// use wgrad::{Gpu, Sequential, Targets, Trainer};
    ///
    /// let model = Sequential::input(3).layer(Linear::new(1)).build(&Gpu::new()?)?;
    /// let mut trainer = Trainer::online(model, MeanSquaredError, Adam::new(0.05))?;
    /// let (x, y) = (Array2::ones((8, 3)), Array2::ones((8, 1)));
    /// for _ in 0..200 {
    ///     trainer.advance_on(x.view(), Targets::Values(y.view()))?; // does not wait
    /// }
    /// assert!(trainer.step_on(x.view(), Targets::Values(y.view()))? < 0.001);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Count`] or [`Error::Setting`] when rows or targets do not fit the network or the
    /// loss, [`Error::Diverged`] when a loss shows a divergence (see `steps`), [`Error::Limit`] or
    /// [`Error::OutOfMemory`] when the GPU has no memory for so many rows, or another error of the device.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn step_on(
        &mut self,
        x: ArrayView2<'_, f32>,
        targets: Targets<'_, f32>,
    ) -> Result<f32, Error> {
        self.advance_on(x, targets)?;
        self.last_loss()
    }

    /// [`step_on`](Self::step_on) with one weight per row. The weight multiplies the row's loss and its gradient. The
    /// loss is still the weighted sum divided by the number of rows, so weights of 1 change nothing.
    ///
    /// # Errors
    /// The errors of [`step_on`](Self::step_on), [`Error::Count`] when the number of weights differs from the number of
    /// rows, and [`Error::Setting`] when a weight is not finite.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn step_on_weighted(
        &mut self,
        x: ArrayView2<'_, f32>,
        targets: Targets<'_, f32>,
        weights: &[f32],
    ) -> Result<f32, Error> {
        self.advance_on_weighted(x, targets, weights)?;
        self.last_loss()
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn last_loss(&mut self) -> Result<f32, Error> {
        Ok(self.losses(1)?[0])
    }

    /// [`step_on`](Self::step_on) without waiting: submits the step and returns at once. The loss stays on the GPU;
    /// [`losses_async`](Self::losses_async) reads it.
    ///
    /// # Errors
    /// The errors of [`step_on`](Self::step_on). [`Error::Diverged`] appears only after the program has read a loss
    /// that shows the divergence.
    pub fn advance_on(
        &mut self,
        x: ArrayView2<'_, f32>,
        targets: Targets<'_, f32>,
    ) -> Result<(), Error> {
        self.advance_on_given(x, targets, None)
    }

    /// [`advance_on`](Self::advance_on) with one weight per row.
    ///
    /// # Errors
    /// The errors of [`advance_on`](Self::advance_on), [`Error::Count`] when the number of weights differs from the
    /// number of rows, and [`Error::Setting`] when a weight is not finite.
    pub fn advance_on_weighted(
        &mut self,
        x: ArrayView2<'_, f32>,
        targets: Targets<'_, f32>,
        weights: &[f32],
    ) -> Result<(), Error> {
        check_weights(x.nrows(), weights)?;
        self.advance_on_given(x, targets, Some(weights))
    }

    fn advance_on_given(
        &mut self,
        x: ArrayView2<'_, f32>,
        targets: Targets<'_, f32>,
        weights: Option<&[f32]>,
    ) -> Result<(), Error> {
        self.soundness.check()?;
        #[cfg(not(target_arch = "wasm32"))]
        check_alone(
            self.data_parallel.as_deref(),
            "step_on, whose rows the caller passes",
        )?;
        check_given(self.model.graph(), &*self.loss, x, &targets)?;
        let rows = x.nrows();
        let is_weighted = weights.is_some();
        let is_it = |given: &GivenStep| {
            given.batch.rows() == rows && given.batch.weights.is_some() == is_weighted
        };
        let make = || {
            let batch = batch(&self.model, rows, self.loss.targets(), is_weighted)?;
            let step = Steps::on_tensors(&Training {
                model: &self.model,
                loss: &*self.loss,
                updater: &self.updater,
                rows: Rows::Tensors(&batch),
                history: &self.history,
            })?;
            Ok::<_, Error>(GivenStep { batch, step })
        };
        let given = self.given.find_or_make(is_it, make)?;
        let gpu = self.model.gpu();
        let Batch {
            x: features,
            targets: compared,
            weights: of_rows,
        } = &given.batch;
        gpu.write_view(features, x)?;
        match targets {
            Targets::Classes(labels) => gpu.write(compared, labels)?,
            Targets::Values(values) => gpu.write_view(compared, values)?,
        }
        if let (Some(of_rows), Some(weights)) = (of_rows, weights) {
            gpu.write(of_rows, weights)?;
        }
        self.updater.announce(1)?;
        gpu.submit(&given.step, 1)?;
        self.updater.advance(1);
        // A step on a data set may have prepared the next one with the old parameters.
        self.source.step_count_changed();
        Ok(())
    }
}

/// Makes the tensors for a minibatch of `rows` rows.
fn batch(
    model: &Model,
    rows: usize,
    targets: TargetKind,
    is_weighted: bool,
) -> Result<Batch, Error> {
    let features = model.features_tensor(rows, Element::F32)?;
    let batch = Batch::new(&features, &model.targets_tensor(rows, targets)?);
    if !is_weighted {
        return Ok(batch);
    }
    let label = "weights of rows";
    let weights = Tensor::zeros(model.gpu(), label, [1, rows], Element::F32)?;
    Ok(batch.weights(&weights))
}
