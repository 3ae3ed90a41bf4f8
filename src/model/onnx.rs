//! Export of a model as ONNX.

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
    /// Encodes the network like [`to_onnx_async`](Self::to_onnx_async), and waits for the result.
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
    /// As [`to_onnx_async`](Self::to_onnx_async).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn to_onnx(&self) -> Result<Vec<u8>, Error> {
        block_on(self.to_onnx_async())
    }

    /// Encodes the network as an ONNX file, with its parameters and state at the time of the call: see [`crate::onnx`].
    ///
    /// # Errors
    /// As [`parameters_async`](Self::parameters_async), [`Error::Onnx`] when a layer is not from this crate, a value is
    /// not finite or the file would have 2 GiB or more, or [`Error::Memory`] when the host has no room for the file.
    pub fn to_onnx_async(&self) -> impl Future<Output = Result<Vec<u8>, Error>> + use<> {
        let graph = Arc::clone(&self.graph);
        // Starts a readback only if the network can be exported.
        let read = File::of(&graph);
        let read = read.map(|file| (file, self.parameters_async(), self.state_async()));
        async move {
            let (file, parameters, state) = read?;
            file.encode(&graph, &parameters.await?, &state.await?)
        }
    }

    /// Writes the network to an ONNX file: see [`crate::onnx`]. The write is atomic: even after a failure, the file
    /// is the whole old one or the whole new one.
    ///
    /// # Errors
    /// As [`to_onnx`](Self::to_onnx), or [`Error::Onnx`] when the file cannot be written.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn export_onnx(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        onnx::write(path.as_ref(), &self.to_onnx()?)
    }
}
