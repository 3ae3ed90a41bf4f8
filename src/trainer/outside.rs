//! Replacing parameters and layer state with values that the program supplies.

use ndarray::ArrayViewD;

use super::Trainer;
use crate::checkpoint;
use crate::error::Error;
use crate::network::Parameters;

impl Trainer {
    /// Replaces all parameters: see [`Model::set_parameters`](crate::Model::set_parameters).
    ///
    /// The optimizer and the layers keep their state. A moving average restarts at the new parameters, so that it does
    /// not mix them with the old ones. After a divergence, both states may have been computed from diverged values, so
    /// the optimizer's state is set to zeros and the layers' state to that of a new network. To set another layer
    /// state, call [`set_state`](Self::set_state) afterwards.
    ///
    /// # Errors
    /// The errors of [`Model::set_parameters`](crate::Model::set_parameters), or an error of the device.
    pub fn set_parameters(&mut self, values: &Parameters) -> Result<(), Error> {
        self.source.parameters_changed();
        self.model.set_parameters(values)?;
        if self.begin_anew()? {
            self.model.reset_state()
        } else {
            Ok(())
        }
    }

    /// Replaces the parameter called `name`: see [`Model::set_parameter`](crate::Model::set_parameter).
    ///
    /// The moving average of this parameter restarts; the averages of the others continue. After a divergence, use
    /// [`set_parameters`](Self::set_parameters) to replace all parameters.
    ///
    /// # Errors
    /// The errors of [`Model::set_parameter`](crate::Model::set_parameter), or [`Error::Diverged`].
    pub fn set_parameter(&mut self, name: &str, value: ArrayViewD<'_, f32>) -> Result<(), Error> {
        self.soundness.check()?;
        self.source.parameters_changed();
        self.model.set_parameter(name, value)?;
        self.updater.begin_average(&self.model, Some(name))
    }

    /// Replaces the state of all layers: see [`Model::set_state`](crate::Model::set_state). After a divergence, replace
    /// the parameters first.
    ///
    /// # Errors
    /// The errors of [`Model::set_state`](crate::Model::set_state), or [`Error::Diverged`].
    pub fn set_state(&mut self, values: &Parameters) -> Result<(), Error> {
        self.soundness.check()?;
        self.source.parameters_changed();
        self.model.set_state(values)
    }

    /// Loads only the parameters and the layers' state from a file that any training of this network wrote: see
    /// [`Model::set_safetensors`](crate::Model::set_safetensors).
    ///
    /// The step count continues. The optimizer's state changes as described in
    /// [`set_parameters`](Self::set_parameters).
    ///
    /// # Errors
    /// The errors of [`Model::set_safetensors`](crate::Model::set_safetensors).
    pub fn set_weights(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let contents = checkpoint::decode(self.model.graph(), None, bytes)?;
        self.set_parameters(&contents.parameters)?;
        self.model.set_state(&contents.state_of_layers)
    }

    /// Resets the state that depends on the parameters, after they were replaced. Returns whether the training had
    /// diverged before.
    pub(super) fn begin_anew(&mut self) -> Result<bool, Error> {
        let had_diverged = self.has_diverged()?;
        if had_diverged {
            self.updater.forget(&self.model)?;
        } else {
            self.updater.begin_average(&self.model, None)?;
        }
        self.soundness.begin_anew(self.updater.steps_taken());
        Ok(had_diverged)
    }
}
