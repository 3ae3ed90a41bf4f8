use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use super::joined;
#[cfg(not(target_arch = "wasm32"))]
use crate::files::FileError;

/// The value of `format` in the metadata of files that this version writes.
pub(crate) const FORMAT: &str = "wgrad 2";
/// Prefix of the names of an optimizer's tensors.
pub(crate) const OPTIMIZER: &str = "optimizer.";

/// The reason why a checkpoint could not be written or loaded. A failed load changes nothing.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file could not be written.
    #[cfg(not(target_arch = "wasm32"))]
    #[error(transparent)]
    Write(FileError),
    /// The file could not be read.
    #[error("cannot read {}: {reason}. Give a file that was saved from this network", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// The operating system's message.
        reason: String,
    },
    /// A file was read, but could not be loaded.
    #[error("{}: {cause}{}", path.display(), part(path, cause))]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Why the file could not be loaded.
        cause: Box<CheckpointError>,
    },
    /// The file is far larger than this network's checkpoints can be.
    #[error(
        "the file is larger than {most} bytes, far more than this network needs. Build the network that it \
         was saved from"
    )]
    TooLarge {
        /// Largest file size that is read, in bytes.
        most: u64,
    },
    /// The file is not a safetensors file.
    #[error("expected a safetensors file, found {found}. {remedy}")]
    Kind {
        /// What the file is, for example `a PyTorch file (a zip archive with pickled tensors)`.
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
        /// Whether the version that wrote the file is older than this version. Weights of an older version can be
        /// loaded.
        is_older: bool,
    },
    /// A tensor is missing.
    #[error("tensor {name}, of shape {expected:?}, is missing: {present}. {remedy}")]
    Missing {
        /// Name of the tensor.
        name: String,
        /// Expected shape.
        expected: Vec<usize>,
        /// Names of the tensors in the file, shortened if there are many.
        present: String,
        /// How to fix it, for example how to rename the tensors.
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
        /// Type of the elements, for example `integers of 64 bits`.
        found: String,
    },
    /// The element type of a tensor is not known to this crate.
    #[error("tensor {name} is of type {found}, which wgrad does not know. Save it as float32")]
    Type {
        /// Name of the tensor.
        name: String,
        /// Element type in the file, for example `Q4_0`.
        found: String,
    },
    /// No `f32` represents a value of an `f64` tensor exactly.
    #[error("tensor {name} holds the float64 {value:?}, which {}", no_f32(*value))]
    Rounding {
        /// Name of the tensor.
        name: String,
        /// The first value that no `f32` represents exactly.
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
        /// The first value that is infinite or NaN.
        found: f32,
    },
    /// A tensor that should be saved contains a value that is infinite or NaN.
    #[error(
        "nothing was saved: tensor {name} holds {found}, so the training has failed. A file that was saved before is \
         unchanged: load its weights with set_weights or load_weights, and {}",
        failed(name)
    )]
    Failed {
        /// Name of the tensor.
        name: String,
        /// The first value that is infinite or NaN.
        found: f32,
    },
    /// The file belongs to another network.
    #[error(
        "the file belongs to another network: expected {expected}, found {found}. Build the network that the file was \
         saved from"
    )]
    Network {
        /// Description of the network that loads the file.
        expected: String,
        /// Description of the network in the file.
        found: String,
    },
    /// The file contains no training to resume.
    #[error(
        "the file holds only weights and no training{}. Load the weights with set_weights or load_weights; to go on \
         with a training, use a file that Trainer::save has written",
        if *is_ours { "" } else { ", which another program saved" }
    )]
    NoTraining {
        /// Whether this crate wrote the file.
        is_ours: bool,
    },
    /// The training in the file has other settings.
    #[error("{}", of_other_settings(differences))]
    Training {
        /// The settings that differ, at least one.
        differences: Vec<Difference>,
    },
    /// The training in the file used other training data.
    #[error(
        "the training in the file used other data: expected {expected}, the data of this training, found {found} with \
         another SHA-256. To go on from it, give this training the same examples in the same order; for its weights \
         alone, use set_weights or load_weights"
    )]
    Data {
        /// Name and number of examples of the data set of the resumed training.
        expected: String,
        /// Number of examples of the data set that the file's training used.
        found: String,
    },
    /// The file does not describe the structure of its network.
    #[error(
        "the file does not describe its network{}. Build the network in your program, and load the file's weights with \
         load_weights",
        if *is_ours { ": an earlier version of wgrad saved it" } else { ": wgrad did not save it" }
    )]
    NoStructure {
        /// Whether this crate wrote the file.
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
    /// [`checkpoint::import`](crate::checkpoint::import) gave two tensors the same name.
    #[error(
        "tensors {first} and {second} would both be named {name}. Give each a name of its own, or leave one out"
    )]
    SameName {
        /// Name of the first tensor in the file.
        first: String,
        /// Name of the second tensor in the file.
        second: String,
        /// The new name of both tensors.
        name: String,
    },
    /// [`checkpoint::import`](crate::checkpoint::import) gave a tensor the name that the file format reserves for the
    /// metadata.
    #[error(
        "tensor {name} cannot be named __metadata__, because the format keeps its metadata under this name. Give it \
        another name"
    )]
    Reserved {
        /// Name of the tensor in the file.
        name: String,
    },
    /// The header of a file, with the names of all tensors, would be too large.
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

/// Prints the same message as `Display`, because a `main` that returns an error prints `Debug`.
impl fmt::Debug for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A hint for a file that lacks a tensor and whose name, such as `model-00001-of-00002.safetensors`, shows that it
/// contains only a part of a model.
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

/// How to continue after a training has failed. If the optimizer state overflowed, a lower learning rate alone does not
/// help: the state consists of means or sums of squared gradients, which do not depend on the learning rate directly.
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

/// A setting in which a training differs from the training in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// Name of the setting, for example `batch`.
    pub what: &'static str,
    /// The value in the training that resumes. If the text is long, only the part that differs.
    pub expected: String,
    /// The value in the file. If the text is long, only the part that differs.
    pub found: String,
    /// Name of the method of [`Changes`](crate::checkpoint::Changes) that allows this difference; `None` if no method
    /// does.
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
