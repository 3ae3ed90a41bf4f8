/// The reason why the steps of a training are not [fused](crate::Fusion).
///
/// A fused step computes the whole training step in two dispatches. A fused head computes the last `Linear` layers,
/// their activations and the loss in two dispatches.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfused {
    /// The fused step needs another kind of layer at this index of the network.
    #[error("layers.{index}, {name}, is not {expected}")]
    Layer {
        /// Index of the layer.
        index: usize,
        /// Name of the layer.
        name: String,
        /// The layers that are possible at this index.
        expected: &'static str,
    },
    /// The network is not a chain of layers.
    #[error(
        "the network is not a chain: it has several inputs, or it reads a value more than once"
    )]
    Graph,
    /// The loss is not softmax cross-entropy.
    #[error("the loss is not softmax cross-entropy")]
    Loss,
    /// A fused head does not support the loss.
    #[error(
        "the loss is not MeanSquaredError, RelativeL2, Huber, BinaryCrossEntropy or SoftmaxCrossEntropy: a fused head \
         supports only these"
    )]
    RowLoss,
    /// The loss is softmax cross-entropy with class weights or smoothed labels.
    #[error("the loss has class weights or label smoothing, which the fused step does not support")]
    AdjustedLoss,
    /// The features of the training data are floats instead of bytes.
    #[error("the features are not bytes")]
    Features,
    /// The rows of the training data have weights.
    #[error("rows have weights, which a fused head does not support")]
    RowWeights,
    /// A parameter of the fused head is frozen.
    #[error("{name} is frozen: a fused head computes the gradients of all its parameters")]
    Frozen {
        /// Name of the parameter, for example `layers.2.weight`.
        name: String,
    },
    /// The optimizer is not plain SGD with a constant learning rate.
    #[error("the optimizer is not plain SGD with a constant learning rate")]
    Optimizer,
    /// The training freezes, groups or averages parameters, or accumulates gradients.
    #[error("parameters are frozen, grouped or averaged, or gradients are accumulated")]
    Steered,
    /// There are too many linear layers.
    #[error("the network has {found} linear layers, more than {most}")]
    Depth {
        /// Number of linear layers.
        found: usize,
        /// Largest supported number.
        most: usize,
    },
    /// The layers have too many outputs in total.
    #[error("its layers have {found} outputs together, more than {most}")]
    Width {
        /// Total number of outputs.
        found: usize,
        /// Largest supported number.
        most: usize,
    },
    /// The parameters do not fit in one buffer.
    #[error("its parameters fill more than one buffer")]
    Parameters,
    /// A kernel needs more loop iterations than a software driver allows.
    #[error(
        "a kernel would take {needed} loop iterations, but this driver ends loops after {available}"
    )]
    Iterations {
        /// Loop iterations of the longest invocation.
        needed: u64,
        /// Loop iterations that the driver allows.
        available: u64,
    },
    /// A dispatch would run so long that the operating system could reset a slow GPU.
    #[error(
        "a dispatch would have {needed} floating-point operations, but may have {available} (flops_per_dispatch)"
    )]
    Long {
        /// Floating-point operations of the longest dispatch.
        needed: u64,
        /// The largest allowed number: [`Gpu::flops_per_dispatch`](crate::Gpu::flops_per_dispatch).
        available: u64,
    },
    /// The step could be fused, but would not be faster.
    #[error(
        "it would not be faster: it writes and reads {parts} bytes of partial sums, and has {later} weights after the first layer"
    )]
    Slower {
        /// Size of the partial sums that the fused step writes and reads again, in bytes.
        parts: u64,
        /// Number of weights of all layers except the first.
        later: u64,
    },
    /// The head could be fused, but is not expected to be faster.
    #[error("a fused head is not expected to be faster: {because}")]
    SlowerHead {
        /// Why a fused head is not expected to be faster.
        because: &'static str,
    },
    /// A kernel needs more than the device allows.
    #[error("{kernel} takes {needed} {what}, but this device allows {available} ({limit})")]
    Limit {
        /// The kernel, for example `fused_middle::middle`.
        kernel: String,
        /// The resource, for example `bytes of workgroup memory`.
        what: &'static str,
        /// Name of the limit, as `wgpu::Limits` spells it.
        limit: &'static str,
        /// Needed amount, in the unit that `what` names.
        needed: u64,
        /// Amount that the device allows, in the same unit.
        available: u64,
    },
    /// The intermediate results of a step do not fit a buffer.
    #[error(
        "sums of slices, or two minibatches, take {needed} bytes, but a binding holds {available}"
    )]
    Scratch {
        /// Bytes needed.
        needed: u64,
        /// Size of the largest possible binding, in bytes.
        available: u64,
    },
}
