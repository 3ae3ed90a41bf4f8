//! Everything that can go wrong, with its messages.

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
pub use optimizer_fault::{Followed, OptimizerFault};
pub use target_kind::TargetKind;
pub use unfused::Unfused;
pub(crate) use words::{joined, number};

/// Everything that can go wrong, as facts: what was being done, what was expected and what was found. The message also
/// says what to do about it.
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

    /// A kernel could not be interpreted, so the sanitizer knows nothing about it.
    #[cfg(not(target_arch = "wasm32"))]
    #[error("{kernel} was not sanitized: {reason}")]
    Sanitize {
        /// Shader and entry point.
        kernel: String,
        /// The interpreter's message.
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

    /// Something needs more than the device allows.
    #[error(
        "{what} needs {needed}, but {} allows {available} ({limit}). Make it smaller{}",
        if *limit == ELEMENTS { "this crate" } else { "this device" },
        or_lift(limit)
    )]
    Limit {
        /// What is too large, and in which unit it is counted: for example `layers.0.weight (784 × 100000), in bytes`.
        what: String,
        /// Name of the limit, spelled as in `wgpu::Limits` if it is one of those.
        limit: &'static str,
        /// How much is needed.
        needed: u64,
        /// How much there is.
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
        /// What needs it, for example `a training of 4,346,934,160 parameters`.
        what: String,
        /// Bytes needed in total.
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
        /// What was being done.
        doing: String,
    },

    /// The device is gone: unplugged, reset by its driver, or destroyed.
    #[error(
        "the GPU device was lost while {doing}: {}. Its data is lost: make a new Gpu and start again",
        on_one_line(reason)
    )]
    DeviceLost {
        /// What was being done.
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
        /// What was being done.
        doing: String,
        /// How long the program waited.
        after: Duration,
    },

    /// wgpu refused a command.
    #[error("wgpu reported an error while {doing}: {}", on_one_line(message))]
    Gpu {
        /// What was being done.
        doing: String,
        /// wgpu's message.
        message: String,
    },

    /// A tensor or plan belongs to another device.
    #[error(
        "{what} belongs to another Gpu than the one it is used with. Make it with that Gpu, or share one Gpu: Gpu::new \
         and Gpu::from_wgpu return a new Gpu, a clone is the same Gpu"
    )]
    OtherGpu {
        /// The label of the tensor, or the kernels of the plan.
        what: String,
    },

    /// A setting is outside of its allowed range.
    #[error("{name} must be {expected}; it is {found}")]
    Setting {
        /// The setting, for example `batch`.
        name: String,
        /// The allowed values.
        expected: String,
        /// The actual value.
        found: String,
    },

    /// Two things that must have the same shape differ.
    #[error("{what}: expected shape {expected}, found {found}. {remedy}")]
    Shape {
        /// The thing that has the shape.
        what: String,
        /// Number of rows and their shape, as expected.
        expected: Box<TensorShape>,
        /// Number of rows and their shape, as found.
        found: Box<TensorShape>,
        /// What to do about it.
        remedy: &'static str,
    },

    /// There are more or fewer of something than there should be.
    #[error("{what}: expected {expected}, found {found}")]
    Count {
        /// The things that are counted, for example `parameters of the network`.
        what: String,
        /// How many there should be.
        expected: usize,
        /// How many there are.
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

    /// A buffer from outside the crate cannot be used in this way.
    #[error("{doing} is not possible, because the buffer of {label} {fault}")]
    Buffer {
        /// The label of the tensor, or of the buffer if no tensor is known.
        label: String,
        /// What was being done, for example `reading y`.
        doing: String,
        /// The reason.
        fault: BufferFault,
    },

    /// Examples have classes where values are needed, or the other way round.
    #[error("data set \"{examples}\" has {}, but {needed}. {remedy}", found.name())]
    Targets {
        /// Name of the data set.
        examples: String,
        /// What the data set has.
        found: TargetKind,
        /// What needs the other kind, for example `the loss SoftmaxCrossEntropy compares classes`.
        needed: String,
        /// What to do about it.
        remedy: &'static str,
    },

    /// The iterator of a [`Stream`](crate::data::Stream) returned an error instead of a block. All steps of complete
    /// windows before this block are taken, and the rows of the interrupted window are kept: the next call goes on with
    /// the block after it.
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
        /// The losses of the steps of the same call before the error; at most the last 16,384, where the call returns
        /// no losses.
        losses: Vec<f32>,
    },

    /// The rows of a block of a [`Stream`](crate::data::Stream) do not fit the network and its loss. The block is
    /// skipped; otherwise everything is as in [`Stream`](Self::Stream).
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
        /// The losses of the steps of the same call before the error; at most the last 16,384, where the call returns
        /// no losses.
        losses: Vec<f32>,
    },

    /// A check of a layer, loss or optimizer found a fault: see [`check_layer`](crate::check_layer),
    /// [`check_loss`](crate::check_loss) and [`check_optimizer`](crate::check_optimizer).
    #[cfg(not(target_arch = "wasm32"))]
    #[error(transparent)]
    Check(#[from] CheckError),

    /// The fused plan was requested but is not possible.
    #[error(
        "the steps of this training cannot be fused: {0}. Use Fusion::Layers, or Fusion::Auto, which chooses"
    )]
    Plan(Unfused),

    /// A process of a [distributed](crate::distributed) training has left it, because of an error of its own.
    #[cfg(not(target_arch = "wasm32"))]
    #[error(
        "process {rank} has left the training: its own message says why. Start all processes again from the last \
         checkpoint"
    )]
    Process {
        /// The rank of that process.
        rank: usize,
    },

    /// Training diverged: the loss is infinite or NaN, or a loss of classes has reached 2²⁴. Up to there an `f32`
    /// distinguishes losses that differ by 1.
    #[error("training diverged: the loss of step {step} is {loss:e}. {remedy}")]
    Diverged {
        /// The first step, counted from 1, whose minibatch had such a loss.
        step: u64,
        /// That loss: infinite or NaN, or, for classes, at least 2²⁴.
        loss: f32,
        /// The learning rate, by its schedule, of the last update before that loss; if there was no update, that of the
        /// step itself.
        learning_rate: f32,
        /// The losses of the same call before it.
        losses: Vec<f32>,
        /// What to do about it, given the settings and the data of this training.
        remedy: String,
    },

    /// A diverged training cannot be saved.
    #[error(
        "not saved: the training diverged at step {step}. Use a file that was saved before: give its weights with \
         set_weights to a training with a lower learning rate"
    )]
    NotSaved {
        /// The first step, counted from 1, whose loss was not sound.
        step: u64,
    },
}

/// Prints the message, which says what to do: a `main` that returns an error prints this.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error {
    /// Names the thing that an invalid setting belongs to.
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

/// The limit that no device can raise: kernels index with `u32`.
pub(crate) const ELEMENTS: &str = "elements of a tensor, which kernels count with u32";

/// The limit of [`GpuBuilder::flops_per_dispatch`](crate::gpu::GpuBuilder::flops_per_dispatch).
pub(crate) const FLOPS_PER_DISPATCH: &str = "flops_per_dispatch";

/// What else to do about a limit that is too low.
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
