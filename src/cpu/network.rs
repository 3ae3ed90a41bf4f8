#[cfg(feature = "onnx")]
mod onnx;
mod saving;

use std::sync::Arc;

use ndarray::{Array2, ArrayD, ArrayViewD, Zip};

use super::footprint;
use super::passes::Passes;
use crate::data::FittedColumns;
use crate::error::Error;
use crate::network::{
    Graph, Parameter, Parameters, Sequential, array, check_all, check_shape, find, row_major,
};
use crate::ops::mix;
use crate::reference::Float;
use crate::shape::Shape;

/// A network on the CPU: its layers, parameters and layer state (for example, running means). A clone copies the
/// parameters and the state.
#[derive(Debug)]
pub struct Network<F = f32> {
    pub(super) passes: Arc<Passes>,
    /// One matrix per parameter, in the order of the graph's parameters. `state` has one matrix per state array of the
    /// layers.
    pub(super) parameters: Vec<Array2<F>>,
    pub(super) state: Vec<Array2<F>>,
}

impl Sequential {
    /// Builds the network on the CPU with its initial parameters, in `f32`. For `f64`, use [`Network::new`].
    ///
    /// # Errors
    /// [`Error::Setting`] when the specification is invalid, [`Error::Memory`] when the host has too little memory for
    /// the network.
    pub fn on_cpu(&self) -> Result<Network<f32>, Error> {
        Network::new(self)
    }
}

impl<F: Float> Network<F> {
    /// Builds the network that `spec` describes, with its initial parameters.
    ///
    /// # Errors
    /// [`Error::Setting`] when the specification is invalid, [`Error::Memory`] when the host has too little memory for
    /// the network.
    pub fn new(spec: &Sequential) -> Result<Self, Error> {
        Self::with(Passes::fast(spec.graph()?))
    }

    /// Builds a network for comparison: every layer runs its definition in [`crate::reference`]. The faster layers of
    /// [`new`](Self::new) may round the last bits of a result differently.
    ///
    /// # Errors
    /// The errors of [`new`](Self::new).
    pub fn by_definition(spec: &Sequential) -> Result<Self, Error> {
        Self::with(Passes::by_definition(spec.graph()?))
    }

    pub(super) fn with(passes: Passes) -> Result<Self, Error> {
        footprint::check_network::<F>(&passes.graph)?;
        Ok(Self {
            parameters: initial(passes.graph.initial_parameters()),
            state: initial(passes.graph.initial_state()),
            passes: Arc::new(passes),
        })
    }

    /// Builds a network with these parameters and this state.
    fn of_values(
        passes: Passes,
        parameters: &Parameters<F>,
        state: &Parameters<F>,
    ) -> Result<Self, Error> {
        footprint::check_copy::<F>(&passes.graph)?;
        let ordered = |all: &[Parameter], values: &Parameters<F>| {
            let mut to: Vec<Array2<F>> = all.iter().map(zeros).collect();
            set_all(all, &mut to, values).map(|()| to)
        };
        Ok(Self {
            parameters: ordered(&passes.graph.parameters, parameters)?,
            state: ordered(&passes.graph.state, state)?,
            passes: Arc::new(passes),
        })
    }

    /// Resets the layers' state to its initial values.
    pub(super) fn reset_state(&mut self) {
        self.state = initial(self.graph().initial_state());
    }

    pub(super) fn graph(&self) -> &Graph {
        &self.passes.graph
    }

    /// Number of features per row, over all inputs.
    #[must_use]
    pub fn features(&self) -> usize {
        self.graph().features()
    }

    /// Shape of one row of outputs.
    #[must_use]
    pub fn output(&self) -> Shape {
        self.graph().output().shape
    }

    /// The table columns from which a row of features is built. `None` unless the network was made by
    /// [`Sequential::of`] or [`Sequential::with_columns`], or loaded from a file that describes its columns.
    #[must_use]
    pub fn columns(&self) -> Option<&FittedColumns> {
        self.graph().columns.as_ref().map(|of| &of.columns)
    }

    /// Names of all parameters, in the order of the layers. Each is `layers.<index>.<name within the layer>`.
    pub fn parameter_names(&self) -> impl Iterator<Item = &str> {
        let all = self.graph().parameters.iter();
        all.map(|parameter| parameter.name.as_str())
    }

    /// Returns copies of all parameters.
    #[must_use]
    pub fn parameters(&self) -> Parameters<F> {
        named(&self.graph().parameters, &self.parameters)
    }

    /// Returns a copy of the state of all layers: values that the layers update themselves, not the optimizer, for
    /// example running means.
    #[must_use]
    pub fn state(&self) -> Parameters<F> {
        named(&self.graph().state, &self.state)
    }

    /// Returns a copy of the parameter with this name.
    ///
    /// # Errors
    /// [`Error::Setting`] when the network has no parameter with this name.
    pub fn parameter(&self, name: &str) -> Result<ArrayD<F>, Error> {
        let at = find(&self.graph().parameters, name)?;
        Ok(one(&self.graph().parameters[at], &self.parameters[at]))
    }

    /// Replaces all parameters. The order of `values` does not matter.
    ///
    /// # Errors
    /// [`Error::Setting`] when a parameter is missing, unknown, or has another shape; then no parameter is replaced.
    pub fn set_parameters(&mut self, values: &Parameters<F>) -> Result<(), Error> {
        set_all(&self.passes.graph.parameters, &mut self.parameters, values)
    }

    /// Replaces the parameter with this name.
    ///
    /// # Errors
    /// [`Error::Setting`] when the network has no parameter with this name, or when `value` has another shape.
    pub fn set_parameter(&mut self, name: &str, value: ArrayViewD<'_, F>) -> Result<(), Error> {
        let at = find(&self.graph().parameters, name)?;
        check_shape(name, &self.graph().parameters[at].spec.shape, value.shape())?;
        set(&mut self.parameters[at], value);
        Ok(())
    }

    /// Replaces the state of all layers. The order of `values` does not matter.
    ///
    /// # Errors
    /// The errors of [`set_parameters`](Self::set_parameters).
    pub fn set_state(&mut self, values: &Parameters<F>) -> Result<(), Error> {
        set_all(&self.passes.graph.state, &mut self.state, values)
    }

    /// Copies the network, with its parameters and state. [`Clone`] does the same, but panics instead of returning an
    /// error.
    ///
    /// # Errors
    /// [`Error::Memory`] when the host has too little memory for the copy.
    pub fn try_clone(&self) -> Result<Self, Error> {
        footprint::check_copy::<F>(self.graph())?;
        Ok(Self {
            passes: Arc::clone(&self.passes),
            parameters: self.parameters.clone(),
            state: self.state.clone(),
        })
    }

    /// Copies the parameters and the state of another network of the same architecture.
    ///
    /// # Errors
    /// The errors of [`mix`](Self::mix).
    pub fn copy_from(&mut self, other: &Self) -> Result<(), Error> {
        self.mix(other, F::one())
    }

    /// Moves the parameters and the state toward those of another network of the same architecture.
    ///
    /// Each value becomes `own + share·(other − own)`; with `share` = 1 it becomes exactly `other`. With a small
    /// `share`, a target network slowly follows a network in training (Lillicrap and others, "Continuous control with
    /// deep reinforcement learning", 2016).
    ///
    /// ```
    /// use wgrad::TwoLayerNet;
    ///
    /// let trained = TwoLayerNet::spec(4, 8, 2).seed(1).on_cpu()?;
    /// let mut target = trained.try_clone()?;
    /// // After every step of the training of the first:
    /// target.mix(&trained, 0.005)?;
    /// assert_eq!(target.parameters(), trained.parameters());
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] when the other network has another architecture, or `share` is not between 0 and 1.
    pub fn mix(&mut self, other: &Self, share: F) -> Result<(), Error> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "to be compared with 0 and 1"
        )]
        let rounded = share.into_f64() as f32;
        mix::check(rounded)?;
        self.graph().check_alike(other.graph())?;
        let own = self.parameters.iter_mut().chain(&mut self.state);
        for (own, other) in own.zip(other.parameters.iter().chain(&other.state)) {
            Zip::from(own).and(other).for_each(|own, &other| {
                *own = if share == F::one() {
                    other
                } else {
                    *own + share * (other - *own)
                };
            });
        }
        Ok(())
    }
}

/// Copies the network, with its parameters and state.
///
/// # Panics
/// When the host has too little memory for the copy; [`try_clone`](Network::try_clone) returns an error instead.
impl<F: Float> Clone for Network<F> {
    #[expect(
        clippy::expect_used,
        reason = "as documented, and better than an allocation that ends the program"
    )]
    fn clone(&self) -> Self {
        self.try_clone().expect("room for a copy of a network")
    }
}

fn initial<'a, F: Float>(
    values: impl Iterator<Item = (&'a Parameter, Vec<f32>)>,
) -> Vec<Array2<F>> {
    let of = |(parameter, values): (&Parameter, Vec<f32>)| {
        let values = values.into_iter();
        // For `f32`, `collect` reuses the allocation.
        let values = values.map(|value| F::from_f64(value.into())).collect();
        matrix(parameter.spec.tensor_shape().dims(), values)
    };
    values.map(of).collect()
}

fn zeros<F: Float>(parameter: &Parameter) -> Array2<F> {
    Array2::zeros(parameter.spec.tensor_shape().dims())
}

/// Copies `values`, one matrix for each parameter in `all`, into a map from parameter name to array.
pub(super) fn named<F: Float>(all: &[Parameter], values: &[Array2<F>]) -> Parameters<F> {
    let values = all.iter().zip(values);
    values
        .map(|(parameter, value)| (parameter.name.clone(), one(parameter, value)))
        .collect()
}

fn one<F: Float>(parameter: &Parameter, value: &Array2<F>) -> ArrayD<F> {
    array(&parameter.spec.shape, row_major(value.view().into_dyn()))
}

fn set_all<F: Float>(
    all: &[Parameter],
    to: &mut [Array2<F>],
    values: &Parameters<F>,
) -> Result<(), Error> {
    let expected = all
        .iter()
        .map(|Parameter { name, spec }| (name.as_str(), &spec.shape));
    check_all(expected, values)?;
    for (parameter, to) in all.iter().zip(to) {
        if let Some(value) = values.get(&parameter.name) {
            set(to, value.view());
        }
    }
    Ok(())
}

/// Copies values in row-major order, for any memory order of both arrays.
fn set<F: Float>(to: &mut Array2<F>, value: ArrayViewD<'_, F>) {
    to.iter_mut()
        .zip(value.iter())
        .for_each(|(to, &value)| *to = value);
}

/// Makes a matrix from row-major values.
#[expect(clippy::expect_used, reason = "anything else is a bug of ours")]
fn matrix<F: Float>(dims: [usize; 2], values: Vec<F>) -> Array2<F> {
    Array2::from_shape_vec(dims, values).expect("a parameter has as many values as its shape")
}

#[cfg(test)]
mod tests;
