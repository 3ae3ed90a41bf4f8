use sha2::{Digest, Sha256};

use super::header::File;
use super::names::difference;
use super::shown;
use super::{CheckpointError, hex};
#[cfg(not(target_arch = "wasm32"))]
use crate::data::Windows;
use crate::data::{Examples, Sampling, hash_words};
use crate::error::Difference;
use crate::error::number;
use crate::network::{Graph, Groups};
use crate::ops::{Loss, Optimizer};

/// Upper limit of the step number in a file. No training reaches it, and adding further steps to it cannot overflow.
const MOST_STEPS: u64 = 1 << 53;
/// Metadata key of the data set's digest.
const DATA_KEY: &str = "examples_sha256";
/// Metadata key of the number of examples.
const DATA_SIZE_KEY: &str = "examples";
/// Further metadata keys, which are written only if the training has such a setting.
const GROUPS_KEY: &str = "groups";
const AVERAGE_KEY: &str = "moving_average";
const BEGAN_KEY: &str = "optimizer_began";
const DECAY_KEY: &str = "decay";
const WINDOW_KEY: &str = "window";
const ROWS_KEY: &str = "rows_of_window";

/// The settings of a training that may differ from the file from which it resumes. By default, no setting may differ.
///
/// ```no_run
/// # fn train(mut trainer: wgrad::Trainer) -> Result<(), wgrad::Error> {
/// use wgrad::checkpoint::Changes;
///
/// trainer.resume_with("run.safetensors", Changes::new().optimizer().batch())?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    optimizer: bool,
    batch: bool,
    examples: bool,
}

impl Changes {
    /// Allows no differences.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            optimizer: false,
            batch: false,
            examples: false,
        }
    }

    /// Allows another optimizer or other optimizer settings: learning rate, schedule, groups, moving average.
    /// Optimizer state is loaded if the file has state with the same name, and otherwise starts from zero.
    #[must_use]
    pub const fn optimizer(self) -> Self {
        Self {
            optimizer: true,
            ..self
        }
    }

    /// Allows another batch size or another [`Sampling`]. The step count continues.
    #[must_use]
    pub const fn batch(self) -> Self {
        Self {
            batch: true,
            ..self
        }
    }

    /// Allows other examples. For a training on a stream, also allows the stream to start with another window than the
    /// window in which the saved training stopped.
    #[must_use]
    pub const fn examples(self) -> Self {
        Self {
            examples: true,
            ..self
        }
    }

    pub(super) const fn has_optimizer(self) -> bool {
        self.optimizer
    }

    /// Whether the setting with this metadata key may differ.
    fn allow(self, key: &str) -> bool {
        match key {
            "optimizer" | GROUPS_KEY | AVERAGE_KEY | DECAY_KEY => self.optimizer,
            "batch" | "sampling" => self.batch,
            WINDOW_KEY => self.examples,
            _ => false,
        }
    }

    /// The name of the method that allows the setting with this metadata key to differ; `None` if there is none.
    fn allowing(key: &str) -> Option<&'static str> {
        let all = [
            (Self::new().optimizer(), "optimizer"),
            (Self::new().batch(), "batch"),
            (Self::new().examples(), "examples"),
        ];
        let mut all = all.into_iter().filter(|(changes, _)| changes.allow(key));
        all.next().map(|(_, name)| name)
    }
}

/// The step number and the settings of a training. Together with the tensors, they determine its next steps.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    /// Number of steps taken.
    step: u64,
    /// Number of steps that were taken before the optimizer state started from zero.
    began: u64,
    /// Set if the training uses a data set.
    minibatches: Option<Minibatches>,
    /// Set if the training uses a stream.
    streamed: Option<Streamed>,
    /// Description of the optimizer, with its settings.
    optimizer: String,
    has_weight_decay: bool,
    groups: String,
    /// Decay of the moving average of the parameters; empty if there is no moving average.
    average: String,
    loss: String,
}

/// How minibatches are drawn from a data set.
#[derive(Debug, Clone)]
struct Minibatches {
    /// Rows per minibatch, as text. If there are several minibatches per step, also their number: `4 of 100`.
    batch: String,
    /// Name of the data set, for messages. It is neither compared nor stored in the file.
    data_name: String,
    /// Number of examples, as text such as `60000 examples`.
    data_size: String,
    data_digest: String,
    sampling: Sampling,
}

/// How minibatches are drawn from a stream.
#[derive(Debug, Clone)]
struct Streamed {
    /// Rows per minibatch, as text.
    batch: String,
    sampling: String,
    /// Number of the window that contains the next minibatch.
    window: u32,
    /// Number of rows of the current window that were already used.
    rows: usize,
}

/// The point at which a resumed training starts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Start {
    /// Number of steps that the saved training has taken.
    pub(crate) step: u64,
    /// Number of steps that were taken before the optimizer state started from zero.
    pub(crate) began: u64,
    /// Number of rows of the stream's current window that were already used; 0 if the resumed training has no stream,
    /// draws rows differently, or is at another window than the saved training.
    #[cfg_attr(
        target_arch = "wasm32",
        expect(dead_code, reason = "a browser has no streams")
    )]
    pub(crate) rows_of_window: usize,
}

impl Position {
    /// Creates the position after `step` steps with the given loss, optimizer, parameter groups and moving average. The
    /// optimizer state started from zero after `began` steps.
    pub(crate) fn new(
        [step, began]: [u64; 2],
        loss: &dyn Loss,
        optimizer: &dyn Optimizer,
        groups: &Groups,
        average: Option<f32>,
    ) -> Self {
        Self {
            step,
            began,
            minibatches: None,
            streamed: None,
            optimizer: optimizer.describe(),
            has_weight_decay: optimizer.has_weight_decay(),
            groups: groups.to_string(),
            average: average.map_or_else(String::new, number),
            loss: loss.describe(),
        }
    }

    /// Adds the minibatches of a data set: `batch` rows per minibatch, and `accumulated` minibatches per step.
    pub(crate) fn with_minibatches(
        self,
        [batch, accumulated]: [usize; 2],
        examples: &Examples,
        sampling: &Sampling,
    ) -> Self {
        let minibatches = Minibatches {
            batch: match accumulated {
                1 => batch.to_string(),
                _ => format!("{accumulated} of {batch}"),
            },
            data_name: examples.name().to_owned(),
            data_size: format!("{} examples", examples.len()),
            data_digest: hex(examples.digest()),
            sampling: sampling.clone(),
        };
        Self {
            minibatches: Some(minibatches),
            ..self
        }
    }

    /// Adds the minibatches of a stream.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn with_stream(self, windows: &Windows) -> Self {
        let (window, rows) = windows.place();
        Self {
            streamed: Some(Streamed {
                batch: windows.batch().to_string(),
                sampling: windows.sampling(),
                window,
                rows,
            }),
            ..self
        }
    }

    /// The settings that must be equal so that a resumed training computes the same steps. Each item has the metadata
    /// key, the name in messages, and the value.
    fn settings(&self, graph: &Graph) -> [(&'static str, &'static str, String); 9] {
        let none = || "none".to_owned();
        let [batch, sampling] = match (&self.minibatches, &self.streamed) {
            (Some(of), _) => [of.batch.clone(), words(&of.sampling)],
            (None, Some(of)) => [of.batch.clone(), of.sampling.clone()],
            (None, None) => [none(), none()],
        };
        let window = self.streamed.as_ref().map(|of| of.window.to_string());
        [
            ("batch", "batch", batch),
            ("sampling", "sampling", sampling),
            (
                WINDOW_KEY,
                "window of the stream",
                window.unwrap_or_default(),
            ),
            ("optimizer", "optimizer", self.optimizer.clone()),
            (GROUPS_KEY, "grouping of parameters", self.groups.clone()),
            (AVERAGE_KEY, "moving average", self.average.clone()),
            (
                DECAY_KEY,
                "default of weight decay",
                self.decay().to_owned(),
            ),
            ("loss", "loss", self.loss.clone()),
            ("seed", "seed of the network", graph.seed().to_string()),
        ]
    }

    /// Says which parameters have weight decay if their group does not set it: `weights`, or empty if the optimizer has
    /// no weight decay. Older files do not have this key. In their trainings, all parameters had weight decay.
    fn decay(&self) -> &'static str {
        if self.has_weight_decay { "weights" } else { "" }
    }

    pub(super) fn metadata(&self, graph: &Graph) -> impl Iterator<Item = (String, String)> {
        let settings = self.settings(graph).map(|(key, _, value)| (key, value));
        let data = self.minibatches.iter().flat_map(|of| {
            let digest = of.data_digest.clone();
            let size = of.data_size.clone();
            [(DATA_KEY, digest), (DATA_SIZE_KEY, size)]
        });
        let all = settings.into_iter().chain(data);
        let began = match self.began {
            0 => String::new(),
            began => began.to_string(),
        };
        let rows = self.streamed.as_ref().map(|of| of.rows);
        let rows = rows.filter(|&rows| rows > 0).map(|rows| rows.to_string());
        let all = all.chain([
            ("step", self.step.to_string()),
            (BEGAN_KEY, began),
            (ROWS_KEY, rows.unwrap_or_default()),
        ]);
        // Leave out empty values: the training does not have these settings.
        let all = all.filter(|(_, value)| !value.is_empty());
        all.map(|(key, value)| (key.to_owned(), value))
    }

    /// Returns the point at which the training in a file continues. Fails if the file's settings or data differ from
    /// those of this position, except for the allowed `changes`.
    pub(super) fn start_in(
        &self,
        graph: &Graph,
        file: &File<'_>,
        changes: Changes,
    ) -> Result<Start, CheckpointError> {
        if file.text("step").is_empty() {
            return Err(CheckpointError::NoTraining { is_ours: true });
        }
        let mut differences = Vec::new();
        for (key, what, expected) in self.settings(graph) {
            let found = match file.text(key) {
                "" if key == DECAY_KEY && !expected.is_empty() => "all parameters",
                // Older files do not have this key.
                "" if key == WINDOW_KEY => continue,
                found => found,
            };
            if expected == found || changes.allow(key) {
                continue;
            }
            let or_none = |text: &str| match text {
                "" => "none".to_owned(),
                _ => shown(text),
            };
            let [expected, found] = match key {
                // Show the complete lists of groups: a part of a list would be unclear.
                GROUPS_KEY => [or_none(&expected), or_none(found)],
                _ => difference(&expected, found).map(|text| or_none(&text)),
            };
            differences.push(Difference {
                what,
                expected,
                found,
                allowed_by: Changes::allowing(key),
            });
        }
        if !differences.is_empty() {
            return Err(CheckpointError::Training { differences });
        }
        if let Some(of) = &self.minibatches
            && file.text(DATA_KEY) != of.data_digest
            && !changes.examples
        {
            return Err(CheckpointError::Data {
                expected: shown(&format!("\"{}\" ({})", of.data_name, of.data_size)),
                found: shown(file.text(DATA_SIZE_KEY)),
            });
        }
        let number = |key: &str| {
            let text = file.text(key);
            let valid = text.parse().ok().filter(|&step| step < MOST_STEPS);
            valid.ok_or_else(|| CheckpointError::Damaged {
                reason: format!(
                    "its {key} is \"{}\", expected a whole number below {MOST_STEPS}",
                    shown(text)
                ),
            })
        };
        let step = number("step")?;
        let began = match file.text(BEGAN_KEY) {
            "" => 0,
            _ => number(BEGAN_KEY)?,
        };
        let is_same_window = self.streamed.as_ref().is_some_and(|of| {
            file.text(WINDOW_KEY) == of.window.to_string() && file.text("sampling") == of.sampling
        });
        let rows = match file.text(ROWS_KEY) {
            "" => 0,
            _ => number(ROWS_KEY)?,
        };
        Ok(Start {
            step,
            began: began.min(step),
            rows_of_window: if is_same_window {
                usize::try_from(rows).unwrap_or(usize::MAX)
            } else {
                0
            },
        })
    }
}

fn words(sampling: &Sampling) -> String {
    match sampling {
        Sampling::WithReplacement { seed } => format!("with replacement, seed {seed}"),
        Sampling::Shuffled { seed } => format!("shuffled, seed {seed}"),
        Sampling::Listed(list) => {
            let mut hash = Sha256::new();
            hash_words(&mut hash, list.iter().map(|index| index.to_le_bytes()));
            let digest = hex(&hash.finalize());
            format!("listed, {} indices, SHA-256 {digest}", list.len())
        }
    }
}
