//! Contents of buffers.

/// The contents of a buffer, in words of 32 bits.
///
/// A buffer may be *unwritten*: a shader that reads an element before a shader wrote it is reported. It reads 0, as
/// WebGPU has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffer {
    pub(crate) words: Vec<u32>,
    /// Of each half of a word, whether it was written; `None` when all were.
    pub(crate) written: Option<Vec<bool>>,
}

impl Buffer {
    /// These words.
    #[must_use]
    pub fn from_u32s(words: &[u32]) -> Self {
        Self {
            words: words.to_vec(),
            written: None,
        }
    }

    /// These numbers.
    #[must_use]
    pub fn from_f32s(numbers: &[f32]) -> Self {
        Self {
            words: numbers.iter().map(|number| number.to_bits()).collect(),
            written: None,
        }
    }

    /// These bytes, lowest first in each word; zeros fill the last word.
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

    /// So many zeros, in words.
    #[must_use]
    pub fn zeros(words: usize) -> Self {
        Self {
            words: vec![0; words],
            written: None,
        }
    }

    /// So many words that nobody wrote.
    #[must_use]
    pub fn unwritten(words: usize) -> Self {
        Self {
            words: vec![0; words],
            written: Some(vec![false; 2 * words]),
        }
    }

    /// The words.
    #[must_use]
    pub fn u32s(&self) -> &[u32] {
        &self.words
    }

    /// The words as numbers.
    #[must_use]
    pub fn f32s(&self) -> Vec<f32> {
        self.words
            .iter()
            .map(|&word| f32::from_bits(word))
            .collect()
    }

    /// Overwrites words from a place on; they count as written. What goes beyond the end is left out.
    pub fn write(&mut self, at: usize, words: &[u32]) {
        let places = self.words.iter_mut().skip(at);
        places.zip(words).for_each(|(place, &word)| *place = word);
        if let Some(written) = &mut self.written {
            let places = written.iter_mut().skip(2 * at).take(2 * words.len());
            places.for_each(|place| *place = true);
        }
    }

    /// Whether the number that begins at this byte was written, by a shader or as contents.
    #[must_use]
    pub fn is_written(&self, byte: u64) -> bool {
        let half = usize::try_from(byte / 2).unwrap_or(usize::MAX);
        let written = self.written.as_ref();
        written.is_none_or(|written| written.get(half) == Some(&true))
    }

    /// Bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        4 * self.words.len() as u64
    }
}
