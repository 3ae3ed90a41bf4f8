//! What the passes of layers and losses read and write.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};

use super::Float;
use crate::error::TargetKind;
use crate::shape::Shape;

/// What a layer draws random numbers from while it is trained: see [`crate::ops::Draw`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Draw {
    /// Of this layer alone.
    pub key: [u32; 2],
    /// Steps taken before this one; wraps, as on a GPU.
    pub step: u32,
}

impl Draw {
    /// By this key, in this step.
    #[must_use]
    pub fn new(key: [u32; 2], step: u32) -> Self {
        Self { key, step }
    }
}

/// Why a pass is run: see [`crate::ops::Mode`].
#[derive(Debug, Clone, Copy)]
pub enum Mode {
    /// Nothing is dropped, and no state changes.
    Evaluation,
    /// A step of training.
    Training(Draw),
}

/// What a layer's forward pass reads and writes: see [`crate::ops::Forward`]. All is in rows and columns, as kernels
/// see it ([`TensorShape::dims`](crate::TensorShape::dims)).
#[derive(Debug)]
#[non_exhaustive]
pub struct Forward<'a, F> {
    /// Its input, (rows, elements of the input).
    pub x: ArrayView2<'a, F>,
    /// Shape of a row of `x`.
    pub input: Shape,
    /// The layer's parameters.
    pub parameters: &'a [Array2<F>],
    /// The layer's state, which a step of training may change.
    pub state: &'a mut [Array2<F>],
    /// Where what the backward pass wants goes.
    pub kept: &'a mut [Array2<F>],
    /// Its output, (rows, elements of the output).
    pub y: ArrayViewMut2<'a, F>,
    /// Why it is run.
    pub mode: Mode,
}

impl<'a, F> Forward<'a, F> {
    /// A pass of a layer with neither state nor anything to keep; `input` is the shape of a row of `x`.
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

    /// With the layer's state.
    #[must_use]
    pub fn with_state(self, state: &'a mut [Array2<F>]) -> Self {
        Self { state, ..self }
    }

    /// With room for what it keeps.
    #[must_use]
    pub fn with_kept(self, kept: &'a mut [Array2<F>]) -> Self {
        Self { kept, ..self }
    }
}

/// What a layer's backward pass reads and writes: see [`crate::ops::Backward`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Backward<'a, F> {
    /// Input of the forward pass.
    pub x: ArrayView2<'a, F>,
    /// Shape of a row of `x`.
    pub input: Shape,
    /// Output of the forward pass.
    pub y: ArrayView2<'a, F>,
    /// Gradient of the loss by `y`.
    pub dy: ArrayView2<'a, F>,
    /// The layer's parameters.
    pub parameters: &'a [Array2<F>],
    /// The layer's state, after the forward pass.
    pub state: &'a [Array2<F>],
    /// What the forward pass has kept.
    pub kept: &'a [Array2<F>],
    /// Where the gradients by the parameters go.
    pub gradients: &'a mut [Array2<F>],
    /// Where the gradient by `x` goes, if anybody reads it.
    pub dx: Option<ArrayViewMut2<'a, F>>,
    /// That of the forward pass.
    pub mode: Mode,
}

impl<'a, F> Backward<'a, F> {
    /// A pass of a layer without parameters, state or anything kept: from `dy` to `dx`. `input` is the shape of a
    /// row of `x`.
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

    /// With the layer's parameters, and where their gradients go.
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

    /// With the layer's state.
    #[must_use]
    pub fn with_state(self, state: &'a [Array2<F>]) -> Self {
        Self { state, ..self }
    }

    /// With what the forward pass has kept.
    #[must_use]
    pub fn with_kept(self, kept: &'a [Array2<F>]) -> Self {
        Self { kept, ..self }
    }
}

/// What outputs are compared with.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Targets<'a, F> {
    /// The class of every row.
    Classes(&'a [u32]),
    /// Values, (rows, outputs).
    Values(ArrayView2<'a, F>),
}

impl<F> Targets<'_, F> {
    /// Classes or values.
    #[must_use]
    pub fn kind(&self) -> TargetKind {
        match self {
            Self::Classes(_) => TargetKind::Classes,
            Self::Values(_) => TargetKind::Values,
        }
    }

    /// Those of some rows.
    pub(crate) fn of_rows(&self, rows: Range<usize>) -> Targets<'_, F> {
        match self {
            Self::Classes(labels) => Targets::Classes(&labels[rows]),
            Self::Values(values) => Targets::Values(values.slice(s![rows, ..])),
        }
    }

    /// Classes, where they are.
    pub(crate) fn labels(&self) -> Option<&[u32]> {
        match self {
            Self::Classes(labels) => Some(labels),
            Self::Values(_) => None,
        }
    }
}

/// What the pass of a loss reads and writes: see [`crate::ops::LossPass`].
#[derive(Debug)]
#[non_exhaustive]
pub struct LossPass<'a, F> {
    /// What the network gives, (rows, outputs).
    pub outputs: ArrayView2<'a, F>,
    /// What they are compared with.
    pub targets: Targets<'a, F>,
    /// Where the gradient of the mean loss by `outputs` goes.
    pub doutputs: ArrayViewMut2<'a, F>,
}

impl<'a, F> LossPass<'a, F> {
    /// A pass from `outputs` and `targets` to `doutputs`.
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

/// When, and to what, an optimizer's update is applied.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct UpdateStep<F> {
    /// Steps taken before this one.
    pub step: u64,
    /// Learning rate of this step.
    pub learning_rate: F,
    /// Weight decay of the parameter, where it is not the optimizer's.
    pub weight_decay: Option<F>,
}

impl<F> UpdateStep<F> {
    /// The update after so many steps, of a parameter that decays as the optimizer says.
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
    /// The weight decay of the parameter: its own, or else the optimizer's, which is given.
    #[must_use]
    pub fn decay(&self, weight_decay: f64) -> F {
        self.weight_decay
            .unwrap_or_else(|| F::from_f64(weight_decay))
    }
}
