use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use super::joined;
#[cfg(not(target_arch = "wasm32"))]
use crate::files::FileError;

/// The format of a file, as its metadata names it.
pub(crate) const FORMAT: &str = "wgrad 2";
/// What the names of an optimizer's tensors begin with.
pub(crate) const OPTIMIZER: &str = "optimizer.";

/// Why a checkpoint could not be written or taken. Nothing is changed by one that was not taken.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file could not be written.
    #[cfg(not(target_arch = "wasm32"))]
    #[error(transparent)]
    Write(FileError),
    /// The file could not be read.
    #[error("cannot read {}: {reason}. Name a file that was saved from this network", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A file that could be read is not taken.
    #[error("{}: {cause}{}", path.display(), part(path, cause))]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: Box<CheckpointError>,
    },
    /// It is far larger than what this network can have.
    #[error(
        "the file is larger than {most} bytes, far more than this network needs. Build the network that it \
         was saved from"
    )]
    TooLarge {
        /// The most bytes that are read.
        most: u64,
    },
    /// It is a file of another kind.
    #[error("expected a safetensors file, found {found}. {remedy}")]
    Kind {
        /// What it is, for example `a PyTorch file (a zip archive with pickled tensors)`.
        found: String,
        /// How to make a safetensors file of it.
        remedy: &'static str,
    },
    /// It is a safetensors file that is cut off or damaged.
    #[error(
        "the safetensors file is damaged: {reason}. Copy it again, or use an earlier checkpoint"
    )]
    Damaged {
        /// What is wrong with it.
        reason: String,
    },
    /// It is a file of this crate that is not as it was saved.
    #[error(
        "the file was changed after wgrad saved it, or is damaged: its SHA-256 differs. Use the file as wgrad saved \
         it. If the change is intended, save the file without the metadata key `format`: its weights then load like \
         those of another program"
    )]
    Changed,
    /// Another version of this crate wrote it.
    #[error(
        "another version of wgrad wrote the file: expected format \"{FORMAT}\", found \"{found}\". {}",
        other_version(*is_older)
    )]
    Version {
        /// The file's format, for example `wgrad 1`.
        found: String,
        /// Whether the version is an older one, whose weights load.
        is_older: bool,
    },
    /// A tensor is missing.
    #[error("tensor {name}, of shape {expected:?}, is missing: {present}. {remedy}")]
    Missing {
        /// Its name.
        name: String,
        /// The shape it should have.
        expected: Vec<usize>,
        /// The tensors that the file has instead, or the first of them.
        present: String,
        /// How to take them under the names of this network.
        remedy: String,
    },
    /// A tensor is there that this network has no use for.
    #[error(
        "tensor {name}, of shape {found:?}, does not belong to this network or optimizer. Build the network that the \
         file was saved from, or leave the tensor out with checkpoint::import"
    )]
    Unknown {
        /// Its name.
        name: String,
        /// The shape it has.
        found: Vec<usize>,
    },
    /// A tensor has another shape.
    #[error(
        "tensor {name}: expected shape {expected:?}, found {found:?}. {}",
        other_shape(expected, found)
    )]
    Shape {
        /// Its name.
        name: String,
        /// Expected shape.
        expected: Vec<usize>,
        /// The shape it has.
        found: Vec<usize>,
    },
    /// A tensor holds no floats.
    #[error(
        "tensor {name}: expected floats of 16, 32 or 64 bits, found {found}. Save it as float32, or leave it out with \
         checkpoint::import if the network does not use it"
    )]
    Element {
        /// Its name.
        name: String,
        /// What it holds, in words.
        found: String,
    },
    /// A tensor is of a type that the format does not have.
    #[error("tensor {name} is of type {found}, which wgrad does not know. Save it as float32")]
    Type {
        /// Its name.
        name: String,
        /// Its type, for example `Q4_0`.
        found: String,
    },
    /// A tensor of `f64` holds what no `f32` is.
    #[error("tensor {name} holds the float64 {value:?}, which {}", no_f32(*value))]
    Rounding {
        /// Its name.
        name: String,
        /// The first such value.
        value: f64,
    },
    /// The file holds a value that is infinite or NaN.
    #[error(
        "tensor {name} of the file holds {found}: the training had failed before the file was saved. Use a file that \
         was saved earlier"
    )]
    NotFinite {
        /// Name of the tensor.
        name: String,
        /// The first such value.
        found: f32,
    },
    /// What should be saved has a value that is infinite or NaN.
    #[error(
        "nothing was saved: tensor {name} holds {found}, so the training has failed. A file that was saved before is \
         unchanged: load its weights with set_weights or load_weights, and {}",
        failed(name)
    )]
    Failed {
        /// Name of the tensor.
        name: String,
        /// The first such value.
        found: f32,
    },
    /// It is of another network.
    #[error(
        "the file belongs to another network: expected {expected}, found {found}. Build the network that the file was \
         saved from"
    )]
    Network {
        /// The network that should take it.
        expected: String,
        /// The network in the file.
        found: String,
    },
    /// It holds no training that could go on.
    #[error(
        "the file holds only weights and no training{}. Load the weights with set_weights or load_weights; to go on \
         with a training, use a file that Trainer::save has written",
        if *is_ours { "" } else { ", which another program saved" }
    )]
    NoTraining {
        /// Whether this crate wrote it.
        is_ours: bool,
    },
    /// It is of a training with other settings.
    #[error("{}", of_other_settings(differences))]
    Training {
        /// What differs, one setting at least.
        differences: Vec<Difference>,
    },
    /// It is of a training on other data.
    #[error(
        "the training in the file used other data: expected {expected}, the data of this training, found {found} with \
         another SHA-256. To go on from it, give this training the same examples in the same order; for its weights \
         alone, use set_weights or load_weights"
    )]
    Data {
        /// Name and size of the data set.
        expected: String,
        /// Size of the data set that the file's training had.
        found: String,
    },
    /// It does not say of what network it is.
    #[error(
        "the file does not describe its network{}. Build the network in your program, and load the file's weights with \
         load_weights",
        if *is_ours { ": an earlier version of wgrad saved it" } else { ": wgrad did not save it" }
    )]
    NoStructure {
        /// Whether this crate wrote it.
        is_ours: bool,
    },
    /// It is of a network with a layer from outside of this crate.
    #[error(
        "the file's network has a layer {name}, which is not a layer of wgrad. Make the network with \
         Sequential::load_with, which asks for that layer, build it, and load the file's weights with load_weights"
    )]
    Layer {
        /// The layer's name.
        name: String,
    },
    /// What it says of its network makes no sense.
    #[error(
        "the file's description of its network makes no sense: {reason}. Use the file as wgrad saved it, or build the \
         network in your program and load the file's weights with load_weights"
    )]
    Structure {
        /// What is wrong with it.
        reason: String,
    },
    /// Two tensors were given one name.
    #[error(
        "tensors {first} and {second} would both be named {name}. Give each a name of its own, or leave one out"
    )]
    SameName {
        /// Name of one of them in the file.
        first: String,
        /// Name of the other.
        second: String,
        /// What both would be named.
        name: String,
    },
    /// A tensor was given the name that the format keeps for the metadata.
    #[error(
        "tensor {name} cannot be named __metadata__, because the format keeps its metadata under this name. Give it \
        another name"
    )]
    Reserved {
        /// Its name in the file.
        name: String,
    },
    /// There are more tensors than a file can name.
    #[error(
        "the names of the tensors take {found} bytes, but a file has room for {most}. Use fewer tensors, shorter \
         names, or columns of fewer categories (Category::at_least)"
    )]
    Header {
        /// What a header may take.
        most: usize,
        /// What this one would take.
        found: usize,
    },
}

/// The message, which says what to do: a `main` that returns an error prints this.
impl fmt::Debug for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the name of a file says that lacks a tensor: `model-00001-of-00002.safetensors`.
fn part(path: &Path, cause: &CheckpointError) -> &'static str {
    let name = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
    let ends_in_number = |text: &str| text.ends_with(|c: char| c.is_ascii_digit());
    match (cause, name.split_once("-of-")) {
        (CheckpointError::Missing { .. }, Some((part, of)))
            if ends_in_number(part) && ends_in_number(of) =>
        {
            ". Its name says that it is one of several files: join them in Python with safetensors.torch.load_file and \
             save_file"
        }
        _ => "",
    }
}

fn other_version(is_older: bool) -> &'static str {
    if is_older {
        "Only that version can go on with its training; for its weights, use set_weights or load_weights"
    } else {
        "Read it with that version, or save its weights with that version without the metadata key `format`"
    }
}

/// What an optimizer keeps are means or sums of squares of gradients: no learning rate makes those smaller at once.
fn failed(name: &str) -> &'static str {
    if name.starts_with(OPTIMIZER) {
        "scale features and targets to about −1…1: the gradients are too large for the state of the optimizer"
    } else {
        "go on with a lower learning rate"
    }
}

fn other_shape(expected: &[usize], found: &[usize]) -> &'static str {
    let size = |shape: &[usize]| shape.iter().product::<usize>();
    if found.len() == 2 && found.iter().rev().eq(expected) {
        "It is transposed: save it in the expected shape. The weight of a Linear is (outputs, inputs), as in PyTorch"
    } else if size(expected) == size(found) {
        "Build the network that the file was saved from, or save the tensor in the expected shape"
    } else {
        "Build the network that the file was saved from"
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the rounding that is told of"
)]
fn no_f32(value: f64) -> String {
    let rounded = value as f32;
    if rounded.is_infinite() {
        return "is beyond the range of float32. Scale the weights down, or leave the tensor out with \
            checkpoint::import"
            .to_owned();
    }
    let rounded = f64::from(rounded);
    format!(
        "float32 rounds to {rounded:?}. If rounding is intended, save it as float32, or use checkpoint::import, which \
         rounds"
    )
}

/// A setting of a training that a file has in another way.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// What differs, for example `batch`.
    pub what: &'static str,
    /// The setting of the training that takes the file; of a long text, the part that differs.
    pub expected: String,
    /// In the file.
    pub found: String,
    /// The method of [`Changes`](crate::checkpoint::Changes) that allows another, if one does.
    pub allowed_by: Option<&'static str>,
}

fn of_other_settings(differences: &[Difference]) -> String {
    let each = differences.iter().map(|difference| {
        let Difference {
            what,
            expected,
            found,
            ..
        } = difference;
        format!("a different {what}: expected {expected}, found {found}")
    });
    let names: Vec<_> = differences.iter().map(|of| of.what.to_owned()).collect();
    let mut allowed: Vec<_> = differences.iter().filter_map(|of| of.allowed_by).collect();
    allowed.dedup();
    let is_allowed = differences.iter().all(|of| of.allowed_by.is_some());
    let calls: String = allowed.iter().map(|name| format!(".{name}()")).collect();
    let or_allow = if is_allowed {
        format!(
            ", or allow a difference with resume_with (or set_safetensors_with) and Changes::new(){calls}"
        )
    } else {
        String::new()
    };
    format!(
        "the training in the file has {}. To go on from it, give this training the file's {}{or_allow}; for its weights \
         alone, use set_weights or load_weights",
        each.collect::<Vec<_>>().join("; "),
        joined(&names)
    )
}
