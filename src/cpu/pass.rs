//! A training step as separate calls: a forward pass, a backward pass from a gradient that the caller computes, and
//! then an update by an [`Updater`](super::Updater).

use std::sync::Arc;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};

use super::network::named;
use super::passes::{BackwardContext, Context, Passes};
use super::workspace::{Workspace, matrix};
use super::{Network, footprint};
use crate::error::Error;
use crate::fit::{check_features, check_of_pass, check_rows};
use crate::network::{Parameters, PassSpec, Wanted};
use crate::reference::Float;

/// The forward and backward pass of a training step, over a fixed number of rows. The pass owns the activations and the
/// gradients; the network owns the parameters. [`crate::Pass`] is the counterpart on a GPU.
///
/// ```
/// use wgrad::Sequential;
/// use wgrad::cpu::Updater;
/// use wgrad::ndarray::Array2;
/// use wgrad::ops::{Adam, Linear, Tanh};
///
/// // Learns to give 1 for whatever it sees, by the gradient of ½(y − 1)².
/// let spec = Sequential::input(4).layer(Linear::new(8)).layer(Tanh).layer(Linear::new(1));
/// let mut network = spec.on_cpu()?;
/// let mut pass = network.pass(16)?;
/// let mut updater = Updater::new(&network, Adam::new(0.05))?;
/// pass.set_x(Array2::ones((16, 4)).view())?;
/// for _ in 0..50 {
///     pass.forward(&mut network)?;
///     let dy = (pass.read_y()? - 1.0) / 16.0;
///     pass.set_dy(dy.view())?;
///     pass.backward(&network)?;
///     updater.update(&mut network, &mut pass)?;
/// }
/// assert!((pass.read_y()?[(0, 0)] - 1.0).abs() < 0.1);
/// # Ok::<(), wgrad::Error>(())
/// ```
///
/// A program that runs only on the CPU can avoid copies: [`y`](Self::y) and [`dx`](Self::dx) return views, and
/// [`dy`](Self::dy) returns a mutable view.
#[derive(Debug)]
pub struct Pass<F = f32> {
    passes: Arc<Passes>,
    spec: PassSpec,
    pub(super) work: Workspace<F>,
    /// The gradient with respect to the features, (rows, features). Only for a network with several inputs, whose
    /// gradients are copied here; otherwise `None`.
    dx: Option<Array2<F>>,
    /// Number of backward passes so far. It seeds the layers that draw random numbers, so that each step draws other
    /// numbers.
    count: u32,
}

impl<F: Float> Network<F> {
    /// Allocates a pass over a fixed number of rows: `network.pass(64)`. A [`PassSpec`] can also request the gradient
    /// with respect to the features.
    ///
    /// # Errors
    /// [`Error::Setting`] for zero rows, [`Error::Memory`] when the host has too little memory for the activations and
    /// gradients of these rows.
    pub fn pass(&self, spec: impl Into<PassSpec>) -> Result<Pass<F>, Error> {
        let spec = spec.into();
        check_rows(spec.rows())?;
        footprint::check_gradient::<F>(&self.passes, spec.rows())?;
        let wanted = Wanted {
            input: spec.has_dx(),
            ..Wanted::parameters(self.graph())
        };
        Ok(Pass {
            passes: Arc::clone(&self.passes),
            work: self.passes.workspace(spec.rows(), false, &wanted),
            dx: (spec.has_dx() && self.graph().inputs > 1)
                .then(|| Array2::zeros((spec.rows(), self.features()))),
            spec,
            count: 0,
        })
    }
}

impl<F: Float> Pass<F> {
    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.spec.rows()
    }

    /// Checks that `network` is the network of this pass, or a copy of it.
    pub(super) fn check_network(&self, network: &Network<F>) -> Result<(), Error> {
        let is_same = Arc::ptr_eq(&self.passes, &network.passes)
            || self.passes.graph.check_alike(network.graph()).is_ok();
        if is_same {
            return Ok(());
        }
        let expected = "the network for which the pass was made, or a copy of it";
        Err(Error::setting(
            "network of a pass",
            expected,
            "another network",
        ))
    }

    /// Sets the features, (rows, features). They remain for all later steps, until the next call.
    ///
    /// # Errors
    /// [`Error::Shape`] when `x` has another shape.
    pub fn set_x(&mut self, x: ArrayView2<'_, F>) -> Result<(), Error> {
        let expected = [self.rows(), self.passes.graph.features()];
        check_of_pass("x of a pass, (rows, features)", expected, x.dim().into())?;
        check_features(&self.passes.graph, x)?;
        self.passes.copy_inputs(x, &mut self.work.values);
        Ok(())
    }

    /// Sets the gradient of the loss with respect to the outputs, (rows, outputs). Set it before each
    /// [`backward`](Self::backward), which overwrites it. If the loss is a mean over rows, divide each row's gradient
    /// by the number of rows.
    ///
    /// # Errors
    /// [`Error::Shape`] when `dy` has another shape.
    pub fn set_dy(&mut self, dy: ArrayView2<'_, F>) -> Result<(), Error> {
        let expected = [self.rows(), self.passes.graph.outputs()];
        check_of_pass("dy of a pass, (rows, outputs)", expected, dy.dim().into())?;
        self.dy().assign(&dy);
        Ok(())
    }

    /// Returns a copy of the outputs, (rows, outputs).
    ///
    /// # Errors
    /// Never returns an error. The type is a `Result` because its counterpart in [`crate::Pass`] reads from a device,
    /// which may fail.
    pub fn read_y(&self) -> Result<Array2<F>, Error> {
        Ok(self.y().to_owned())
    }

    /// Returns a copy of the gradient with respect to the features, (rows, features), as computed by the last
    /// [`backward`](Self::backward). `None` if the [`PassSpec`] did not request it.
    ///
    /// # Errors
    /// Never returns an error: see [`read_y`](Self::read_y).
    pub fn read_dx(&self) -> Result<Option<Array2<F>>, Error> {
        Ok(self.dx().map(|dx| dx.to_owned()))
    }

    /// Returns a copy of the gradients with respect to all parameters, as computed by the last
    /// [`backward`](Self::backward). An update changes them in place: it clips them if the optimizer clips, and sets
    /// the gradients of frozen parameters to 0.
    ///
    /// # Errors
    /// Never returns an error: see [`read_y`](Self::read_y).
    pub fn read_gradients(&self) -> Result<Parameters<F>, Error> {
        Ok(named(&self.passes.graph.parameters, &self.work.gradients))
    }

    /// Computes the outputs [`y`](Self::y) as in a training step: layers such as `Dropout` draw random numbers, and the
    /// layers' state is updated.
    ///
    /// # Errors
    /// [`Error::Setting`] when `network` is neither the network of this pass nor a copy of it.
    pub fn forward(&mut self, network: &mut Network<F>) -> Result<(), Error> {
        self.check_network(network)?;
        let Network {
            passes,
            parameters,
            state,
        } = network;
        let mut context = Context {
            parameters,
            state,
            step: Some([self.count, 0]),
        };
        let Workspace { values, kept, .. } = &mut self.work;
        passes.forward(values, kept, &mut context, None);
        Ok(())
    }

    /// Returns a view of the outputs, (rows, outputs), as computed by the last [`forward`](Self::forward).
    #[must_use]
    pub fn y(&self) -> ArrayView2<'_, F> {
        self.work.values[self.passes.output()].view()
    }

    /// Returns a mutable view, (rows, outputs), for the gradient with respect to [`y`](Self::y): see
    /// [`set_dy`](Self::set_dy).
    pub fn dy(&mut self) -> ArrayViewMut2<'_, F> {
        self.work.outputs(&self.passes).1
    }

    /// Computes the gradients with respect to all parameters from [`dy`](Self::dy), and with respect to the features if
    /// the [`PassSpec`] requested that.
    ///
    /// # Errors
    /// The errors of [`forward`](Self::forward).
    pub fn backward(&mut self, network: &Network<F>) -> Result<(), Error> {
        self.check_network(network)?;
        let context = BackwardContext {
            parameters: &network.parameters,
            state: &network.state,
            step: Some([self.count, 0]),
        };
        self.passes.backward(&mut self.work, &context, None);
        if let Some(dx) = &mut self.dx {
            for (input, first) in self.passes.inputs() {
                let dims = [self.spec.rows(), self.passes.columns(input)];
                let of_input = matrix(&self.work.deltas[self.work.plan.slot(input)], dims);
                dx.slice_mut(s![.., first..first + dims[1]])
                    .assign(&of_input);
            }
        }
        self.count = self.count.wrapping_add(1);
        Ok(())
    }

    /// Returns a view of the gradient with respect to the features, (rows, features), as computed by the last
    /// [`backward`](Self::backward). `None` if the [`PassSpec`] did not request it.
    #[must_use]
    pub fn dx(&self) -> Option<ArrayView2<'_, F>> {
        if !self.spec.has_dx() {
            return None;
        }
        let dims = [self.rows(), self.passes.graph.features()];
        Some(match &self.dx {
            Some(dx) => dx.view(),
            None => matrix(&self.work.deltas[self.work.plan.slot(0)], dims),
        })
    }
}
