use sha2::{Digest, Sha256};

use super::Labels;

/// SHA-256 of what a data set is, whatever its name.
pub(super) type DataDigest = [u8; 32];

/// Begins the digest of a data set whose elements are of this kind, with its numbers of examples, of features
/// and of outputs; features and targets follow.
pub(super) fn begin(kind: &str, sizes: [usize; 3]) -> Sha256 {
    let mut hash = Sha256::new();
    hash.update(kind.as_bytes());
    for size in sizes {
        hash.update((size as u64).to_le_bytes());
    }
    hash
}

/// Bytes that are hashed in one call. A browser runs WebAssembly that it has compiled in a hurry, at a tenth of the speed,
/// until it has better code, which it takes for later calls alone: all bytes in one call would be hashed by the slow code.
const PIECE: usize = 1 << 16;

/// Adds bytes to a digest.
pub(super) fn hash_bytes(hash: &mut Sha256, bytes: &[u8]) {
    bytes.chunks(PIECE).for_each(|piece| hash.update(piece));
}

/// Adds words to a digest without a copy of them all.
pub(crate) fn hash_words(hash: &mut Sha256, words: impl Iterator<Item = [u8; 4]>) {
    const BUFFERED: usize = 4096;
    let mut buffer = Vec::with_capacity(BUFFERED);
    for word in words {
        buffer.extend(word);
        if buffer.len() == BUFFERED {
            hash.update(&buffer);
            buffer.clear();
        }
    }
    hash.update(&buffer);
}

/// Adds the class of every example.
pub(super) fn hash_labels(hash: &mut Sha256, labels: &Labels) {
    hash_words(
        hash,
        labels.indices().iter().map(|label| label.to_le_bytes()),
    );
}

/// Adds floats by their bits.
pub(super) fn hash_floats(hash: &mut Sha256, values: &[f32]) {
    hash_words(hash, values.iter().map(|value| value.to_le_bytes()));
}
