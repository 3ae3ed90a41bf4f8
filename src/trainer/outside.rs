//! Parameters and state that come from outside.

use ndarray::ArrayViewD;

use super::Trainer;
use crate::checkpoint;
use crate::error::Error;
use crate::network::Parameters;

impl Trainer {
    /// Replaces all parameters: see [`Model::set_parameters`](crate::Model::set_parameters). The optimizer goes on with
    /// what it keeps, and the layers with their state; a moving average, which is one of what steps made of other
    /// parameters, begins anew with these. After a divergence all begin anew: what the optimizer keeps
    /// with zeros, and the state of the layers as in a new network, since a layer may have learned it from what
    /// diverged. [`set_state`](Self::set_state) then takes another.
    ///
    /// # Errors
    /// As there.
    pub fn set_parameters(&mut self, values: &Parameters) -> Result<(), Error> {
        self.source.parameters_changed();
        self.model.set_parameters(values)?;
        if self.begin_anew()? {
            self.model.reset_state()
        } else {
            Ok(())
        }
    }

    /// Replaces the parameter of this name: see [`Model::set_parameter`](crate::Model::set_parameter). Its moving average
    /// begins anew, and those of the others go on. A training that has diverged needs all of them.
    ///
    /// # Errors
    /// As there, or [`Error::Diverged`].
    pub fn set_parameter(&mut self, name: &str, value: ArrayViewD<'_, f32>) -> Result<(), Error> {
        self.soundness.check()?;
        self.source.parameters_changed();
        self.model.set_parameter(name, value)?;
        self.updater.begin_average(&self.model, Some(name))
    }

    /// Replaces the state of all layers: see [`Model::set_state`](crate::Model::set_state). A training that has
    /// diverged needs other parameters first.
    ///
    /// # Errors
    /// As there, or [`Error::Diverged`].
    pub fn set_state(&mut self, values: &Parameters) -> Result<(), Error> {
        self.soundness.check()?;
        self.source.parameters_changed();
        self.model.set_state(values)
    }

    /// Takes the parameters and the state of the layers alone out of a file, of any training of this network: see
    /// [`Model::set_safetensors`](crate::Model::set_safetensors). Steps and optimizer go on as with
    /// [`set_parameters`](Self::set_parameters).
    ///
    /// # Errors
    /// As there.
    pub fn set_weights(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let contents = checkpoint::decode(self.model.graph(), None, bytes)?;
        self.set_parameters(&contents.parameters)?;
        self.model.set_state(&contents.state_of_layers)
    }

    /// After the parameters were replaced; whether those before had diverged.
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
