use sha2::{Digest, Sha256};

use super::header::File;
use super::names::difference;
use super::shown;
use super::{CheckpointError, hex};
use crate::data::{Examples, Sampling, hash_words};
use crate::network::Graph;
use crate::ops::{Loss, Optimizer};

/// No training takes so many steps, and to count on from there is safe.
const MOST_STEPS: u64 = 1 << 53;
/// Key of the data set's digest among the metadata.
const DATA_KEY: &str = "examples_sha256";
/// Key of the number of examples.
const DATA_SIZE_KEY: &str = "examples";

/// What says which steps come next.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    step: u64,
    batch: usize,
    /// Name of the examples, for people: it decides about nothing, and the file does not have it.
    data_name: String,
    /// Their number, in words.
    data_size: String,
    data_digest: String,
    sampling: Sampling,
    /// With its settings.
    optimizer: String,
    loss: String,
}

impl Position {
    pub(crate) fn new(
        step: u64,
        batch: usize,
        examples: &Examples,
        sampling: &Sampling,
        (loss, optimizer): (&dyn Loss, &dyn Optimizer),
    ) -> Self {
        Self {
            step,
            batch,
            data_name: examples.name().to_owned(),
            data_size: format!("{} examples", examples.len()),
            data_digest: hex(examples.digest()),
            sampling: sampling.clone(),
            optimizer: format!("{optimizer:?}"),
            loss: format!("{loss:?}"),
        }
    }

    /// What must be the same for the steps to be the same: key, what it is called in messages, and value.
    fn settings(&self, graph: &Graph) -> [(&'static str, &'static str, String); 5] {
        let sampling = match &self.sampling {
            Sampling::WithReplacement { seed } => format!("with replacement, seed {seed}"),
            Sampling::Shuffled { seed } => format!("shuffled, seed {seed}"),
            Sampling::Listed(list) => {
                let mut hash = Sha256::new();
                hash_words(&mut hash, list.iter().map(|index| index.to_le_bytes()));
                let digest = hex(&hash.finalize());
                format!("listed, {} indices, SHA-256 {digest}", list.len())
            }
        };
        [
            ("batch", "batch", self.batch.to_string()),
            ("sampling", "sampling", sampling),
            ("optimizer", "optimizer", self.optimizer.clone()),
            ("loss", "loss", self.loss.clone()),
            ("seed", "seed of the network", graph.seed().to_string()),
        ]
    }

    pub(super) fn metadata(&self, graph: &Graph) -> impl Iterator<Item = (String, String)> {
        let settings = self.settings(graph).map(|(key, _, value)| (key, value));
        let rest = [
            (DATA_KEY, self.data_digest.clone()),
            (DATA_SIZE_KEY, self.data_size.clone()),
            ("step", self.step.to_string()),
        ];
        let all = settings.into_iter().chain(rest);
        all.map(|(key, value)| (key.to_owned(), value))
    }

    /// Steps taken, if a file's training goes on with this network and the minibatches from here.
    pub(super) fn step_in(&self, graph: &Graph, file: &File<'_>) -> Result<u64, CheckpointError> {
        if file.text("step").is_empty() {
            return Err(CheckpointError::NoTraining { is_ours: true });
        }
        for (key, what, expected) in self.settings(graph) {
            let found = file.text(key);
            if expected != found {
                let [expected, found] = difference(&expected, found);
                return Err(CheckpointError::Training {
                    what,
                    expected,
                    found,
                });
            }
        }
        if file.text(DATA_KEY) != self.data_digest {
            return Err(CheckpointError::Data {
                expected: shown(&format!("\"{}\" ({})", self.data_name, self.data_size)),
                found: shown(file.text(DATA_SIZE_KEY)),
            });
        }
        let step = file.text("step");
        let valid = step.parse().ok().filter(|&step| step < MOST_STEPS);
        valid.ok_or_else(|| CheckpointError::Damaged {
            reason: format!(
                "its step is \"{}\", expected a whole number below {MOST_STEPS}",
                shown(step)
            ),
        })
    }
}
