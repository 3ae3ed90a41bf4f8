//! Takes safetensors files apart, so that tests can change them.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use sha2::{Digest, Sha256};

/// Name, element type, shape and bytes of each tensor.
pub(crate) type Tensors = Vec<(String, Dtype, Vec<usize>, Vec<u8>)>;
pub(crate) type Metadata = HashMap<String, String>;

/// The tensors, sorted by name, and the metadata.
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

/// The library's digest. A malicious file can have a correct one, too.
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

/// Makes a file from its parts. A digest is updated if there is one: otherwise the file would fail at the digest.
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
