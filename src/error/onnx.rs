use std::fmt;

#[cfg(not(target_arch = "wasm32"))]
use crate::files::FileError;

/// The reason why a network cannot be [exported to ONNX](crate::onnx).
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The network has a layer from outside this crate.
    #[error(
        "layers.{index}, {name}, cannot be written as ONNX: expected a layer of wgrad::ops, found a layer from outside \
         wgrad, whose formula wgrad does not know. Put layers of wgrad::ops in its place, or export a network that \
         ends before it"
    )]
    Layer {
        /// Index of the layer.
        index: usize,
        /// Name of the layer.
        name: String,
    },
    /// No ONNX operator computes a layer of this crate.
    #[error(
        "layers.{index}, {name}, cannot be written as ONNX: no operator of ONNX computes this layer. Export \
         only the part of the network after this layer, and give that part the layer's outputs as its input, or save \
         the whole network as safetensors"
    )]
    NoOperator {
        /// Index of the layer.
        index: usize,
        /// Name of the layer.
        name: String,
    },
    /// The file would exceed the size limit of protobuf messages.
    #[error(
        "a network of {parameters} parameters takes {bytes} bytes as ONNX: expected at most {most}, the largest size \
         of a protobuf message. Export a smaller network, or save this network as safetensors"
    )]
    TooLarge {
        /// Number of parameters of the network.
        parameters: u64,
        /// Size of the file, in bytes.
        bytes: u64,
        /// Largest allowed size, in bytes.
        most: u64,
    },
    /// A parameter, or a value of a layer's state, is infinite or NaN.
    #[error(
        "{name} is not written as ONNX: expected finite numbers, found {found}. Export the network as it was before \
         its training diverged"
    )]
    NotFinite {
        /// Name of the parameter or state value.
        name: String,
        /// The first infinite or NaN value.
        found: f32,
    },
    /// The file could not be written.
    #[cfg(not(target_arch = "wasm32"))]
    #[error(transparent)]
    Write(#[from] FileError),
}

/// Prints the same message as `Display`, because a `main` that returns an error prints `Debug`.
impl fmt::Debug for OnnxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
