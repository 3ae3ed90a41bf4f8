//! Splits safetensors files into their parts, so that tests can change them.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use sha2::{Digest, Sha256};

/// For each tensor: name, element type, shape and bytes.
pub(crate) type Tensors = Vec<(String, Dtype, Vec<usize>, Vec<u8>)>;
pub(crate) type Metadata = HashMap<String, String>;

/// Returns a file's tensors, sorted by name, and its metadata.
pub(crate) fn parts(bytes: &[u8]) -> (Tensors, Metadata) {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    let tensor = |(name, view): (&str, TensorView<'_>)| {
        let shape = view.shape().to_vec();
        (name.to_owned(), view.dtype(), shape, view.data().to_vec())
    };
    let mut tensors: Tensors = file.iter().map(tensor).collect();
    tensors.sort();
    (tensors, header.metadata().clone().unwrap_or_default())
}

/// Returns the digest that the library computes for a file. (A malicious file can also have a correct digest.)
fn digest(tensors: &Tensors, metadata: &Metadata) -> String {
    let mut said: Vec<(&str, &[u8])> = metadata
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_bytes()))
        .collect();
    let mut all: Vec<(&str, &[u8])> = tensors
        .iter()
        .map(|(name, .., data)| (name.as_str(), &data[..]))
        .collect();
    said.sort_unstable();
    all.sort_unstable();
    let mut hash = Sha256::new();
    let named = said.into_iter().chain(all);
    for part in named.flat_map(|(name, bytes)| [name.as_bytes(), bytes]) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Builds a file from its parts. Updates the digest if there is one; otherwise the changed file would be refused
/// because of its digest.
pub(crate) fn whole((tensors, mut metadata): (Tensors, Metadata)) -> Vec<u8> {
    if metadata.remove("sha256").is_some() {
        let digest = digest(&tensors, &metadata);
        metadata.insert("sha256".to_owned(), digest);
    }
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    safetensors::serialize(views, (!metadata.is_empty()).then_some(metadata)).unwrap()
}
