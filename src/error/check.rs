//! The faults that [`check_layer`](crate::check_layer), [`check_loss`](crate::check_loss) and
//! [`check_optimizer`](crate::check_optimizer) find.

use std::fmt;

use super::optimizer_fault::OptimizerFault;
use crate::shape::{Shape, TensorShape};

/// A pass of a layer, the pass of a loss, or the update of an optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pass {
    /// A layer computes its output `y` from its input `x`.
    Forward,
    /// A layer computes gradients from `dy`, the gradient of its output.
    Backward,
    /// A loss computes losses and their gradient from outputs and targets.
    Loss,
    /// An optimizer updates parameters and its state with gradients.
    Update,
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Loss => "loss",
            Self::Update => "update",
        })
    }
}

/// Whether a check runs a layer as in an evaluation, as in training, or as the first layer in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// The layer runs as in an evaluation.
    Evaluation,
    /// The layer runs as in training: it may draw random numbers and change its state.
    Training,
    /// The layer runs as the first layer of a network in training. Nothing reads its input gradient `dx`.
    First,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Evaluation => "in evaluation",
            Self::Training => "in training",
            Self::First => "as first layer",
        })
    }
}

/// The tensor element in which a check found a fault of a layer, loss or optimizer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Place {
    /// Name of the layer, or the description that the loss or optimizer gives of itself.
    pub name: String,
    /// The pass that computed the element.
    pub pass: Pass,
    /// How the layer was run; `None` for a loss or an optimizer.
    pub call: Option<Call>,
    /// The optimizer step, counted from 0; `None` for a layer or a loss.
    pub step: Option<u64>,
    /// Name of the tensor. For a layer: `y`, `dx`, the name of a state tensor, or a parameter gradient such as
    /// `dweight`. For a loss: `losses` or `doutputs`. For an optimizer: `parameter`, `gradient` or the name of a state
    /// tensor, with the parameter's group in brackets.
    pub tensor: String,
    /// Shape of the tensor.
    pub shape: TensorShape,
    /// Row of the element in the tensor, and index of the element within the row.
    pub element: [usize; 2],
    /// The input value at the same row and index, if the input has the shape of this tensor. The input is `x` for a
    /// layer, the network's outputs for a loss, and the gradient for an optimizer.
    pub x: Option<f32>,
}

impl Place {
    /// Creates the place of the element at flat index `at` of a tensor.
    pub(crate) fn new(name: &str, pass: Pass, tensor: &str, shape: TensorShape, at: usize) -> Self {
        let [_, columns] = shape.dims();
        Self {
            name: name.to_owned(),
            pass,
            call: None,
            step: None,
            tensor: tensor.to_owned(),
            shape,
            element: [at / columns, at % columns],
            x: None,
        }
    }

    /// The index of the element along every dimension, starting with its row.
    fn indices(&self) -> Vec<String> {
        let [row, mut rest] = self.element;
        let mut indices = Vec::new();
        for extent in self.shape.row.extents().iter().rev() {
            indices.push((rest % extent).to_string());
            rest /= extent;
        }
        indices.push(row.to_string());
        indices.reverse();
        indices
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pass,
            tensor,
            shape,
            ..
        } = self;
        write!(f, "{pass}")?;
        if let Some(call @ (Call::Training | Call::First)) = self.call {
            write!(f, " {call}")?;
        }
        if let Some(step) = self.step {
            write!(f, " of step {step}")?;
        }
        let element = self.indices().join(", ");
        write!(f, ": element ({element}) of {tensor} ({shape})")?;
        let of = match pass {
            Pass::Forward | Pass::Backward => "x",
            Pass::Loss => "the output",
            Pass::Update => "the gradient",
        };
        match self.x {
            Some(x) => write!(f, ", where {of} = {x:?}"),
            None => Ok(()),
        }
    }
}

/// A fault of a layer, a loss or an optimizer.
///
/// In these errors, the reference is the implementation in Rust with which a check compares the WGSL kernels: see
/// [`crate::reference`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The `Kernel` declaration in Rust differs from the WGSL, or the WGSL is invalid.
    #[error(
        "{name}: kernel {kernel} does not match its WGSL: {}. Make the bindings, block and workgroup size of the Kernel the same as in the WGSL",
        faults.join("; ")
    )]
    Contract {
        /// Name of the layer, loss or optimizer.
        name: String,
        /// Shader and entry point.
        kernel: String,
        /// All differences, or the message of the WGSL compiler naga with the line number.
        faults: Vec<String>,
    },

    /// The interpreter found a data race, a barrier that not all invocations reach, an access out of bounds, a read of
    /// uninitialized memory, or another fault that a device may hide.
    #[error("{name}, {pass}: kernel {kernel}: {found}")]
    Sanitizer {
        /// Name of the layer, loss or optimizer.
        name: String,
        /// The pass.
        pass: Pass,
        /// Shader and entry point.
        kernel: String,
        /// The fault, with line and column in the kernel's WGSL.
        found: String,
    },

    /// The layer's `spec` reports an invalid shape.
    #[error("{name}: {what} must be {expected}; it is {found}")]
    Shape {
        /// Name of the layer.
        name: String,
        /// The shape, for example `shape of weight in spec(3)`.
        what: String,
        /// The valid shapes.
        expected: &'static str,
        /// The shape that the layer reports.
        found: String,
    },

    /// The layer does not accept one-dimensional rows, which the check uses by default.
    #[error(
        "{name} refuses rows of shape {input}: {reason}. If it takes rows of another shape, name them with LayerCheck::shapes, for example LayerCheck::default().shapes([(4, [3, 5, 5])])"
    )]
    Refused {
        /// Name of the layer.
        name: String,
        /// Shape of the rows.
        input: Shape,
        /// The error of the layer's `spec`.
        reason: String,
    },

    /// A pass records no kernel although it must write something.
    #[error(
        "{name}, {pass}: no kernel was recorded, so nothing writes {missing}. Record one with Recorder::dispatch or Recorder::dispatch_each"
    )]
    NothingRecorded {
        /// Name of the layer, loss or optimizer.
        name: String,
        /// The pass.
        pass: Pass,
        /// The tensors that nothing writes, for example `dx and dweight`.
        missing: String,
    },

    /// A kernel left an element of its output unwritten.
    #[error("{}, {at} was not written. {}", at.name, whole(at.pass))]
    Unwritten {
        /// The first element that was not written.
        at: Box<Place>,
    },

    /// A kernel wrote outside a tensor, or wrote a tensor that it may only read.
    #[error("{name}, {pass}: a kernel wrote {found} of {tensor} ({shape}). {}", guard(*pass))]
    Stray {
        /// Name of the layer, loss or optimizer.
        name: String,
        /// The pass.
        pass: Pass,
        /// Name of the tensor.
        tensor: String,
        /// Shape of the tensor, for example `3 × 7`.
        shape: String,
        /// What the kernel wrote, for example `8 elements after the end`.
        found: String,
    },

    /// A pass changed the layer's state, but only the forward pass of a training step may do so.
    #[error(
        "{name}: {by} changed {state} in the {pass} pass {call}. State may change only in the forward pass of a training step: check the Mode"
    )]
    StateChanged {
        /// Name of the layer.
        name: String,
        /// Name of the state tensor.
        state: String,
        /// The pass that changed the state.
        pass: Pass,
        /// How the layer was run.
        call: Call,
        /// The implementation that changed the state: `the WGSL` or `the reference`.
        by: &'static str,
    },

    /// A result is NaN although all inputs are finite.
    #[error(
        "{}, {at} is NaN in {by}. The formula overflows, or it reads outside its tensors (NaN lies around them). Keep the formula finite, or set the range of its inputs with {}", at.name, range(at.pass)
    )]
    Nan {
        /// The first NaN element.
        at: Box<Place>,
        /// The implementation with the NaN: `the WGSL` or `the reference`.
        by: &'static str,
    },

    /// The results of the WGSL and of the CPU reference differ by more than rounding can explain.
    #[error(
        "{}, {at} is {found:e} in the WGSL and {expected:e} in the reference; rounding explains a difference of {bound:.1e}. {}",
        at.name, advice(at)
    )]
    Parity {
        /// The element with the largest deviation.
        at: Box<Place>,
        /// The value that the GPU computed.
        found: f64,
        /// The value that the reference computes in `f64`.
        expected: f64,
        /// The largest allowed difference.
        bound: f64,
    },

    /// The reference's gradient is not the derivative of the reference's forward pass or loss.
    #[error(
        "{}, {at} is {found:e} in the reference's gradient, but central differences of its values give {expected:e} ± {bound:.1e}: the derivative in the reference is wrong (the derivative in the WGSL has not been checked yet)", at.name
    )]
    Derivative {
        /// The element with the largest deviation.
        at: Box<Place>,
        /// The gradient of the reference.
        found: f64,
        /// The gradient that central differences give.
        expected: f64,
        /// The largest allowed difference.
        bound: f64,
    },

    /// The reference of a loss does not return the mean loss over the rows.
    #[error(
        "{name}: the reference returns {found:e} for {rows} rows, but the mean of its losses for each row alone is {expected:e}. It must return the mean over the rows{}",
        if *is_sum { "; it returns their sum" } else { "" }
    )]
    NoMean {
        /// Name of the loss.
        name: String,
        /// Rows of the minibatch.
        rows: usize,
        /// The reference's result for all rows together.
        found: f64,
        /// The mean of the reference's results when it is called for one row at a time.
        expected: f64,
        /// Whether the result for all rows is the sum over the rows.
        is_sum: bool,
    },

    /// A loss computes the gradient of the sum over the rows instead of the gradient of the mean.
    #[error(
        "{name}: doutputs in {by} is {rows} times the reference's gradient of the mean, for {rows} rows. It must be the gradient of the mean of the losses, but it is the gradient of their sum: divide it by the number of rows"
    )]
    Summed {
        /// Name of the loss.
        name: String,
        /// The implementation at fault: `the WGSL` or `the reference`.
        by: &'static str,
        /// Rows of the minibatch.
        rows: usize,
    },

    /// Rust code of the layer, loss or optimizer panicked.
    #[error("{name}: {what} panicked: {message}")]
    Panic {
        /// Name of the layer, loss or optimizer.
        name: String,
        /// The code that panicked, for example `the reference's forward pass (3 × 7 inputs, 3 × 14 outputs)`.
        what: String,
        /// The panic message.
        message: String,
    },

    /// A fault that only an optimizer can have.
    #[error(transparent)]
    Optimizer(#[from] Box<OptimizerFault>),
}

impl From<OptimizerFault> for CheckError {
    fn from(fault: OptimizerFault) -> Self {
        Self::Optimizer(fault.into())
    }
}

fn whole(pass: Pass) -> &'static str {
    match pass {
        Pass::Forward | Pass::Backward => {
            "Layer::spec gives another shape than the kernel writes, or the dispatch has too few invocations"
        }
        Pass::Loss => {
            "Write every element of losses (1, rows) and doutputs (rows, outputs): the dispatch has too few invocations, or no kernel writes one of the two"
        }
        Pass::Update => {
            "Write every element of every part of Update::parts: the dispatch has too few invocations"
        }
    }
}

fn guard(pass: Pass) -> &'static str {
    match pass {
        Pass::Forward | Pass::Backward => {
            "The kernel needs a guard like `if (i < shape.elements)`, or Layer::spec gives another shape than the \
            kernel writes"
        }
        Pass::Loss => {
            "The kernel needs a guard like `if (row < shape.rows)`: losses is (1, rows), and doutputs (rows, outputs)"
        }
        Pass::Update => {
            "An update must write only the parameters and state of Update::parts: it needs a guard like `if (i < settings.elements)`"
        }
    }
}

fn range(pass: Pass) -> &'static str {
    match pass {
        Pass::Forward | Pass::Backward => "LayerCheck::inputs",
        Pass::Loss => "LossCheck::outputs and LossCheck::targets",
        Pass::Update => {
            "OptimizerCheck::parameters and OptimizerCheck::gradients (every row of the coefficients is NaN except the row of the step, which is step modulo slots)"
        }
    }
}

fn advice(at: &Place) -> &'static str {
    let is_gradient = at.pass == Pass::Backward || at.tensor == "doutputs";
    if is_gradient {
        "The reference agrees with central differences: the derivative in the WGSL is wrong"
    } else {
        "One of the two formulas is wrong"
    }
}
