//! The errors of this crate and their messages.

mod binding;
mod buffer;
#[cfg(not(target_arch = "wasm32"))]
mod check;
pub(crate) mod checkpoint;
mod data;
pub(crate) mod memory;
#[cfg(feature = "onnx")]
mod onnx;
#[cfg(not(target_arch = "wasm32"))]
mod optimizer_fault;
mod target_kind;
mod unfused;
mod words;

use std::fmt;
use std::time::Duration;

use crate::shape::TensorShape;
use memory::{readable, remedy};
#[cfg(not(target_arch = "wasm32"))]
use words::steps_taken;
use words::{listed, on_one_line};

pub use binding::BindingFault;
pub use buffer::BufferFault;
#[cfg(not(target_arch = "wasm32"))]
pub use check::{Call, CheckError, Pass, Place};
pub use checkpoint::{CheckpointError, Difference};
pub use data::{CellFault, CellKind, ColumnsError, DataError, NotOneHot, RowNumber, RowsError};
#[cfg(feature = "download")]
pub use data::{DownloadAttempt, DownloadFailure};
#[cfg(feature = "onnx")]
pub use onnx::OnnxError;
#[cfg(not(target_arch = "wasm32"))]
pub use optimizer_fault::{OptimizerFault, UpdateSetting};
pub use target_kind::TargetKind;
pub use unfused::Unfused;
pub(crate) use words::{joined, number};

/// An error of this crate. The fields hold the facts: what the program was doing, what was expected and what was found.
/// The message also says how to fix the error.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A data set or its files are invalid.
    #[error(transparent)]
    Data(#[from] DataError),

    /// A checkpoint could not be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),

    /// A network could not be written as ONNX.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Onnx(#[from] OnnxError),

    /// The sanitizer could not interpret a kernel, so the kernel was not checked.
    #[cfg(not(target_arch = "wasm32"))]
    #[error("{kernel} was not sanitized: {reason}")]
    Sanitize {
        /// Shader and entry point, for example `relu::forward`.
        kernel: String,
        /// The message of the WGSL interpreter.
        reason: String,
    },

    /// No adapter matches the request.
    #[error(
        "no GPU adapter found for {wanted}; adapters present: {}. {}",
        listed(found),
        no_adapter(found)
    )]
    NoAdapter {
        /// What was requested, for example `any adapter` or `name containing "NVIDIA"`.
        wanted: String,
        /// The adapters that are present.
        found: Vec<String>,
    },

    /// The adapter refused to open a device.
    #[error(
        "adapter {adapter} refused to open a device: {}. Update its driver or choose another adapter",
        on_one_line(reason)
    )]
    NoDevice {
        /// Name of the adapter.
        adapter: String,
        /// The adapter's message.
        reason: String,
    },

    /// A request exceeds a limit of the device or of this crate.
    #[error(
        "{what} needs {needed}, but {} allows {available} ({limit}). Make it smaller{}",
        if *limit == ELEMENTS { "this crate" } else { "this device" },
        or_lift(limit)
    )]
    Limit {
        /// What is too large, with the unit of the amounts: for example `layers.0.weight (784 × 100000), in bytes`.
        what: String,
        /// Name of the limit, spelled as in `wgpu::Limits` if it is one of those.
        limit: &'static str,
        /// Needed amount, in the unit that `what` names.
        needed: u64,
        /// Largest allowed amount, in the same unit.
        available: u64,
    },

    /// The host has too little memory for the request, so nothing was allocated.
    #[error(
        "{what} needs {} of memory, but {} is available ({limit}). Use a smaller network, fewer examples or fewer rows \
         at a time, or {}",
        readable(*needed),
        readable(*available),
        remedy(limit)
    )]
    Memory {
        /// What needs the memory, for example `a training of 4,346,934,160 parameters`.
        what: String,
        /// Total number of bytes needed.
        needed: u64,
        /// Bytes available.
        available: u64,
        /// What limits the memory, for example `the limit of ulimit -v`.
        limit: &'static str,
    },

    /// The device has no memory left.
    #[error(
        "the GPU ran out of memory while {doing}. Use a smaller network, batch or data set, or close other programs"
    )]
    OutOfMemory {
        /// What the program was doing.
        doing: String,
    },

    /// The device was lost: it was unplugged, reset by its driver, or destroyed.
    #[error(
        "the GPU device was lost while {doing}: {}. Its data is lost: make a new Gpu and start again",
        on_one_line(reason)
    )]
    DeviceLost {
        /// What the program was doing.
        doing: String,
        /// The driver's message.
        reason: String,
    },

    /// The device did not finish in time.
    #[error(
        "the GPU did not finish {doing} within {} s: it hangs, or is too slow for this work. Use a smaller batch or \
         network, or raise the limit with GpuBuilder::timeout",
        after.as_secs_f32()
    )]
    Timeout {
        /// What the program was doing.
        doing: String,
        /// How long the program waited.
        after: Duration,
    },

    /// wgpu refused a command.
    #[error(
        "wgpu reported an error while {doing}: {}; if your program has no kernels, buffers or wgpu calls of its own, \
         please report this as a bug of wgrad or of the GPU's driver",
        on_one_line(message)
    )]
    Gpu {
        /// What the program was doing.
        doing: String,
        /// wgpu's message.
        message: String,
    },

    /// The system cannot start the thread that waits for submitted work.
    #[error(
        "cannot start a thread that waits for the GPU: {message}. End other programs, or raise the limit of threads"
    )]
    Thread {
        /// The system's message.
        message: String,
    },

    /// A tensor or plan was made with another [`Gpu`](crate::Gpu).
    #[error(
        "{what} belongs to another Gpu than the one it is used with. Make it with that Gpu, or share one Gpu: Gpu::new \
         and Gpu::from_wgpu return a new Gpu, a clone is the same Gpu"
    )]
    OtherGpu {
        /// Label of the tensor, or names of the plan's kernels.
        what: String,
    },

    /// A setting is outside of its allowed range.
    #[error("{name} must be {expected}; it is {found}")]
    Setting {
        /// Name of the setting, for example `batch`.
        name: String,
        /// The allowed values.
        expected: String,
        /// The actual value.
        found: String,
    },

    /// A tensor or array does not have the expected shape.
    #[error("{what}: expected shape {expected}, found {found}. {remedy}")]
    Shape {
        /// Name of the tensor or array.
        what: String,
        /// Expected number of rows and shape of each row.
        expected: Box<TensorShape>,
        /// Actual number of rows and shape of each row.
        found: Box<TensorShape>,
        /// How to fix it.
        remedy: &'static str,
    },

    /// A count is too large or too small.
    #[error("{what}: expected {expected}, found {found}")]
    Count {
        /// What is counted, for example `parameters of the network`.
        what: String,
        /// Expected count.
        expected: usize,
        /// Actual count.
        found: usize,
    },

    /// A layer, loss or optimizer recorded a dispatch that does not fit its kernel.
    #[error("kernel {kernel}: {mistake}. {}", mistake.remedy())]
    Binding {
        /// Shader and entry point, for example `relu::forward`.
        kernel: String,
        /// The mistake.
        mistake: BindingFault,
    },

    /// A buffer that another part of the program created cannot be used as requested.
    #[error("{doing} is not possible, because the buffer of {label} {fault}")]
    Buffer {
        /// Label of the tensor, or label of the buffer if the tensor is not known.
        label: String,
        /// What the program was doing, for example `reading y`.
        doing: String,
        /// Why the buffer cannot be used.
        fault: BufferFault,
    },

    /// A data set has the wrong kind of targets: classes instead of values, or values instead of classes.
    #[error("data set \"{examples}\" has {}, but {needed}. {remedy}", found.name())]
    Targets {
        /// Name of the data set.
        examples: String,
        /// The kind of targets in the data set.
        found: TargetKind,
        /// Why another kind of targets is needed, for example `the loss SoftmaxCrossEntropy compares classes`.
        needed: String,
        /// How to fix it.
        remedy: &'static str,
    },

    /// The iterator of a [`Stream`](crate::data::Stream) returned an error instead of a block of rows.
    ///
    /// The training has taken all steps on the complete shuffling windows before this block. The rows of the incomplete
    /// window stay in memory. To continue with the next block, request steps again.
    #[cfg(not(target_arch = "wasm32"))]
    #[error(
        "cannot read block {block} of the stream: {source}. This call took {} before it; to go on with the next block, \
         ask for steps again",
        steps_taken(losses)
    )]
    Stream {
        /// Number of the block, from 0.
        block: u64,
        /// The iterator's error.
        source: Box<dyn std::error::Error + Send + Sync>,
        /// Losses of the steps that the failed call took before the error. For calls that return no losses, at most the
        /// last 16,384.
        losses: Vec<f32>,
    },

    /// The rows of a block of a [`Stream`](crate::data::Stream) do not fit the network and its loss.
    ///
    /// The block is skipped. The training continues in the same way as after [`Error::Stream`](Self::Stream).
    #[cfg(not(target_arch = "wasm32"))]
    #[error(
        "block {block} of the stream: expected {expected}, found {found}. This call took {} before it; make all blocks \
         of a stream in the same way, or ask for steps again to go on without this block",
        steps_taken(losses)
    )]
    Block {
        /// Number of the block, from 0.
        block: u64,
        /// The rows that the network and its loss need.
        expected: String,
        /// The rows of the block.
        found: String,
        /// Losses of the steps that the failed call took before the error. For calls that return no losses, at most the
        /// last 16,384.
        losses: Vec<f32>,
    },

    /// A check of a layer, loss or optimizer found a fault: see [`check_layer`](crate::check_layer),
    /// [`check_loss`](crate::check_loss) and [`check_optimizer`](crate::check_optimizer).
    #[cfg(not(target_arch = "wasm32"))]
    #[error(transparent)]
    Check(#[from] CheckError),

    /// [Fused](crate::Fusion) training steps were requested but are not possible.
    #[error(
        "the steps of this training cannot be fused: {0}. Use Fusion::Layers, or Fusion::Auto, which chooses a \
         possible plan"
    )]
    Plan(Unfused),

    /// Another process of a [distributed](crate::distributed) training has stopped because of an error.
    #[cfg(not(target_arch = "wasm32"))]
    #[error(
        "process {rank} has left the training: its own message says why. Start all processes again from the last \
         checkpoint"
    )]
    Process {
        /// Rank of the stopped process.
        rank: usize,
    },

    /// Training diverged: the loss is infinite or NaN, or a loss over classes has reached 2²⁴. Above 2²⁴, an `f32`
    /// cannot distinguish losses that differ by 1.
    #[error("training diverged: the loss of step {step} is {loss:e}. {remedy}")]
    Diverged {
        /// The first step, counted from 1, whose loss diverged.
        step: u64,
        /// The loss of that step: infinite or NaN, or, for classes, at least 2²⁴.
        loss: f32,
        /// Scheduled learning rate of the last update before that step. If there was no earlier update, the learning
        /// rate of the step itself.
        learning_rate: f32,
        /// Losses of the earlier steps of the same call.
        losses: Vec<f32>,
        /// How to fix it, given the settings and the data of this training.
        remedy: String,
    },

    /// The training was not saved, because it has [diverged](Self::Diverged).
    #[error(
        "not saved: the training diverged at step {step}. Use a file that was saved before: give its weights with \
         set_weights to a training with a lower learning rate"
    )]
    NotSaved {
        /// The first step, counted from 1, whose loss diverged.
        step: u64,
    },
}

/// Prints the same message as `Display`, because a `main` that returns an error prints `Debug`.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error {
    /// Adds to a [`Setting`](Self::Setting) error what the setting belongs to: the name becomes `name of place`.
    pub(crate) fn of(self, place: &str) -> Self {
        match self {
            Self::Setting {
                name,
                expected,
                found,
            } => Self::Setting {
                name: format!("{name} of {place}"),
                expected,
                found,
            },
            error => error,
        }
    }

    pub(crate) fn shape(
        what: impl Into<String>,
        expected: impl Into<TensorShape>,
        found: impl Into<TensorShape>,
        remedy: &'static str,
    ) -> Self {
        Self::Shape {
            what: what.into(),
            expected: Box::new(expected.into()),
            found: Box::new(found.into()),
            remedy,
        }
    }

    pub(crate) fn setting(
        name: impl Into<String>,
        expected: impl Into<String>,
        found: impl ToString,
    ) -> Self {
        Self::Setting {
            name: name.into(),
            expected: expected.into(),
            found: found.to_string(),
        }
    }
}

/// The name of the limit on the elements of a tensor. No device can raise it, because kernels index with `u32`.
pub(crate) const ELEMENTS: &str = "elements of a tensor, which kernels count with u32";

/// The name of the limit that is set by [`GpuBuilder::flops_per_dispatch`](crate::gpu::GpuBuilder::flops_per_dispatch).
pub(crate) const FLOPS_PER_DISPATCH: &str = "flops_per_dispatch";

/// The end of the message about a limit: how to raise it, if that is possible.
fn or_lift(limit: &str) -> &'static str {
    match limit {
        ELEMENTS => "",
        FLOPS_PER_DISPATCH => IN_PARTS,
        _ => ANOTHER_DEVICE,
    }
}

const IN_PARTS: &str = ", record it with Recorder::dispatch_in_parts, or allow more with \
    GpuBuilder::flops_per_dispatch if the GPU is known to be fast: an operating system may reset a GPU that works on \
    one dispatch for 2 s";

const ANOTHER_DEVICE: &str = ", or use a device with a higher limit; if your program opens the device, raise its \
    required_limits";

const INSTALL_A_DRIVER: &str = "Install the driver of your GPU; without a GPU, install a software driver: on Debian or \
    Ubuntu `apt-get install mesa-vulkan-drivers libvulkan1`, on Fedora `dnf install mesa-vulkan-drivers vulkan-loader`";

fn no_adapter(found: &[String]) -> &'static str {
    match found {
        [] => INSTALL_A_DRIVER,
        _ => "Choose one of these, or install the driver of the missing one",
    }
}
