//! Saving a network to a file, and loading it.

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;

use super::super::passes::Passes;
use super::Network;
use crate::checkpoint::{self, Opened};
use crate::error::Error;

/// Only for `f32`, because files store `f32` values.
impl Network<f32> {
    /// Serializes the parameters and the layers' state in the safetensors format. [`crate::Model`] can also read the
    /// result: see [`crate::checkpoint`].
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when a parameter or state value is not finite, [`Error::Memory`] when the host has too
    /// little memory for the file.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, Error> {
        checkpoint::check_saving(self.graph(), 1, 1)?;
        checkpoint::encode(self.graph(), &self.parameters(), &self.state(), None)
    }

    /// Loads the parameters and the layers' state from the bytes of a safetensors file: see
    /// [`crate::Model::set_safetensors`].
    ///
    /// # Errors
    /// The errors of [`crate::Model::set_safetensors`].
    pub fn set_safetensors(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let contents = checkpoint::decode(self.graph(), None, bytes)?;
        self.set_parameters(&contents.parameters)?;
        self.set_state(&contents.state_of_layers)
    }

    /// Saves the parameters and the layers' state to a safetensors file. The write is atomic: after a failure, the file
    /// has either its complete old content or its complete new content.
    ///
    /// ```
    /// use wgrad::TwoLayerNet;
    /// use wgrad::cpu::Network;
    ///
    /// let directory = tempfile::tempdir()?;
    /// let path = directory.path().join("network.safetensors");
    /// let network = TwoLayerNet::spec(784, 50, 10).seed(1).on_cpu()?;
    /// network.save(&path)?;
    /// let same = Network::load(&path)?;
    /// assert_eq!(network.parameters(), same.parameters());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`to_safetensors`](Self::to_safetensors), and [`Error::Checkpoint`] when the file cannot be
    /// written.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(checkpoint::write(path.as_ref(), &self.to_safetensors()?)?)
    }

    /// Builds a network from the bytes of a safetensors file: its layers, parameters and layer state. The file may have
    /// been saved by this engine or by [`crate::Model`]. The state of a training is ignored. [`crate::checkpoint`] says
    /// how a file describes its network.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the file is damaged, has a value that is not finite, does not describe its network,
    /// or has a layer that is not from this crate; [`Error::Memory`] when the host has too little memory for the
    /// network.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, Error> {
        let Opened {
            graph, contents, ..
        } = checkpoint::open(bytes)?;
        let parameters = contents.parameters;
        let state = contents.state_of_layers;
        Self::of_values(Passes::fast(graph), &parameters, &state)
    }

    /// Builds a network from a safetensors file: see [`from_safetensors`](Self::from_safetensors). [`save`](Self::save)
    /// has an example.
    ///
    /// # Errors
    /// The errors of [`from_safetensors`](Self::from_safetensors), and [`Error::Checkpoint`] when the file cannot be
    /// read.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        checkpoint::read_whole(path.as_ref(), Self::from_safetensors)
    }

    /// Loads the parameters and the layers' state from a safetensors file: see
    /// [`set_safetensors`](Self::set_safetensors).
    ///
    /// # Errors
    /// The errors of [`set_safetensors`](Self::set_safetensors), and [`Error::Checkpoint`] when the file cannot be
    /// read.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load_weights(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let most = checkpoint::largest(self.graph());
        checkpoint::read(path.as_ref(), most, |bytes| self.set_safetensors(bytes))
    }
}
