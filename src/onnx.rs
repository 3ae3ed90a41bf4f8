//! Networks as [ONNX](https://onnx.ai), the format that inference runtimes read: ONNX Runtime, browsers, phones.
//!
//! [`cpu::Network::to_onnx`](crate::cpu::Network::to_onnx) and [`Model::to_onnx`](crate::Model::to_onnx) give the bytes
//! of a file, `export_onnx` writes it. The file has the network as it predicts: nothing is dropped, and batch
//! normalization takes its running mean and variance. The same network gives the same bytes.
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
//! | name | type | what it is |
//! |---|---|---|
//! | `x` | float32, (`rows`, features) | what `predict` takes: all inputs of a row, one after another |
//! | `y` | float32, (`rows`, outputs) | what `predict` gives, element by element: an image is flattened |
//!
//! The number of rows is left open. `x` is features as the network sees them: of a data set of bytes, `byte / 255`.
//! `y` is logits of classes, or values. Neither softmax nor sigmoid is added, as both belong to the loss.
//!
//! # Names
//!
//! Every value of the network is in the file under its own name: the one that
//! [`named`](crate::Sequential::named) gave, or `layers.0`, `values.3`, `input`, `inputs.1`. An only input of one
//! extent is `x` itself, and a last value of one extent is `y` itself. A value that was named `x` or `y` has the name
//! that it has without. An operator has the name of what it gives.
//!
//! Initializers are named as parameters and state are, `layers.0.weight` and `layers.1.running_mean`, and lie as in
//! [`Parameters`]: the weight of a `Linear` is (inputs, outputs). A layer that is used several times
//! has them once. What belongs to a value beside is named behind it: `layers.2.flat`, `input.shape`.
//!
//! # Operators
//!
//! Those of opset 17 ([`OPSET`]), which came with version 8 of the format ([`IR_VERSION`]): ONNX Runtime 1.12 or newer.
//!
//! | layer | operators |
//! |---|---|
//! | `Linear` | `Gemm`, behind a `Flatten` where its input has several extents |
//! | `Conv2d` | `Conv` |
//! | `MaxPool2d` | `MaxPool` |
//! | `AvgPool2d` | `AveragePool`, in which padding counts; `GlobalAveragePool` of a whole image |
//! | `Flatten` | `Flatten` |
//! | `BatchNorm` | `BatchNormalization` |
//! | `LayerNorm` | `LayerNormalization` |
//! | `Relu`, `LeakyRelu`, `Sigmoid`, `Tanh` | the same |
//! | `Gelu` | `Div`, `Erf`, `Add`, `Mul`, `Mul`: `x·(1 + erf(x/√2))·½` |
//! | `Frequency` | `Reshape`, `Mul`, `Round`, `Sub`, `Add`, `Mul`, `Sin`, `Flatten`: a cosine is a sine a quarter of a turn on |
//! | `OneBlob` | `Reshape`, `Mul`, `Sub`, `Mul`, `Mul`, `Exp`, `Flatten` |
//! | `SphericalHarmonics` | `Reshape`, `Pow`, `ReduceProd`, `MatMul`: monomials, and their coefficients |
//! | `Dropout` | `Identity` |
//! | `Embedding` | `Cast` to int64, `Gather`, behind a `Flatten` where its input has several extents |
//! | an input | `Slice` where there are several, `Reshape` where it has several extents |
//! | a sum, a concatenation | `Add`, `Concat` along the first extent of an example |
//!
//! An index of an `Embedding` is not checked by the file: `Cast` cuts off what is behind the point, and a runtime may
//! count an index below 0 from the end.
//!
//! # What is refused
//!
//! A layer from outside of the crate ([`OnnxError::Layer`]), `HashGrid` ([`OnnxError::NoOperator`]), a file of 2 GiB or more ([`OnnxError::TooLarge`]), as
//! protobuf has no larger ones, and values that are not finite ([`OnnxError::NotFinite`]), by which a checkpoint is
//! refused, too.

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

/// Version of the operators: those of ONNX 1.12, the first with `LayerNormalization`.
pub const OPSET: i64 = 17;
/// Version of the format: that of ONNX 1.12.
pub const IR_VERSION: i64 = 8;

/// Bytes of a protobuf message at the most.
const MOST_BYTES: u64 = i32::MAX as u64;
/// Bytes that a tensor takes at the most beside its values, its name and its extents: numbers that say how long each
/// part of it is, and by how much it makes such numbers around it longer.
const LENGTHS: u64 = 32;

/// A file without its parameters yet.
#[derive(Debug)]
pub(crate) struct File {
    model: ModelProto,
    /// Bytes that it takes with them at the most.
    bytes: u64,
}

impl File {
    /// The file of a network. Nothing that is large is allocated.
    ///
    /// # Errors
    /// [`Error::Onnx`] when a layer is from outside of the crate or the file would be too large, [`Error::Memory`] when
    /// the host has no room for it.
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
        // The values by name, as bytes by tensor, and in the file.
        let what = || format!("a network of {parameters} parameters as ONNX");
        memory::check(what, bytes.saturating_mul(3))?;
        Ok(Self { model, bytes })
    }

    /// The bytes, with all parameters and state of the network.
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

/// Parameters and state, in order.
fn all(graph: &Graph) -> impl Iterator<Item = &Parameter> {
    graph.parameters.iter().chain(&graph.state)
}

/// Writes a file whole.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    Ok(files::write(path, bytes).map_err(OnnxError::Write)?)
}

#[cfg(test)]
mod tests;
