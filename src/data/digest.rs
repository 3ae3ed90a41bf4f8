use sha2::{Digest, Sha256};

use super::Labels;

/// SHA-256 of the contents of a data set. The name of the data set is not part of it.
pub(super) type DataDigest = [u8; 32];

/// Begins the digest of a data set: hashes the kind of its elements and its numbers of examples, features and outputs.
/// The caller then adds the features and the targets.
pub(super) fn begin(kind: &str, sizes: [usize; 3]) -> Sha256 {
    let mut hash = Sha256::new();
    hash.update(kind.as_bytes());
    for size in sizes {
        hash.update((size as u64).to_le_bytes());
    }
    hash
}

/// Bytes per call of the hash function. A browser first compiles WebAssembly without optimization, and the unoptimized
/// code runs at a tenth of the full speed. Only later calls use the optimized code, so a single call for all bytes
/// would be slow.
const PIECE: usize = 1 << 16;

/// Adds bytes to a digest.
pub(super) fn hash_bytes(hash: &mut Sha256, bytes: &[u8]) {
    bytes.chunks(PIECE).for_each(|piece| hash.update(piece));
}

/// Adds 4-byte words to a digest. A small buffer collects the words, so that they are not all copied at once.
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

/// Adds the class index of every example to a digest.
pub(super) fn hash_labels(hash: &mut Sha256, labels: &Labels) {
    hash_words(
        hash,
        labels.indices().iter().map(|label| label.to_le_bytes()),
    );
}

/// Adds the bytes of floats to a digest.
pub(super) fn hash_floats(hash: &mut Sha256, values: &[f32]) {
    hash_words(hash, values.iter().map(|value| value.to_le_bytes()));
}
