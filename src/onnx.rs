//! Networks as [ONNX](https://onnx.ai) files, which inference runtimes such as ONNX Runtime read in browsers and on
//! phones.
//!
//! [`cpu::Network::to_onnx`](crate::cpu::Network::to_onnx) and [`Model::to_onnx`](crate::Model::to_onnx) return the
//! bytes of a file; `export_onnx` writes the file. The file contains the network for prediction: dropout drops nothing,
//! and batch normalization uses its running mean and variance. The same network always gives the same bytes.
//!
//! ```
//! use wgrad::Sequential;
//! use wgrad::ops::{BatchNorm, Linear, Relu};
//!
//! let network = Sequential::input(4).layer(Linear::new(8)).layer(BatchNorm::new()).layer(Relu);
//! let network = network.layer(Linear::new(3)).seed(1).on_cpu()?;
//! let directory = tempfile::tempdir()?;
//! network.export_onnx(directory.path().join("network.onnx"))?;
//! assert_eq!(std::fs::read(directory.path().join("network.onnx"))?, network.to_onnx()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```python
//! import numpy, onnxruntime
//! session = onnxruntime.InferenceSession("network.onnx")
//! [logits] = session.run(["y"], {"x": numpy.zeros((7, 4), numpy.float32)})  # (7, 3)
//! ```
//!
//! # Input and output
//!
//! | name | type | content |
//! |---|---|---|
//! | `x` | float32, (`rows`, features) | the input of `predict`: all inputs of a row, one after another |
//! | `y` | float32, (`rows`, outputs) | the output of `predict`, element by element: an image is flattened |
//!
//! The number of rows is symbolic. `x` contains features as the network reads them: `byte / 255` for a data set of
//! bytes. `y` contains logits or values. The file adds neither softmax nor sigmoid, because both belong to the loss.
//!
//! # Names
//!
//! Every value of the network has the same name in the file as in the network: the name given by
//! [`named`](crate::Sequential::named), or an automatic name such as `layers.0`, `values.3`, `input` or `inputs.1`.
//! There are two exceptions. If the network has a single input with one extent, this input is called `x`; if the last
//! value has one extent, it is called `y`. Any other value that was named `x` or `y` gets its automatic name instead.
//! An operator has the name of its output.
//!
//! Initializers have the names of parameters and state, such as `layers.0.weight` and `layers.1.running_mean`, and the
//! memory layout of [`Parameters`]: the weight of a `Linear` is (inputs, outputs). If a layer is used several times,
//! its initializers exist once. Auxiliary values and constants that belong to a value have names that begin with its
//! automatic name: `layers.2.flat`, `input.shape`.
//!
//! # Operators
//!
//! The operators are those of opset 17 ([`OPSET`]), in version 8 of the file format ([`IR_VERSION`]). ONNX Runtime 1.12
//! or newer reads them.
//!
//! | layer | operators |
//! |---|---|
//! | `Linear` | `Gemm`, after a `Flatten` if its input has several extents |
//! | `Conv2d` | `Conv` |
//! | `MaxPool2d` | `MaxPool` |
//! | `AvgPool2d` | `AveragePool`, which counts padding; `GlobalAveragePool` for a whole image |
//! | `Flatten` | `Flatten` |
//! | `BatchNorm` | `BatchNormalization` |
//! | `LayerNorm` | `LayerNormalization` |
//! | `Relu`, `LeakyRelu`, `Sigmoid`, `Tanh` | the operator of the same name |
//! | `Gelu` | `Div`, `Erf`, `Add`, `Mul`, `Mul`: `x·(1 + erf(x/√2))·½` |
//! | `Frequency` | `Reshape`, `Mul`, `Round`, `Sub`, `Add`, `Mul`, `Sin`, `Flatten`: cos x is sin(x + π/2) |
//! | `OneBlob` | `Reshape`, `Mul`, `Sub`, `Mul`, `Mul`, `Exp`, `Flatten` |
//! | `SphericalHarmonics` | `Reshape`, `Pow`, `ReduceProd`, `MatMul`: monomials times their coefficients |
//! | `Dropout` | `Identity` |
//! | `Embedding` | `Cast` to int64, `Gather`, after a `Flatten` if its input has several extents |
//! | an input | `Slice` if there are several inputs, `Reshape` if it has several extents |
//! | a sum, a concatenation | `Add`, `Concat` along the first extent of an example |
//!
//! The file does not check the indices of an `Embedding`: `Cast` drops the fraction, and a runtime may count a negative
//! index from the end.
//!
//! # Networks that are refused
//!
//! - a layer that is not part of this crate ([`OnnxError::Layer`]);
//! - `HashGrid` ([`OnnxError::NoOperator`]);
//! - a file of 2 GiB or more ([`OnnxError::TooLarge`]), which protobuf does not allow;
//! - values that are not finite ([`OnnxError::NotFinite`]), which checkpoints refuse, too.

mod encodings;
mod layers;
mod nodes;
pub(crate) mod proto;

#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;

use prost::Message as _;

use crate::error::Error;
#[cfg(not(target_arch = "wasm32"))]
use crate::files;
use crate::memory::{self, bytes_of, total};
use crate::network::{Graph, Parameter, Parameters};
use nodes::tensor;
use proto::{DataType, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorProto};

pub use crate::error::OnnxError;

/// Version of the operator set, as in ONNX 1.12. It is the first with `LayerNormalization`.
pub const OPSET: i64 = 17;
/// Version of the file format, as in ONNX 1.12.
pub const IR_VERSION: i64 = 8;

/// Maximum size of a protobuf message in bytes.
const MOST_BYTES: u64 = i32::MAX as u64;
/// Upper bound for the bytes that a tensor adds to a file in addition to its values, name and extents: its own length
/// prefixes, and the growth of the length prefixes of the messages that contain it.
const LENGTHS: u64 = 32;

/// A file whose parameters are still missing.
#[derive(Debug)]
pub(crate) struct File {
    model: ModelProto,
    /// Upper bound for the size of the file in bytes, parameters included.
    bytes: u64,
}

impl File {
    /// Prepares the file of a network, without large allocations.
    ///
    /// # Errors
    /// [`Error::Onnx`] when a layer is not part of this crate, no operator computes it, or the file would be too large;
    /// [`Error::Memory`] when the host has no memory for the file.
    pub(crate) fn of(graph: &Graph) -> Result<Self, Error> {
        let model = ModelProto {
            ir_version: IR_VERSION,
            producer_name: env!("CARGO_PKG_NAME").to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(nodes::graph(graph)?),
            opset_import: vec![OperatorSetIdProto {
                domain: Some(String::new()),
                version: OPSET,
            }],
            metadata_props: vec![StringStringEntryProto {
                key: "network".to_owned(),
                value: graph.line(),
            }],
        };
        let parameters = graph.parameter_count();
        let values = all(graph).map(|Parameter { name, spec }| {
            let of_shape = 11 * spec.shape.rank() + name.len();
            let beside = LENGTHS + of_shape as u64;
            bytes_of::<f32>(spec.shape.len() as u64).saturating_add(beside)
        });
        let bytes = total(values).saturating_add(model.encoded_len() as u64);
        if bytes > MOST_BYTES {
            let most = MOST_BYTES;
            return Err(OnnxError::TooLarge {
                parameters,
                bytes,
                most,
            }
            .into());
        }
        // There are three copies: the values by name, the bytes of each tensor, and the file.
        let what = || format!("a network of {parameters} parameters as ONNX");
        memory::check(what, bytes.saturating_mul(3))?;
        Ok(Self { model, bytes })
    }

    /// Encodes the file, with all parameters and state of the network.
    ///
    /// # Errors
    /// [`Error::Onnx`] when a value is not finite.
    pub(crate) fn encode(
        mut self,
        graph: &Graph,
        parameters: &Parameters,
        state: &Parameters,
    ) -> Result<Vec<u8>, Error> {
        let values = parameters.iter().chain(state.iter());
        let mut initializers = Vec::new();
        for (Parameter { name, spec }, (named, values)) in all(graph).zip(values) {
            assert_eq!(name, named, "onnx::encode");
            if let Some(&found) = values.iter().find(|value| !value.is_finite()) {
                let name = name.clone();
                return Err(OnnxError::NotFinite { name, found }.into());
            }
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            initializers.push(TensorProto {
                raw_data: bytes.collect(),
                ..tensor(name.clone(), spec.shape.extents(), DataType::Float)
            });
        }
        if let Some(graph) = &mut self.model.graph {
            graph.initializer.splice(0..0, initializers);
        }
        assert!(
            self.model.encoded_len() as u64 <= self.bytes,
            "onnx::encode"
        );
        Ok(self.model.encode_to_vec())
    }
}

/// Lists all parameters and then all state, in the network's order.
fn all(graph: &Graph) -> impl Iterator<Item = &Parameter> {
    graph.parameters.iter().chain(&graph.state)
}

/// Writes the bytes of an ONNX file with [`files::write`], which replaces an existing file as a whole.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    Ok(files::write(path, bytes).map_err(OnnxError::Write)?)
}

#[cfg(test)]
mod tests;
