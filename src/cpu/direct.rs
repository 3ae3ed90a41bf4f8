//! Predictions, losses and gradients for rows that the caller passes. The layers run as in a prediction: `Dropout`
//! drops nothing, and the layers' state does not change.

use ndarray::{Array2, ArrayView2};

use super::network::named;
use super::passes::Context;
use super::{Network, footprint};
use crate::confusion::correct;
use crate::error::Error;
use crate::fit::{check_features, check_targets};
use crate::network::{Activation, Parameters, Wanted};
use crate::ops::{Loss, SoftmaxCrossEntropy, weight_of_rows};
use crate::reference::{Float, LossPass, Targets};

impl<F: Float> Network<F> {
    /// Computes the outputs (rows, outputs) of rows `x` (rows, features); `x` may have no rows. The rows are computed a
    /// few hundred at a time, so that even many rows need little more memory than their outputs.
    ///
    /// # Errors
    /// [`Error::Shape`] when `x` has the wrong number of columns, [`Error::Memory`] when the host has too little memory
    /// for the outputs.
    pub fn predict(&self, x: ArrayView2<'_, F>) -> Result<Array2<F>, Error> {
        check_features(self.graph(), x)?;
        self.outputs_of(x)
    }

    /// Computes the mean loss over rows `x` (rows, features) and their targets.
    ///
    /// # Errors
    /// [`Error::Shape`] when `x` has the wrong number of columns or the target values have another shape than the
    /// outputs, [`Error::Count`] when the number of labels is not the number of rows, [`Error::Setting`] when there are
    /// no rows, a label is not a class of the network, or the loss does not support this kind of targets.
    pub fn loss(
        &self,
        loss: &dyn Loss,
        x: ArrayView2<'_, F>,
        targets: Targets<'_, F>,
    ) -> Result<F, Error> {
        check_targets(self.graph(), loss, x, &targets)?;
        let criterion = self.passes.criterion(loss);
        let mut sum = F::zero();
        let weight =
            |of: &Targets<'_, F>, rows| F::from_f64(weight_of_rows(loss, rows, of.labels()));
        self.for_each_pass_over(x, |rows, outputs, unread| {
            let count = rows.len();
            let targets = targets.of_rows(rows);
            let weight = weight(&targets, count);
            let pass = LossPass::new(outputs, targets, unread);
            sum += weight * F::criterion(&criterion).forward_backward(pass);
        })?;
        Ok(sum / weight(&targets, x.nrows()))
    }

    /// Computes the accuracy, from 0 to 1: the fraction of rows whose largest logit is the logit of their label.
    ///
    /// # Errors
    /// The errors of [`loss`](Self::loss).
    pub fn accuracy(&self, x: ArrayView2<'_, F>, labels: &[u32]) -> Result<f64, Error> {
        let targets = Targets::<F>::Classes(labels);
        check_targets(self.graph(), &SoftmaxCrossEntropy, x, &targets)?;
        let mut hits = 0;
        self.for_each_pass_over(x, |rows, logits, _| hits += correct(logits, &labels[rows]))?;
        Ok(hits as f64 / labels.len() as f64)
    }

    /// Computes the gradients of the mean [`loss`](Self::loss) with respect to all parameters, by backpropagation. All
    /// rows are computed in one pass, so memory grows with their number.
    ///
    /// # Errors
    /// The errors of [`loss`](Self::loss), and [`Error::Memory`] when the host has too little memory for the
    /// activations of these rows.
    pub fn gradient(
        &self,
        loss: &dyn Loss,
        x: ArrayView2<'_, F>,
        targets: Targets<'_, F>,
    ) -> Result<Parameters<F>, Error> {
        check_targets(self.graph(), loss, x, &targets)?;
        footprint::check_gradient::<F>(&self.passes, x.nrows())?;
        let mut work = self
            .passes
            .workspace(x.nrows(), false, &Wanted::parameters(self.graph()));
        self.passes.copy_inputs(x, &mut work.values);
        let mut state = self.state.clone();
        let mut context = Context {
            parameters: &self.parameters,
            state: &mut state,
            step: None,
        };
        let criterion = self.passes.criterion(loss);
        let compared = (F::criterion(&criterion), targets);
        self.passes
            .forward_backward(&mut work, &mut context, compared, None);
        Ok(named(&self.graph().parameters, &work.gradients))
    }

    /// Computes the same gradients as [`gradient`](Self::gradient), by central differences:
    /// `(L(p + h) − L(p − h)) / 2h` for loss `L` and parameter `p`.
    ///
    /// `h` is the cube root of the float type's epsilon (6·10⁻⁶ in `f64`). With this `h`, the rounding error and the
    /// error from the loss's curvature are about equal. The `h` of "Deep Learning from Scratch", 10⁻⁴, would cross the
    /// kink of a `Relu` 16 times as often.
    ///
    /// # Errors
    /// The errors of [`loss`](Self::loss).
    pub fn numerical_gradient(
        &mut self,
        loss: &dyn Loss,
        x: ArrayView2<'_, F>,
        targets: Targets<'_, F>,
    ) -> Result<Parameters<F>, Error> {
        check_targets(self.graph(), loss, x, &targets)?;
        let h = F::epsilon().cbrt();
        let mut gradients = Vec::new();
        for index in 0..self.parameters.len() {
            let mut gradient = self.passes.zeros_like(index);
            for (at, gradient) in gradient.indexed_iter_mut() {
                let value = self.parameters[index][at];
                let mut loss_at = |changed| {
                    self.parameters[index][at] = changed;
                    let loss = self.loss(loss, x, targets);
                    self.parameters[index][at] = value;
                    loss
                };
                let above = loss_at(value + h)?;
                let below = loss_at(value - h)?;
                *gradient = (above - below) / (h + h);
            }
            gradients.push(gradient);
        }
        Ok(named(&self.graph().parameters, &gradients))
    }

    /// Returns all activations of the network for rows `x` (rows, features), with their names and in the order in which
    /// they are computed: inputs, layer outputs, sums and concatenations.
    ///
    /// ```
    /// use wgrad::TwoLayerNet;
    /// use wgrad::ndarray::Array2;
    ///
    /// let network = TwoLayerNet::spec(784, 50, 10).on_cpu()?;
    /// let activations = network.activations(Array2::ones((3, 784)).view())?;
    /// let names: Vec<&str> = activations.iter().map(|of| &*of.name).collect();
    /// assert_eq!(names, ["input", "layers.0", "layers.1", "layers.2"]);
    /// assert_eq!(activations[1].values.dim(), (3, 50));
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when `x` has the wrong number of columns, [`Error::Memory`] when the host has too little memory
    /// for the activations of all rows.
    pub fn activations(&self, x: ArrayView2<'_, F>) -> Result<Vec<Activation<F>>, Error> {
        check_features(self.graph(), x)?;
        footprint::check_values::<F>(&self.passes, x.nrows())?;
        let mut values = self.passes.values(x.nrows());
        self.passes.copy_inputs(x, &mut values);
        let mut state = self.state.clone();
        let mut context = Context {
            parameters: &self.parameters,
            state: &mut state,
            step: None,
        };
        let mut kept = self.passes.kept(x.nrows());
        self.passes
            .forward_apart(&mut values, &mut kept, &mut context);
        let all = self.graph().values.iter().zip(values);
        let all = all.map(|(of, values)| Activation::new(of.name.clone(), of.shape, values));
        Ok(all.collect())
    }
}
