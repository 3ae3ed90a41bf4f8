//! The arrays that the passes of layers and losses read and write.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};

use super::Float;
use crate::error::TargetKind;
use crate::shape::Shape;

/// The source of a layer's random numbers in a training step: see [`crate::ops::Draw`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Draw {
    /// The layer's key.
    pub key: [u32; 2],
    /// Number of training steps before this one. It wraps around, as on a GPU.
    pub step: u32,
}

impl Draw {
    /// Creates the source of a layer's random numbers from the layer's key and the number of steps before this one.
    #[must_use]
    pub fn new(key: [u32; 2], step: u32) -> Self {
        Self { key, step }
    }
}

/// The purpose of a pass: see [`crate::ops::Mode`].
#[derive(Debug, Clone, Copy)]
pub enum Mode {
    /// Evaluation, or a gradient check: dropout is off, and no state changes.
    Evaluation,
    /// A training step, with the source of the layer's random numbers.
    Training(Draw),
}

/// The arrays that a layer's forward pass reads and writes: see [`crate::ops::Forward`]. All arrays have rows and
/// columns, as kernels see them ([`TensorShape::dims`](crate::TensorShape::dims)).
#[derive(Debug)]
#[non_exhaustive]
pub struct Forward<'a, F> {
    /// The layer's input, (rows, elements per row).
    pub x: ArrayView2<'a, F>,
    /// Shape of a row of `x`.
    pub input: Shape,
    /// The layer's parameters.
    pub parameters: &'a [Array2<F>],
    /// The layer's state, for example running means. Only a training step may change it.
    pub state: &'a mut [Array2<F>],
    /// Receives the values that the backward pass needs.
    pub kept: &'a mut [Array2<F>],
    /// The layer's output, (rows, elements per row).
    pub y: ArrayViewMut2<'a, F>,
    /// The purpose of the pass.
    pub mode: Mode,
}

impl<'a, F> Forward<'a, F> {
    /// Creates the forward pass of a layer that has no state and saves nothing for its backward pass. `input` is the
    /// shape of a row of `x`.
    #[must_use]
    pub fn new(
        (x, input): (ArrayView2<'a, F>, Shape),
        parameters: &'a [Array2<F>],
        y: ArrayViewMut2<'a, F>,
        mode: Mode,
    ) -> Self {
        Self {
            x,
            input,
            parameters,
            state: &mut [],
            kept: &mut [],
            y,
            mode,
        }
    }

    /// Sets the layer's state.
    #[must_use]
    pub fn with_state(self, state: &'a mut [Array2<F>]) -> Self {
        Self { state, ..self }
    }

    /// Sets the arrays for the values that the forward pass saves for the backward pass.
    #[must_use]
    pub fn with_kept(self, kept: &'a mut [Array2<F>]) -> Self {
        Self { kept, ..self }
    }
}

/// The arrays that a layer's backward pass reads and writes: see [`crate::ops::Backward`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Backward<'a, F> {
    /// Input of the forward pass.
    pub x: ArrayView2<'a, F>,
    /// Shape of a row of `x`.
    pub input: Shape,
    /// Output of the forward pass.
    pub y: ArrayView2<'a, F>,
    /// Gradient of the loss with respect to `y`.
    pub dy: ArrayView2<'a, F>,
    /// The layer's parameters.
    pub parameters: &'a [Array2<F>],
    /// The layer's state, after the forward pass.
    pub state: &'a [Array2<F>],
    /// The values that the forward pass saved.
    pub kept: &'a [Array2<F>],
    /// Receives the gradients with respect to the parameters.
    pub gradients: &'a mut [Array2<F>],
    /// Receives the gradient with respect to `x`; `None` if it is not needed.
    pub dx: Option<ArrayViewMut2<'a, F>>,
    /// The purpose of the forward pass.
    pub mode: Mode,
}

impl<'a, F> Backward<'a, F> {
    /// Creates the backward pass from `dy` to `dx`, for a layer that has no parameters and no state, and saved nothing.
    /// `input` is the shape of a row of `x`.
    #[must_use]
    pub fn new(
        (x, input): (ArrayView2<'a, F>, Shape),
        [y, dy]: [ArrayView2<'a, F>; 2],
        dx: Option<ArrayViewMut2<'a, F>>,
        mode: Mode,
    ) -> Self {
        Self {
            x,
            input,
            y,
            dy,
            parameters: &[],
            state: &[],
            kept: &[],
            gradients: &mut [],
            dx,
            mode,
        }
    }

    /// Sets the layer's parameters and the arrays for their gradients.
    #[must_use]
    pub fn with_parameters(
        self,
        parameters: &'a [Array2<F>],
        gradients: &'a mut [Array2<F>],
    ) -> Self {
        Self {
            parameters,
            gradients,
            ..self
        }
    }

    /// Sets the layer's state.
    #[must_use]
    pub fn with_state(self, state: &'a [Array2<F>]) -> Self {
        Self { state, ..self }
    }

    /// Sets the values that the forward pass saved.
    #[must_use]
    pub fn with_kept(self, kept: &'a [Array2<F>]) -> Self {
        Self { kept, ..self }
    }
}

/// The targets of a loss.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Targets<'a, F> {
    /// The class of each row.
    Classes(&'a [u32]),
    /// Values, (rows, outputs).
    Values(ArrayView2<'a, F>),
}

impl<F> Targets<'_, F> {
    /// Returns the kind of these targets.
    #[must_use]
    pub fn kind(&self) -> TargetKind {
        match self {
            Self::Classes(_) => TargetKind::Classes,
            Self::Values(_) => TargetKind::Values,
        }
    }

    /// Returns the targets of a range of rows.
    pub(crate) fn of_rows(&self, rows: Range<usize>) -> Targets<'_, F> {
        match self {
            Self::Classes(labels) => Targets::Classes(&labels[rows]),
            Self::Values(values) => Targets::Values(values.slice(s![rows, ..])),
        }
    }

    /// Returns the classes, or `None` if the targets are values.
    pub(crate) fn labels(&self) -> Option<&[u32]> {
        match self {
            Self::Classes(labels) => Some(labels),
            Self::Values(_) => None,
        }
    }
}

/// The arrays that a loss reads and writes: see [`crate::ops::LossPass`].
#[derive(Debug)]
#[non_exhaustive]
pub struct LossPass<'a, F> {
    /// Outputs of the network, (rows, outputs).
    pub outputs: ArrayView2<'a, F>,
    /// The targets.
    pub targets: Targets<'a, F>,
    /// Receives the gradient of the mean loss with respect to `outputs`.
    pub doutputs: ArrayViewMut2<'a, F>,
}

impl<'a, F> LossPass<'a, F> {
    /// Creates a pass that reads `outputs` and `targets`, and writes `doutputs`.
    #[must_use]
    pub fn new(
        outputs: ArrayView2<'a, F>,
        targets: Targets<'a, F>,
        doutputs: ArrayViewMut2<'a, F>,
    ) -> Self {
        Self {
            outputs,
            targets,
            doutputs,
        }
    }
}

/// The step, the learning rate and the weight decay of one parameter's update.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct UpdateStep<F> {
    /// Number of steps before this one.
    pub step: u64,
    /// Learning rate of this step.
    pub learning_rate: F,
    /// Weight decay of the parameter; `None` if it is the optimizer's.
    pub weight_decay: Option<F>,
}

impl<F> UpdateStep<F> {
    /// Creates the update of a parameter after `step` steps, with the optimizer's weight decay.
    #[must_use]
    pub fn new(step: u64, learning_rate: F) -> Self {
        Self {
            step,
            learning_rate,
            weight_decay: None,
        }
    }
}

impl<F: Float> UpdateStep<F> {
    /// Returns the parameter's own weight decay or, if it has none, `weight_decay`, which is the optimizer's.
    #[must_use]
    pub fn decay(&self, weight_decay: f64) -> F {
        self.weight_decay
            .unwrap_or_else(|| F::from_f64(weight_decay))
    }
}
