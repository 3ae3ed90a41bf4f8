//! Initial values of parameters.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// How a parameter starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// All zero.
    Zeros,
    /// Normally distributed around 0.
    Normal {
        /// Standard deviation; the book's is 0.01.
        std: f32,
    },
}

impl Init {
    /// `count` values, the same for the same seed and stream on every platform.
    pub(crate) fn values(self, count: usize, seed: u64, stream: u64) -> Vec<f32> {
        match self {
            Self::Zeros => vec![0.0; count],
            Self::Normal { std } => {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(stream);
                let normal = |_| {
                    let value: f32 = StandardNormal.sample(&mut rng);
                    std * value
                };
                (0..count).map(normal).collect()
            }
        }
    }
}
