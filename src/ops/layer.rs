//! What a layer is, and what its passes read and write.

mod spec;

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use crate::error::Error;
use crate::gpu::Gpu;
use crate::plan::Recorder;
use crate::reference;
use crate::shape::Shape;
use crate::tensor::Tensor;

pub use spec::{KeptSpec, LayerSpec, Layout, ParameterSpec, Response};

/// What a layer draws random numbers from while it is trained. They are a function of the key, the
/// step and a counter of the layer's own, so that the backward pass and the reference draw the same.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Draw<'a> {
    /// Of this layer alone: from the seed of the network and the layer's place in it.
    pub key: [u32; 2],
    /// (1, 1) of `u32`: steps taken before this one.
    pub step_count: &'a Tensor,
}

impl<'a> Draw<'a> {
    /// By this key, in the step that `step_count`, (1, 1) of `u32`, says.
    #[must_use]
    pub fn new(key: [u32; 2], step_count: &'a Tensor) -> Self {
        Self { key, step_count }
    }
}

/// Why a pass is run.
#[derive(Debug, Clone, Copy)]
pub enum Mode<'a> {
    /// A network is evaluated, or its gradient checked: nothing is dropped, and no state changes.
    Evaluation,
    /// A step of training.
    Training(Draw<'a>),
}

/// What a layer's forward pass reads and writes.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Forward<'a> {
    /// Its input, (rows, input).
    pub x: &'a Tensor,
    /// Shape of one row of the input, also where `x` is packed bytes.
    pub input: Shape,
    /// The layer's parameters, in the order of [`LayerSpec::parameters`].
    pub parameters: &'a [Tensor],
    /// The layer's state, which a step of training may change.
    pub state: &'a [Tensor],
    /// Where what the backward pass wants goes. Its contents before are undefined.
    pub kept: &'a [Tensor],
    /// Its output, (rows, output). Every element is to be written.
    pub y: &'a Tensor,
    /// Why it is run.
    pub mode: Mode<'a>,
}

impl<'a> Forward<'a> {
    /// A pass of a layer with neither state nor anything to keep.
    #[must_use]
    pub fn new(x: &'a Tensor, parameters: &'a [Tensor], y: &'a Tensor, mode: Mode<'a>) -> Self {
        Self {
            x,
            input: x.row_shape(),
            parameters,
            state: &[],
            kept: &[],
            y,
            mode,
        }
    }

    /// With another shape of the input than that of a row of `x`, which may be packed bytes.
    #[must_use]
    pub fn with_input(self, input: Shape) -> Self {
        Self { input, ..self }
    }

    /// With the layer's state.
    #[must_use]
    pub fn with_state(self, state: &'a [Tensor]) -> Self {
        Self { state, ..self }
    }

    /// With room for what it keeps.
    #[must_use]
    pub fn with_kept(self, kept: &'a [Tensor]) -> Self {
        Self { kept, ..self }
    }
}

/// What a layer's backward pass reads and writes. Gradients have the shapes of what they are by.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Backward<'a> {
    /// Input of the forward pass, (rows, input).
    pub x: &'a Tensor,
    /// Shape of one row of the input, also where `x` is packed bytes.
    pub input: Shape,
    /// Output of the forward pass, (rows, output).
    pub y: &'a Tensor,
    /// Gradient of the loss by `y`.
    pub dy: &'a Tensor,
    /// The layer's parameters.
    pub parameters: &'a [Tensor],
    /// The layer's state, after the forward pass.
    pub state: &'a [Tensor],
    /// What the forward pass has kept.
    pub kept: &'a [Tensor],
    /// Where the gradients by the parameters go. Every element is to be written.
    pub gradients: &'a [Tensor],
    /// Where the gradient by `x` goes, if anybody reads it. Every element is to be written: it may hold
    /// another layer's gradient.
    pub dx: Option<&'a Tensor>,
    /// That of the forward pass.
    pub mode: Mode<'a>,
}

impl<'a> Backward<'a> {
    /// A pass of a layer without parameters, state or anything kept: from `dy` to `dx`.
    #[must_use]
    pub fn new([x, y, dy]: [&'a Tensor; 3], dx: Option<&'a Tensor>, mode: Mode<'a>) -> Self {
        Self {
            x,
            input: x.row_shape(),
            y,
            dy,
            parameters: &[],
            state: &[],
            kept: &[],
            gradients: &[],
            dx,
            mode,
        }
    }

    /// With another shape of the input than that of a row of `x`, which may be packed bytes.
    #[must_use]
    pub fn with_input(self, input: Shape) -> Self {
        Self { input, ..self }
    }

    /// With the layer's parameters, and where their gradients go.
    #[must_use]
    pub fn with_parameters(self, parameters: &'a [Tensor], gradients: &'a [Tensor]) -> Self {
        Self {
            parameters,
            gradients,
            ..self
        }
    }

    /// With the layer's state.
    #[must_use]
    pub fn with_state(self, state: &'a [Tensor]) -> Self {
        Self { state, ..self }
    }

    /// With what the forward pass has kept.
    #[must_use]
    pub fn with_kept(self, kept: &'a [Tensor]) -> Self {
        Self { kept, ..self }
    }
}

/// A layer of a network: rows of one shape in, rows of another out.
pub trait Layer: Any + Debug + Send + Sync {
    /// Name as printed, for example `Linear(50)`. A [checkpoint](crate::checkpoint) knows the layer by it: it has
    /// the settings by which two layers differ.
    fn name(&self) -> String;

    /// What it gives, has and does for rows of this shape.
    ///
    /// # Errors
    /// [`Error::Setting`] when it does not take such rows, or a setting of it makes no sense.
    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error>;

    /// Whether on this device the layer, as the first of a network, takes bytes as its input:
    /// `x` is then (rows, inputs / 4 rounded up) of `u32`, four bytes to a word, lowest first,
    /// spare bytes 0, and stands for `byte / 255`.
    fn takes_bytes(&self, gpu: &Gpu) -> bool {
        let _ = gpu;
        false
    }

    /// Records `y = layer(x)`.
    ///
    /// # Errors
    /// What recording it needs and the device does not have.
    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error>;

    /// Records the gradients by the parameters, and by `x` where it is wanted.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error>;

    /// The same layer on ndarray.
    fn reference(&self) -> reference::Twin;
}

macro_rules! forward_layer {
    ($pointer:ty) => {
        impl Layer for $pointer {
            fn name(&self) -> String {
                (**self).name()
            }

            fn spec(&self, input: &Shape) -> Result<LayerSpec, Error> {
                (**self).spec(input)
            }

            fn takes_bytes(&self, gpu: &Gpu) -> bool {
                (**self).takes_bytes(gpu)
            }

            fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error> {
                (**self).forward(recorder, pass)
            }

            fn backward(
                &self,
                recorder: &mut Recorder<'_>,
                pass: Backward<'_>,
            ) -> Result<(), Error> {
                (**self).backward(recorder, pass)
            }

            fn reference(&self) -> reference::Twin {
                (**self).reference()
            }
        }
    };
}

// A layer that is chosen while the program runs.
forward_layer!(Box<dyn Layer>);
// One that a network may use several times, with the same parameters.
forward_layer!(Arc<dyn Layer>);

/// The layer within boxes and `Arc`s, as the type that it is.
pub(crate) fn unwrapped(layer: &dyn Layer) -> &dyn Any {
    let any: &dyn Any = layer;
    if let Some(boxed) = any.downcast_ref::<Box<dyn Layer>>() {
        return unwrapped(&**boxed);
    }
    match any.downcast_ref::<Arc<dyn Layer>>() {
        Some(shared) => unwrapped(&**shared),
        None => any,
    }
}

/// What is the same of two uses of one layer: the innermost `Arc` around it.
pub(crate) fn shared(layer: &Arc<dyn Layer>) -> &Arc<dyn Layer> {
    fn within(layer: &dyn Layer) -> Option<&Arc<dyn Layer>> {
        let any: &dyn Any = layer;
        match any.downcast_ref::<Box<dyn Layer>>() {
            Some(boxed) => within(&**boxed),
            None => any.downcast_ref(),
        }
    }
    within(&**layer).map_or(layer, shared)
}
