//! Training steps on rows that the caller passes.

use ndarray::{ArrayView2, s};

use super::super::Network;
use super::super::footprint;
use super::super::passes::Context;
use super::super::workspace::Workspace;
use super::{Trainer, as_f32};
#[cfg(not(target_arch = "wasm32"))]
use crate::distributed::check_alone;
use crate::error::Error;
use crate::fit::{check_given, check_weights};
use crate::network::Wanted;
use crate::ops::{self, weight_of_rows};
use crate::reference::{Float, Loss, LossPass, Targets};

/// Allocates a workspace for a step on `rows` rows.
fn room<F: Float>(
    network: &Network<F>,
    rows: usize,
    wanted: &Wanted,
) -> Result<Workspace<F>, Error> {
    footprint::check_gradient::<F>(&network.passes, rows)?;
    Ok(network.passes.workspace(rows, false, wanted))
}

impl<F: Float> Trainer<F> {
    /// Takes one step on rows `x` (rows, features) and their targets; returns their mean loss before the update. The
    /// trainer keeps the memory for the four most recent row counts, so that the next step with one of these counts
    /// allocates nothing.
    ///
    /// ```
    /// use wgrad::ndarray::{Array2, ArrayView2};
    /// use wgrad::ops::{Adam, Linear, MeanSquaredError};
    /// use wgrad::{Sequential, Targets, cpu};
    ///
    /// let network = Sequential::input(3).layer(Linear::new(1)).on_cpu()?;
    /// let mut trainer = cpu::Trainer::online(network, MeanSquaredError, Adam::new(0.05))?;
    /// let (x, y) = (Array2::ones((8, 3)), Array2::ones((8, 1)));
    /// for _ in 0..200 {
    ///     trainer.step_on(x.view(), Targets::Values(y.view()))?;
    /// }
    /// assert!(trainer.losses(1)?[0] < 0.001);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Count`] or [`Error::Setting`] when rows or targets do not fit the network or the
    /// loss, [`Error::Memory`] when the host has too little memory for this number of rows, [`Error::Diverged`] as in
    /// [`steps`](Self::steps).
    pub fn step_on(&mut self, x: ArrayView2<'_, F>, targets: Targets<'_, F>) -> Result<F, Error> {
        self.step_on_given(x, targets, None)
    }

    /// Takes one step like [`step_on`](Self::step_on), but does not return the loss; [`losses`](Self::losses) does.
    ///
    /// # Errors
    /// The errors of [`step_on`](Self::step_on).
    pub fn advance_on(
        &mut self,
        x: ArrayView2<'_, F>,
        targets: Targets<'_, F>,
    ) -> Result<(), Error> {
        self.step_on(x, targets).map(drop)
    }

    /// Takes one step like [`step_on_weighted`](Self::step_on_weighted), but does not return the loss;
    /// [`losses`](Self::losses) does.
    ///
    /// # Errors
    /// The errors of [`step_on_weighted`](Self::step_on_weighted).
    pub fn advance_on_weighted(
        &mut self,
        x: ArrayView2<'_, F>,
        targets: Targets<'_, F>,
        weights: &[F],
    ) -> Result<(), Error> {
        self.step_on_weighted(x, targets, weights).map(drop)
    }

    /// Takes one step like [`step_on`](Self::step_on), with one weight per row that multiplies the row's loss and
    /// gradient. The weights do not change the divisor of the mean loss, normally the number of rows: with weights of
    /// 1, the step is that of `step_on`.
    ///
    /// # Errors
    /// The errors of [`step_on`](Self::step_on), [`Error::Count`] when the number of weights is not the number of rows,
    /// and [`Error::Setting`] when a weight is not finite.
    pub fn step_on_weighted(
        &mut self,
        x: ArrayView2<'_, F>,
        targets: Targets<'_, F>,
        weights: &[F],
    ) -> Result<F, Error> {
        check_weights(x.nrows(), weights)?;
        self.step_on_given(x, targets, Some(weights))
    }

    fn step_on_given(
        &mut self,
        x: ArrayView2<'_, F>,
        targets: Targets<'_, F>,
        weights: Option<&[F]>,
    ) -> Result<F, Error> {
        self.soundness.check()?;
        #[cfg(not(target_arch = "wasm32"))]
        check_alone(
            self.data_parallel.as_deref(),
            "step_on, whose rows the caller passes",
        )?;
        check_given(self.network.graph(), &*self.loss, x, &targets)?;
        let coefficients = self.updater.coefficients()?;
        let before = self.steps_taken();
        let step = self.step_in_u32();
        let network = &mut self.network;
        let updater = &mut self.updater;
        let rows = x.nrows();
        let is_it = |work: &Workspace<F>| work.rows() == rows;
        let make = || room(network, rows, &updater.wanted());
        let work = self.given.find_or_make(is_it, make)?;
        network.passes.copy_inputs(x, &mut work.values);
        let criterion = F::criterion(&self.criterion);
        let is_shared = network.passes.is_shared(rows);
        let step = || {
            let Network {
                passes,
                parameters,
                state,
            } = &mut *network;
            let mut context = Context {
                parameters,
                state,
                step: Some([step, 0]),
            };
            passes.forward(&mut work.values, &mut work.kept, &mut context, None);
            let loss = match weights {
                None => passes.loss(work, (criterion, targets)),
                Some(weights) => {
                    let (y, dy) = work.outputs(passes);
                    weighted((&*self.loss, criterion), (y, dy), targets, weights)
                }
            };
            passes.backward(work, &context.of_backward(), None);
            updater.apply(coefficients, network, &mut work.gradients);
            loss
        };
        let loss = if is_shared {
            self.sharing.take(step)
        } else {
            self.sharing.take_alone(step)
        };
        self.remember(&[loss]);
        if !self.soundness.is_sound(as_f32(loss)) {
            self.soundness.judge(before, &[as_f32(loss)])?;
        }
        Ok(loss)
    }
}

/// Returns the mean of the weighted losses of rows `y`, and writes the mean's gradient with respect to `y` to `dy`.
/// [`ops::Loss::class_weights`] defines the mean for a loss with class weights.
fn weighted<F: Float>(
    (loss, criterion): (&dyn ops::Loss, &dyn Loss<F>),
    (y, mut dy): (ArrayView2<'_, F>, ndarray::ArrayViewMut2<'_, F>),
    targets: Targets<'_, F>,
    weights: &[F],
) -> F {
    let scale = F::one() / F::from_f64(weight_of_rows(loss, weights.len(), targets.labels()));
    let mut sum = F::zero();
    for (row, &weight) in weights.iter().enumerate() {
        let of_row = targets.of_rows(row..row + 1);
        let weight = weight * F::from_f64(weight_of_rows(loss, 1, of_row.labels()));
        let mut doutputs = dy.slice_mut(s![row..=row, ..]);
        let pass = LossPass::new(y.slice(s![row..=row, ..]), of_row, doutputs.view_mut());
        sum += weight * criterion.forward_backward(pass);
        doutputs.mapv_inplace(|gradient| gradient * weight * scale);
    }
    sum * scale
}
