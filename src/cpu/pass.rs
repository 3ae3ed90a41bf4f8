//! The parts of a step as separate calls: a forward pass, a backward pass by any gradient, and then an
//! [`Updater`](super::Updater).

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

/// A forward and backward pass of training over a fixed number of rows. It owns the activations and the gradients; the
/// network owns the parameters. [`crate::Pass`] is its counterpart on a GPU.
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
/// A program for this engine alone can avoid copies: [`y`](Self::y) and [`dx`](Self::dx) return views, and
/// [`dy`](Self::dy) returns a view to write to.
#[derive(Debug)]
pub struct Pass<F = f32> {
    passes: Arc<Passes>,
    spec: PassSpec,
    pub(super) work: Workspace<F>,
    /// The gradient by the features, (rows, features), where the network has several inputs to collect it from.
    dx: Option<Array2<F>>,
    /// Backward passes so far. Random layers draw different numbers in each of them.
    count: u32,
}

impl<F: Float> Network<F> {
    /// Allocates a pass over this many rows: `network.pass(64)`. A [`PassSpec`] can also request the gradient by the
    /// input.
    ///
    /// # Errors
    /// [`Error::Setting`] for zero rows, [`Error::Memory`] when the host has no room for the activations of so many
    /// rows.
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

    /// Sets the features, (rows, features). They stay until they are replaced.
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

    /// Sets the gradient by the outputs, (rows, outputs). Set it before each [`backward`](Self::backward), which reuses
    /// its memory. For a mean over rows, divide each row's gradient by the number of rows.
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
    /// Never. The result has the same type as that of [`crate::Pass`], which reads from a device.
    pub fn read_y(&self) -> Result<Array2<F>, Error> {
        Ok(self.y().to_owned())
    }

    /// Returns a copy of the gradient by the features, (rows, features), after [`backward`](Self::backward); `None`
    /// where the [`PassSpec`] did not request it.
    ///
    /// # Errors
    /// Never; see [`read_y`](Self::read_y).
    pub fn read_dx(&self) -> Result<Option<Array2<F>>, Error> {
        Ok(self.dx().map(|dx| dx.to_owned()))
    }

    /// Returns a copy of the gradients by all parameters, after [`backward`](Self::backward). An update clips them in
    /// place, and sets those of frozen parameters to 0.
    ///
    /// # Errors
    /// Never; see [`read_y`](Self::read_y).
    pub fn read_gradients(&self) -> Result<Parameters<F>, Error> {
        Ok(named(&self.passes.graph.parameters, &self.work.gradients))
    }

    /// Computes [`y`](Self::y) as in a training step: layers such as `Dropout` draw random numbers, and state changes.
    ///
    /// # Errors
    /// [`Error::Setting`] when `network` is not the network of the pass.
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

    /// A view of the outputs, (rows, outputs).
    #[must_use]
    pub fn y(&self) -> ArrayView2<'_, F> {
        self.work.values[self.passes.output()].view()
    }

    /// A view to write the gradient by [`y`](Self::y) to, (rows, outputs): see [`set_dy`](Self::set_dy).
    pub fn dy(&mut self) -> ArrayViewMut2<'_, F> {
        self.work.outputs(&self.passes).1
    }

    /// Computes the gradients by all parameters from [`dy`](Self::dy), and by the input where that was requested.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
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

    /// A view of the gradient by the features, (rows, features), after [`backward`](Self::backward); `None` where the
    /// [`PassSpec`] did not request it.
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
