//! A training as a checkpoint, and back.

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;

use ndarray::Array2;

use super::Trainer;
use crate::checkpoint::{self, Position};
use crate::error::Error;

/// Checkpoints hold `f32`.
impl Trainer<f32> {
    fn position(&self) -> Position {
        let (batch, rules) = (self.indices.len(), (&*self.loss, &*self.optimizer));
        Position::new(self.step, batch, &self.examples, &self.sampling, rules)
    }

    /// Parameters and the state of the training as a safetensors file, which [`crate::Trainer`] takes
    /// too: see [`crate::checkpoint`].
    ///
    /// # Errors
    /// [`Error::NotSaved`] when it has diverged, [`Error::Checkpoint`] when a value is not finite: the training
    /// has failed; [`Error::Memory`] when the host has no room for it.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, Error> {
        self.soundness.check_saving(self.step)?;
        let kept = self.optimizer.state().len();
        let graph = self.network.graph();
        // Two more than are made: blocks of some megabytes leave parts of an allocator's heaps empty.
        checkpoint::check_saving(graph, 1 + kept, 1 + kept + 2)?;
        let roles = self.optimizer.state().iter().enumerate();
        let values = |kept: &Array2<f32>| kept.iter().copied().collect();
        let of_role = |at: usize| self.state.iter().map(|kept| values(&kept[at])).collect();
        let state = roles.map(|(at, role)| (*role, of_role(at))).collect();
        let training = Some((&state, &self.position()));
        let (parameters, of_layers) = (self.network.parameters(), self.network.state());
        checkpoint::encode(graph, &parameters, &of_layers, training)
    }

    /// Goes on from such a file: see [`crate::Trainer::set_safetensors`].
    ///
    /// # Errors
    /// As there.
    pub fn set_safetensors(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let training = Some((self.optimizer.state(), &self.position()));
        let contents = checkpoint::decode(self.network.graph(), training, bytes)?;
        self.network.set_parameters(&contents.parameters)?;
        self.network.set_state(&contents.state_of_layers)?;
        for (at, values) in contents.state.into_iter().enumerate() {
            for (kept, values) in self.state.iter_mut().zip(values) {
                kept[at]
                    .iter_mut()
                    .zip(values)
                    .for_each(|(kept, value)| *kept = value);
            }
        }
        self.step = contents.step;
        self.soundness.begin_anew(self.step);
        Ok(())
    }

    /// Takes the parameters and the state of the layers out of a file, and not the state of the training: see
    /// [`crate::Trainer::set_weights`].
    ///
    /// # Errors
    /// As there.
    pub fn set_weights(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let contents = checkpoint::decode(self.network.graph(), None, bytes)?;
        self.set_parameters(&contents.parameters)?;
        self.network.set_state(&contents.state_of_layers)
    }

    /// Writes parameters and the state of the training to a safetensors file. Whatever happens, the
    /// whole old file or the whole new one is there.
    ///
    /// # Errors
    /// As [`to_safetensors`](Self::to_safetensors), or [`Error::Checkpoint`] when the file cannot be written.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(checkpoint::write(path.as_ref(), &self.to_safetensors()?)?)
    }

    /// Goes on from a file: see [`crate::Trainer::set_safetensors`].
    ///
    /// # Errors
    /// As there, or [`Error::Checkpoint`] when the file cannot be read.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn resume(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let most = checkpoint::largest(self.network.graph());
        checkpoint::read(path.as_ref(), most, |bytes| self.set_safetensors(bytes))
    }
}
