use std::fmt;

#[cfg(not(target_arch = "wasm32"))]
use crate::files::FileError;

/// Why a network is not written as ONNX: see [`crate::onnx`].
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// A layer from outside of the crate.
    #[error(
        "layers.{index}, {name}, cannot be written as ONNX: expected a layer of wgrad::ops, found a layer from outside \
         wgrad, whose formula wgrad does not know. Put layers of wgrad::ops in its place, or export a network that \
         ends before it"
    )]
    Layer {
        /// Its index.
        index: usize,
        /// Its name.
        name: String,
    },
    /// A layer of the crate that no operator of ONNX computes.
    #[error(
        "layers.{index}, {name}, cannot be written as ONNX: no operator of ONNX computes it. Export the network that \
         follows it, and feed it the layer's outputs, or save this network as safetensors"
    )]
    NoOperator {
        /// Its index.
        index: usize,
        /// Its name.
        name: String,
    },
    /// The file would be larger than a protobuf message may be.
    #[error(
        "a network of {parameters} parameters takes {bytes} bytes as ONNX: expected at most {most}, the largest size \
         of a protobuf message. Export a smaller network, or save this network as safetensors"
    )]
    TooLarge {
        /// Number of trainable values.
        parameters: u64,
        /// Bytes of the file.
        bytes: u64,
        /// Bytes that it may have.
        most: u64,
    },
    /// A parameter, or a value of a layer's state, is infinite or NaN.
    #[error(
        "{name} is not written as ONNX: expected finite numbers, found {found}. Export the network as it was before \
         its training diverged"
    )]
    NotFinite {
        /// The parameter.
        name: String,
        /// Its first value that is no finite number.
        found: f32,
    },
    /// The file could not be written.
    #[cfg(not(target_arch = "wasm32"))]
    #[error(transparent)]
    Write(#[from] FileError),
}

/// The message, which says what to do: a `main` that returns an error prints this.
impl fmt::Debug for OnnxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
