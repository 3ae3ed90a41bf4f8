/// Why the steps of a training are not fused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfused {
    /// A layer in a place where the fused step has none of its kind.
    #[error("layers.{index}, {name}, is not {expected}")]
    Layer {
        /// Its index.
        index: usize,
        /// Its name.
        name: String,
        /// What could be there.
        expected: &'static str,
    },
    /// The network is no chain of layers.
    #[error(
        "the network is not a chain: it has several inputs, or it reads a value more than once"
    )]
    Graph,
    /// The loss is another.
    #[error("the loss is not softmax cross-entropy")]
    Loss,
    /// The loss is none of those that a fused head has.
    #[error(
        "the loss is not MeanSquaredError, RelativeL2, Huber, BinaryCrossEntropy or SoftmaxCrossEntropy: a fused head \
         supports only these"
    )]
    RowLoss,
    /// The loss is softmax cross-entropy with class weights or smoothed labels.
    #[error("the loss has class weights or label smoothing, which the fused step does not support")]
    AdjustedLoss,
    /// The features are floats.
    #[error("the features are not bytes")]
    Features,
    /// Rows have weights.
    #[error("rows have weights, which a fused head does not support")]
    RowWeights,
    /// A parameter of the head is frozen.
    #[error("{name} is frozen: a fused head computes the gradients of all its parameters")]
    Frozen {
        /// Its name, for example `layers.2.weight`.
        name: String,
    },
    /// The optimizer is another.
    #[error("the optimizer is not plain SGD with a constant learning rate")]
    Optimizer,
    /// Parameters are in groups or averaged, or gradients accumulated.
    #[error("parameters are frozen, grouped or averaged, or gradients are accumulated")]
    Steered,
    /// There are too many linear layers.
    #[error("the network has {found} linear layers, more than {most}")]
    Depth {
        /// How many there are.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// The layers are too wide together.
    #[error("its layers have {found} outputs together, more than {most}")]
    Width {
        /// How many there are.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// The parameters fill more than one buffer.
    #[error("its parameters fill more than one buffer")]
    Parameters,
    /// A kernel would loop longer than a software driver lets it.
    #[error(
        "a kernel would take {needed} loop iterations, but this driver ends loops after {available}"
    )]
    Iterations {
        /// Iterations of the longest invocation.
        needed: u64,
        /// Iterations that the driver runs.
        available: u64,
    },
    /// A dispatch would be so long that a system may take a slow GPU for hung.
    #[error(
        "a dispatch would have {needed} floating-point operations, but may have {available} (flops_per_dispatch)"
    )]
    Long {
        /// Floating-point operations of the longest dispatch.
        needed: u64,
        /// [`Gpu::flops_per_dispatch`](crate::Gpu::flops_per_dispatch).
        available: u64,
    },
    /// It can be fused, but would not be faster so.
    #[error(
        "it would not be faster: it passes on {parts} bytes of sums, and has {later} weights after the first layer"
    )]
    Slower {
        /// Bytes of the sums of slices.
        parts: u64,
        /// Weights of all layers but the first.
        later: u64,
    },
    /// The head can be fused, but is not taken for faster so.
    #[error("a fused head is not expected to be faster: {because}")]
    SlowerHead {
        /// What decides.
        because: &'static str,
    },
    /// A kernel needs more than the device allows.
    #[error("{kernel} takes {needed} {what}, but this device allows {available} ({limit})")]
    Limit {
        /// The kernel, for example `fused_middle::middle`.
        kernel: String,
        /// What it needs, for example `bytes of workgroup memory`.
        what: &'static str,
        /// Name of the limit, as `wgpu::Limits` spells it.
        limit: &'static str,
        /// How much is needed.
        needed: u64,
        /// How much there is.
        available: u64,
    },
    /// What a step hands on does not fit a buffer.
    #[error(
        "sums of slices, or two minibatches, take {needed} bytes, but a binding holds {available}"
    )]
    Scratch {
        /// Bytes needed.
        needed: u64,
        /// Bytes that a binding holds.
        available: u64,
    },
}
