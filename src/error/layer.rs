use std::fmt;

/// Which way through a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// `y` from `x`.
    Forward,
    /// Gradients from `dy`.
    Backward,
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
        })
    }
}

/// Where in a layer something is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Name of the layer.
    pub layer: String,
    /// Which pass.
    pub pass: Pass,
    /// `y`, `dx`, or the gradient by a parameter, for example `dweight`.
    pub tensor: String,
    /// Its rows and columns.
    pub shape: [usize; 2],
    /// Row and column of the element.
    pub element: [usize; 2],
    /// The input `x` at that row and column, where `x` has the shape of this tensor.
    pub x: Option<f32>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [[rows, columns], [row, column]] = [self.shape, self.element];
        let Self { pass, tensor, .. } = self;
        write!(
            f,
            "{pass}: element ({row}, {column}) of {tensor} ({rows}×{columns})"
        )?;
        match self.x {
            Some(x) => write!(f, ", where x = {x:?}"),
            None => Ok(()),
        }
    }
}

/// What is wrong with a layer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// A kernel declares something else than its WGSL says, or the WGSL is not valid.
    #[error(
        "{layer}: kernel {kernel} is not what its WGSL says: {}. Make bindings, block and workgroup size of the Kernel those of the WGSL",
        faults.join("; ")
    )]
    Contract {
        /// Name of the layer.
        layer: String,
        /// Shader and entry point.
        kernel: String,
        /// Each thing that differs, or naga's message with the line.
        faults: Vec<String>,
    },

    /// A shape that the layer states cannot be.
    #[error("{layer}: {what} must be {expected}; it is {found}")]
    Shape {
        /// Name of the layer.
        layer: String,
        /// For example `parameters(3): shape of weight`.
        what: String,
        /// What it may be.
        expected: String,
        /// What it is.
        found: String,
    },

    /// A kernel left out a part of what it should write.
    #[error(
        "{}, {at} was not written. Layer::outputs or Layer::parameters gives another shape than the kernel writes, or too few invocations are dispatched", at.layer
    )]
    Unwritten {
        /// The first element that was left out.
        at: Box<Place>,
    },

    /// A kernel wrote outside of a tensor, or into one that it should read.
    #[error(
        "{layer}, {pass}: a kernel wrote {found} of {tensor} ({rows}×{columns}). It needs a guard like `if (i < shape.elements)`, or Layer::outputs or Layer::parameters gives another shape than the kernel writes",
        rows = shape[0], columns = shape[1]
    )]
    Stray {
        /// Name of the layer.
        layer: String,
        /// Which pass.
        pass: Pass,
        /// Name of the tensor.
        tensor: String,
        /// Its rows and columns.
        shape: [usize; 2],
        /// For example `8 elements behind the end`.
        found: String,
    },

    /// A result is not a number, though no input is infinite or NaN.
    #[error(
        "{}, {at} is NaN by {by}. Its formula overflows, or it reads what is not its tensors (NaN lies around them). Keep the formula finite, or say with LayerCheck::inputs for which inputs it is meant", at.layer
    )]
    Nan {
        /// The first such element.
        at: Box<Place>,
        /// `the WGSL` or `the reference`.
        by: &'static str,
    },

    /// The WGSL and the reference disagree.
    #[error(
        "{}, {at} is {found:e} by the WGSL and {expected:e} by the reference; rounding explains a difference of {bound:.1e}. {}",
        at.layer, advice(at.pass)
    )]
    Parity {
        /// The element that is furthest off.
        at: Box<Place>,
        /// What the GPU computed.
        found: f64,
        /// What the reference computes in `f64`.
        expected: f64,
        /// How far apart they may be.
        bound: f64,
    },

    /// The reference's backward pass is not the derivative of its forward pass.
    #[error(
        "{}, {at} is {found:e} by the reference's backward pass, but central differences of its forward pass give {expected:e} ± {bound:.1e}: the derivative in the reference is wrong (the WGSL's was not looked at yet)", at.layer
    )]
    Derivative {
        /// The element that is furthest off.
        at: Box<Place>,
        /// What the reference's backward pass says.
        found: f64,
        /// What central differences of its forward pass say.
        expected: f64,
        /// How far apart they may be.
        bound: f64,
    },

    /// The layer's own Rust code panicked.
    #[error("{layer}: {what} panicked: {message}")]
    Panic {
        /// Name of the layer.
        layer: String,
        /// For example `the reference's forward pass of 3×7 inputs to 3×14 outputs`.
        what: String,
        /// What the panic said.
        message: String,
    },
}

fn advice(pass: Pass) -> &'static str {
    match pass {
        Pass::Forward => "One of the two formulas is wrong",
        Pass::Backward => {
            "The reference agrees with central differences: the derivative in the WGSL is wrong"
        }
    }
}
