use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use super::joined;
#[cfg(not(target_arch = "wasm32"))]
use crate::files::FileError;

/// The current `format` in the metadata of files.
pub(crate) const FORMAT: &str = "wgrad 2";
/// Prefix of the names of an optimizer's tensors.
pub(crate) const OPTIMIZER: &str = "optimizer.";

/// Why a checkpoint could not be written or loaded. A failed load changes nothing.
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
        /// The reason that the system gives.
        reason: String,
    },
    /// A file was read, but could not be loaded.
    #[error("{}: {cause}{}", path.display(), part(path, cause))]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        cause: Box<CheckpointError>,
    },
    /// The file is far larger than this network's checkpoints can be.
    #[error(
        "the file is larger than {most} bytes, far more than this network needs. Build the network that it \
         was saved from"
    )]
    TooLarge {
        /// Largest size that is read, in bytes.
        most: u64,
    },
    /// The file is of another kind.
    #[error("expected a safetensors file, found {found}. {remedy}")]
    Kind {
        /// The kind of the file, for example `a PyTorch file (a zip archive with pickled tensors)`.
        found: String,
        /// How to make a safetensors file from it.
        remedy: &'static str,
    },
    /// The safetensors file is cut off or damaged.
    #[error(
        "the safetensors file is damaged: {reason}. Copy it again, or use an earlier checkpoint"
    )]
    Damaged {
        /// What is wrong with the file.
        reason: String,
    },
    /// A file of this crate was changed after it was saved.
    #[error(
        "the file was changed after wgrad saved it, or is damaged: its SHA-256 differs. Use the file as wgrad saved \
         it. If the change is intended, save the file without the metadata key `format`: its weights then load like \
         those of another program"
    )]
    Changed,
    /// Another version of this crate wrote the file.
    #[error(
        "another version of wgrad wrote the file: expected format \"{FORMAT}\", found \"{found}\". {}",
        other_version(*is_older)
    )]
    Version {
        /// The file's format, for example `wgrad 1`.
        found: String,
        /// Whether the version is older. Weights from an older version can be loaded.
        is_older: bool,
    },
    /// A tensor is missing.
    #[error("tensor {name}, of shape {expected:?}, is missing: {present}. {remedy}")]
    Missing {
        /// Name of the tensor.
        name: String,
        /// Expected shape.
        expected: Vec<usize>,
        /// Names of the tensors in the file; the first of them if there are many.
        present: String,
        /// How to load them under the names of this network.
        remedy: String,
    },
    /// The network has no tensor of this name.
    #[error(
        "tensor {name}, of shape {found:?}, does not belong to this network or optimizer. Build the network that the \
         file was saved from, or leave the tensor out with checkpoint::import"
    )]
    Unknown {
        /// Name of the tensor.
        name: String,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// A tensor has the wrong shape.
    #[error(
        "tensor {name}: expected shape {expected:?}, found {found:?}. {}",
        other_shape(expected, found)
    )]
    Shape {
        /// Name of the tensor.
        name: String,
        /// Expected shape.
        expected: Vec<usize>,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// A tensor does not contain floats.
    #[error(
        "tensor {name}: expected floats of 16, 32 or 64 bits, found {found}. Save it as float32, or leave it out with \
         checkpoint::import if the network does not use it"
    )]
    Element {
        /// Name of the tensor.
        name: String,
        /// Type of its elements, in words.
        found: String,
    },
    /// The type of a tensor is not in the format.
    #[error("tensor {name} is of type {found}, which wgrad does not know. Save it as float32")]
    Type {
        /// Name of the tensor.
        name: String,
        /// Type of the tensor, for example `Q4_0`.
        found: String,
    },
    /// A value of an `f64` tensor is not exactly an `f32`.
    #[error("tensor {name} holds the float64 {value:?}, which {}", no_f32(*value))]
    Rounding {
        /// Name of the tensor.
        name: String,
        /// The first such value.
        value: f64,
    },
    /// The file contains a value that is infinite or NaN.
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
    /// The tensors to save contain a value that is infinite or NaN.
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
    /// The file belongs to another network.
    #[error(
        "the file belongs to another network: expected {expected}, found {found}. Build the network that the file was \
         saved from"
    )]
    Network {
        /// The network that loads the file.
        expected: String,
        /// The network in the file.
        found: String,
    },
    /// The file contains no training to resume.
    #[error(
        "the file holds only weights and no training{}. Load the weights with set_weights or load_weights; to go on \
         with a training, use a file that Trainer::save has written",
        if *is_ours { "" } else { ", which another program saved" }
    )]
    NoTraining {
        /// Whether this crate wrote it.
        is_ours: bool,
    },
    /// The training in the file has other settings.
    #[error("{}", of_other_settings(differences))]
    Training {
        /// The settings that differ, at least one.
        differences: Vec<Difference>,
    },
    /// The training in the file used other data.
    #[error(
        "the training in the file used other data: expected {expected}, the data of this training, found {found} with \
         another SHA-256. To go on from it, give this training the same examples in the same order; for its weights \
         alone, use set_weights or load_weights"
    )]
    Data {
        /// Name and size of the data set.
        expected: String,
        /// Size of the data set in the file.
        found: String,
    },
    /// The file does not describe its network.
    #[error(
        "the file does not describe its network{}. Build the network in your program, and load the file's weights with \
         load_weights",
        if *is_ours { ": an earlier version of wgrad saved it" } else { ": wgrad did not save it" }
    )]
    NoStructure {
        /// Whether this crate wrote it.
        is_ours: bool,
    },
    /// The network in the file has a layer from outside this crate.
    #[error(
        "the file's network has a layer {name}, which is not a layer of wgrad. Make the network with \
         Sequential::load_with, which asks for that layer, build it, and load the file's weights with load_weights"
    )]
    Layer {
        /// Name of the layer.
        name: String,
    },
    /// The description of the network in the file is invalid.
    #[error(
        "the file's description of its network makes no sense: {reason}. Use the file as wgrad saved it, or build the \
         network in your program and load the file's weights with load_weights"
    )]
    Structure {
        /// What is wrong with the description.
        reason: String,
    },
    /// Two tensors were given the same name.
    #[error(
        "tensors {first} and {second} would both be named {name}. Give each a name of its own, or leave one out"
    )]
    SameName {
        /// Name of the first tensor in the file.
        first: String,
        /// Name of the second tensor in the file.
        second: String,
        /// The name that both were given.
        name: String,
    },
    /// A tensor was given the name that the format reserves for the metadata.
    #[error(
        "tensor {name} cannot be named __metadata__, because the format keeps its metadata under this name. Give it \
        another name"
    )]
    Reserved {
        /// Name of the tensor in the file.
        name: String,
    },
    /// The names of the tensors do not fit in the header of a file.
    #[error(
        "the names of the tensors take {found} bytes, but a file has room for {most}. Use fewer tensors, shorter \
         names, or columns of fewer categories (Category::at_least)"
    )]
    Header {
        /// Largest allowed header, in bytes.
        most: usize,
        /// Size of this header, in bytes.
        found: usize,
    },
}

/// Prints the message, which says what to do, because a `main` that returns an error prints `Debug`.
impl fmt::Debug for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A hint for a file that lacks a tensor and is named like a part of a model: `model-00001-of-00002.safetensors`.
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

/// How to continue after a failure. Optimizer state consists of means or sums of squares of gradients, which a lower
/// learning rate does not reduce at once.
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

/// A setting in which a training differs from the one in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// Name of the setting, for example `batch`.
    pub what: &'static str,
    /// The setting of the training that loads the file. If the text is long, only the part that differs.
    pub expected: String,
    /// The setting in the file.
    pub found: String,
    /// The method of [`Changes`](crate::checkpoint::Changes) that allows this difference, if there is one.
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
