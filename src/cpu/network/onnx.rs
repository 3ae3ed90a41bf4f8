//! Export of a network to ONNX.

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;

use super::Network;
use crate::error::Error;
#[cfg(not(target_arch = "wasm32"))]
use crate::onnx;
use crate::onnx::File;

/// Only for `f32`, because files store `f32` values.
impl Network<f32> {
    /// Serializes the network, with its parameters and layer state, in the ONNX format: see [`crate::onnx`].
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
    /// [`Error::Onnx`] when a layer is not from this crate, a parameter or state value is not finite, or the file would
    /// have 2 GiB or more; [`Error::Memory`] when the host has too little memory for the file.
    pub fn to_onnx(&self) -> Result<Vec<u8>, Error> {
        let file = File::of(self.graph())?;
        file.encode(self.graph(), &self.parameters(), &self.state())
    }

    /// Saves the network to an ONNX file: see [`crate::onnx`]. The write is atomic: after a failure, the file has
    /// either its complete old content or its complete new content.
    ///
    /// # Errors
    /// The errors of [`to_onnx`](Self::to_onnx), and [`Error::Onnx`] when the file cannot be written.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn export_onnx(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        onnx::write(path.as_ref(), &self.to_onnx()?)
    }
}
