//! Exports a model as an ONNX file.

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;
use std::sync::Arc;

use super::Model;
use crate::error::Error;
#[cfg(not(target_arch = "wasm32"))]
use crate::gpu::block_on;
#[cfg(not(target_arch = "wasm32"))]
use crate::onnx;
use crate::onnx::File;

impl Model {
    /// Encodes the network as an ONNX file, and waits for the result: see [`crate::onnx`].
    ///
    /// ```
    /// use wgrad::{Gpu, TwoLayerNet};
    ///
    /// let spec = TwoLayerNet::spec(784, 50, 10).seed(1);
    /// assert_eq!(spec.build(&Gpu::new()?)?.to_onnx()?, spec.on_cpu()?.to_onnx()?);
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`to_onnx_async`](Self::to_onnx_async).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn to_onnx(&self) -> Result<Vec<u8>, Error> {
        block_on(self.to_onnx_async())
    }

    /// Encodes the network as an ONNX file, without blocking: see [`crate::onnx`]. The file contains the parameters and
    /// the state at the time of the call.
    ///
    /// # Errors
    /// The errors of [`parameters_async`](Self::parameters_async); [`Error::Onnx`] when a layer cannot be exported, a
    /// value is infinite or NaN, or the file would have 2 GiB or more; [`Error::Memory`] when the host has not enough
    /// memory for the file.
    pub fn to_onnx_async(&self) -> impl Future<Output = Result<Vec<u8>, Error>> + use<> {
        let graph = Arc::clone(&self.graph);
        // Start the readback only if the network can be exported.
        let read = File::of(&graph);
        let read = read.map(|file| (file, self.parameters_async(), self.state_async()));
        async move {
            let (file, parameters, state) = read?;
            file.encode(&graph, &parameters.await?, &state.await?)
        }
    }

    /// Writes the network to an ONNX file: see [`crate::onnx`]. The write is atomic: after a failure, the path still
    /// names either the complete old file or the complete new file.
    ///
    /// # Errors
    /// The errors of [`to_onnx`](Self::to_onnx), or [`Error::Onnx`] when the file cannot be written.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn export_onnx(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        onnx::write(path.as_ref(), &self.to_onnx()?)
    }
}
