//! Exporting a network as ONNX.

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;

use super::Network;
use crate::error::Error;
#[cfg(not(target_arch = "wasm32"))]
use crate::onnx;
use crate::onnx::File;

/// Only for `f32`, because files hold `f32`.
impl Network<f32> {
    /// Serializes the network with its parameters and state to an ONNX file: see [`crate::onnx`].
    ///
    /// ```
    /// use wgrad::TwoLayerNet;
    ///
    /// let network = TwoLayerNet::spec(784, 50, 10).seed(1).on_cpu()?;
    /// let file = network.to_onnx()?;
    /// assert!(file.len() > 4 * 39_760 && file.len() < 4 * 39_760 + 2_000);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Onnx`] when a layer is from outside this crate, a value is not finite or the file would have 2 GiB or
    /// more; [`Error::Memory`] when the host has no room for the file.
    pub fn to_onnx(&self) -> Result<Vec<u8>, Error> {
        let file = File::of(self.graph())?;
        file.encode(self.graph(), &self.parameters(), &self.state())
    }

    /// Writes the network to an ONNX file: see [`crate::onnx`]. The write is atomic: even after a failure, the file is
    /// either completely old or completely new.
    ///
    /// # Errors
    /// As [`to_onnx`](Self::to_onnx), or [`Error::Onnx`] when the file cannot be written.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn export_onnx(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        onnx::write(path.as_ref(), &self.to_onnx()?)
    }
}
