//! Chooses the examples of each minibatch. The choice depends only on the seed, the step and the row.
//!
//! `shaders/sample.wgsl` computes the same function on the GPU. So no indices are uploaded per step, and training on
//! the CPU uses the same minibatches.

use crate::error::Error;
use crate::random::{minibatch_key, threefry};

/// How minibatches are drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sampling {
    /// Draws each row of a minibatch uniformly from all examples, like `np.random.choice`. An index is a random `u32`
    /// modulo `examples`. Its bias is below `examples / 2³²`.
    WithReplacement {
        /// The seed that determines all minibatches.
        seed: u64,
    },
    /// Draws each example at most once per epoch, in a different order in every epoch. An epoch has `examples / batch`
    /// steps, rounded down. The remaining examples are left out of that epoch.
    Shuffled {
        /// The seed that determines all minibatches.
        seed: u64,
    },
    /// Takes the next `batch` indices of the given list in each step. At the end of the list, starts again.
    Listed(Vec<u32>),
}

impl Sampling {
    /// Checks that minibatches of `batch` rows can be drawn from `examples` examples.
    ///
    /// # Errors
    /// [`Error::Setting`] when `batch` is 0 or larger than `examples`; when the length of a list is 0 or not a multiple
    /// of `batch`; when an index in a list is `examples` or greater.
    pub fn check(&self, examples: usize, batch: usize) -> Result<(), Error> {
        if batch == 0 || batch > examples {
            let expected = format!("1 to {examples}, the number of training examples");
            return Err(Error::setting("batch", expected, batch));
        }
        let Self::Listed(list) = self else {
            return Ok(());
        };
        if list.is_empty() || list.len() % batch != 0 {
            let expected = format!("made of whole minibatches of {batch} indices");
            let found = format!("{} indices long", list.len());
            return Err(Error::setting("list of minibatches", expected, found));
        }
        match list.iter().find(|&&index| index as usize >= examples) {
            Some(index) => {
                let expected = format!("below {examples}, the number of training examples");
                Err(Error::setting(
                    "index in the list of minibatches",
                    expected,
                    index,
                ))
            }
            None => Ok(()),
        }
    }

    /// Writes the example indices of one step's minibatch into `indices`, whose length is the batch size.
    ///
    /// # Panics
    /// May panic if [`check`](Self::check) fails for `examples` and this batch size.
    pub fn minibatch(&self, examples: usize, step: u32, indices: &mut [u32]) {
        let batch = indices.len();
        for (row, index) in (0u32..).zip(indices) {
            *index = match self {
                Self::WithReplacement { seed } => {
                    threefry(minibatch_key(*seed), [step, row])[0] % saturated(examples)
                }
                Self::Shuffled { seed } => {
                    let steps = saturated(examples / batch);
                    let position = (step % steps) * saturated(batch) + row;
                    permute(
                        minibatch_key(*seed),
                        saturated(examples),
                        step / steps,
                        position,
                    )
                }
                Self::Listed(list) => {
                    let steps = list.len() / batch;
                    list[(step as usize % steps) * batch + row as usize]
                }
            };
        }
    }
}

/// Converts a count to `u32`, saturating. Data sets never reach the limit, because their buffers have at most 4 GiB.
pub(super) fn saturated(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Bits per half of a Feistel block: the smallest `k` ≥ 1 with 4ᵏ ≥ `examples`.
pub(crate) fn half_bits(examples: usize) -> u32 {
    let bits = usize::BITS - (examples - 1).leading_zeros();
    bits.div_ceil(2).max(1)
}

/// Iterates over all of `0..examples` in the order of one epoch of [`Sampling::Shuffled`]. Yields nothing if
/// `examples` is 0.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug)]
pub(crate) struct Shuffle {
    key: [u32; 2],
    examples: u32,
    epoch: u32,
    position: u32,
}

#[cfg(not(target_arch = "wasm32"))]
impl Shuffle {
    pub(crate) fn new(seed: u64, examples: usize, epoch: u32) -> Self {
        Self {
            key: minibatch_key(seed),
            examples: saturated(examples),
            epoch,
            position: 0,
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Iterator for Shuffle {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let position = self.position;
        if position >= self.examples {
            return None;
        }
        self.position += 1;
        Some(permute(self.key, self.examples, self.epoch, position))
    }
}

/// Returns the example at `position` in a permutation of `0..examples` that differs in every epoch. A Feistel network
/// permutes the numbers below the next power of four. It is applied repeatedly (cycle walking) until the result is
/// below `examples`.
pub(super) fn permute(key: [u32; 2], examples: u32, epoch: u32, position: u32) -> u32 {
    let half_bits = half_bits(examples as usize);
    let mask = (1 << half_bits) - 1;
    let mut value = position;
    loop {
        let mut left = value >> half_bits;
        let mut right = value & mask;
        for round in 0..6 {
            let mixed = left ^ (threefry(key, [epoch, (round << 16) | right])[0] & mask);
            (left, right) = (right, mixed);
        }
        value = (left << half_bits) | right;
        if value < examples {
            return value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Sampling;

    #[test]
    fn a_shuffled_epoch_has_each_example_once_and_the_next_another_order() {
        for examples in [1, 2, 3, 16, 17, 100, 1000] {
            let sampling = Sampling::Shuffled { seed: 7 };
            let epoch = |step| {
                let mut indices = vec![0; examples];
                sampling.minibatch(examples, step, &mut indices);
                indices
            };
            let mut sorted = epoch(0);
            sorted.sort_unstable();
            assert!(
                sorted
                    .iter()
                    .zip(0u32..)
                    .all(|(&index, place)| index == place)
            );
            assert!(examples < 16 || epoch(0) != epoch(1));
        }
    }

    #[test]
    fn drawing_with_replacement_is_uniform() {
        let sampling = Sampling::WithReplacement { seed: 3 };
        let mut counts = [0u32; 10];
        let draws = 100_000;
        let mut indices = [0; 100];
        for step in 0..draws / 100 {
            sampling.minibatch(10, step, &mut indices);
            indices
                .iter()
                .for_each(|&index| counts[index as usize] += 1);
        }
        // Chi-squared with 9 degrees of freedom exceeds 33.7 once in 10,000 seeds.
        let expected = f64::from(draws) / 10.0;
        let squared = counts.map(|count| (f64::from(count) - expected).powi(2) / expected);
        assert!(squared.iter().sum::<f64>() < 33.7, "{counts:?}");
    }
}
