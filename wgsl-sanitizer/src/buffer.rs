//! Buffers and their contents.

/// The contents of a buffer, in 32-bit words.
///
/// A word may be *unwritten*: if a shader reads it before anything has written it, the read is reported and gives 0, as
/// in WebGPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffer {
    pub(crate) words: Vec<u32>,
    /// For each half word (16 bits): whether it was written. `None` when every half word was written.
    pub(crate) written: Option<Vec<bool>>,
}

impl Buffer {
    /// Creates a buffer with these words.
    #[must_use]
    pub fn from_u32s(words: &[u32]) -> Self {
        Self {
            words: words.to_vec(),
            written: None,
        }
    }

    /// Creates a buffer with these floats, one per word.
    #[must_use]
    pub fn from_f32s(numbers: &[f32]) -> Self {
        Self {
            words: numbers.iter().map(|number| number.to_bits()).collect(),
            written: None,
        }
    }

    /// Creates a buffer with these bytes, in little-endian order. If the last word is incomplete, zero bytes complete
    /// it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let words = bytes.chunks(4).map(|chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            u32::from_le_bytes(word)
        });
        Self {
            words: words.collect(),
            written: None,
        }
    }

    /// Creates a buffer of `words` zeros.
    #[must_use]
    pub fn zeros(words: usize) -> Self {
        Self {
            words: vec![0; words],
            written: None,
        }
    }

    /// Creates a buffer of `words` unwritten words.
    #[must_use]
    pub fn unwritten(words: usize) -> Self {
        Self {
            words: vec![0; words],
            written: Some(vec![false; 2 * words]),
        }
    }

    /// Returns the contents as 32-bit words.
    #[must_use]
    pub fn u32s(&self) -> &[u32] {
        &self.words
    }

    /// Returns the contents as `f32`, one per word.
    #[must_use]
    pub fn f32s(&self) -> Vec<f32> {
        self.words
            .iter()
            .map(|&word| f32::from_bits(word))
            .collect()
    }

    /// Overwrites the words of the buffer from index `at` on, and marks them as written. Words that would be beyond the
    /// end of the buffer are ignored.
    pub fn write(&mut self, at: usize, words: &[u32]) {
        let places = self.words.iter_mut().skip(at);
        places.zip(words).for_each(|(place, &word)| *place = word);
        if let Some(written) = &mut self.written {
            let places = written.iter_mut().skip(2 * at).take(2 * words.len());
            places.for_each(|place| *place = true);
        }
    }

    /// Returns whether the half word at this byte offset was written, by a shader or by the caller.
    #[must_use]
    pub fn is_written(&self, byte: u64) -> bool {
        let half = usize::try_from(byte / 2).unwrap_or(usize::MAX);
        let written = self.written.as_ref();
        written.is_none_or(|written| written.get(half) == Some(&true))
    }

    /// Returns the size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        4 * self.words.len() as u64
    }
}
