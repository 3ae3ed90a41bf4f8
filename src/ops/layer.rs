//! The trait for layers, and the tensors that their passes read and write.

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

/// The source of a layer's random numbers during training. The numbers are a function of the key, the step and a
/// counter within the layer, so that the backward pass and the reference draw the same numbers.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Draw<'a> {
    /// This layer's own key, derived from the seed of the network and the layer's position in it.
    pub key: [u32; 2],
    /// Number of steps before this one, (1, 1) of `u32`.
    pub step_count: &'a Tensor,
}

impl<'a> Draw<'a> {
    /// Draws with this key, in the step that `step_count`, (1, 1) of `u32`, holds.
    #[must_use]
    pub fn new(key: [u32; 2], step_count: &'a Tensor) -> Self {
        Self { key, step_count }
    }
}

/// The purpose of a pass.
#[derive(Debug, Clone, Copy)]
pub enum Mode<'a> {
    /// Evaluation of a network, or a check of its gradient: nothing is dropped, and no state changes.
    Evaluation,
    /// A step of training.
    Training(Draw<'a>),
}

/// The tensors that a layer's forward pass reads and writes.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Forward<'a> {
    /// The layer's input, (rows, input).
    pub x: &'a Tensor,
    /// Shape of one row of the input, also where `x` is packed bytes.
    pub input: Shape,
    /// The layer's parameters, in the order of [`LayerSpec::parameters`].
    pub parameters: &'a [Tensor],
    /// The layer's state, which a step of training may change.
    pub state: &'a [Tensor],
    /// Receives what the backward pass needs. The contents before the pass are undefined.
    pub kept: &'a [Tensor],
    /// The layer's output, (rows, output). The pass must write every element.
    pub y: &'a Tensor,
    /// The purpose of the pass.
    pub mode: Mode<'a>,
}

impl<'a> Forward<'a> {
    /// A pass of a layer that has no state and keeps nothing.
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

    /// Sets the shape of one row of the input. Needed where `x` does not have that shape, for example where it is
    /// packed bytes.
    #[must_use]
    pub fn with_input(self, input: Shape) -> Self {
        Self { input, ..self }
    }

    /// Sets the layer's state.
    #[must_use]
    pub fn with_state(self, state: &'a [Tensor]) -> Self {
        Self { state, ..self }
    }

    /// Sets the tensors for what the layer keeps for its backward pass.
    #[must_use]
    pub fn with_kept(self, kept: &'a [Tensor]) -> Self {
        Self { kept, ..self }
    }
}

/// The tensors that a layer's backward pass reads and writes. Each gradient has the shape of the tensor that it belongs
/// to.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Backward<'a> {
    /// Input of the forward pass, (rows, input).
    pub x: &'a Tensor,
    /// Shape of one row of the input, also where `x` is packed bytes.
    pub input: Shape,
    /// Output of the forward pass, (rows, output).
    pub y: &'a Tensor,
    /// Gradient of the loss with respect to `y`.
    pub dy: &'a Tensor,
    /// The layer's parameters.
    pub parameters: &'a [Tensor],
    /// The layer's state, after the forward pass.
    pub state: &'a [Tensor],
    /// What the forward pass kept.
    pub kept: &'a [Tensor],
    /// Receives the gradients with respect to the parameters. The pass must write every element.
    pub gradients: &'a [Tensor],
    /// Receives the gradient with respect to `x`, if it is needed. The pass must write every element: the tensor may
    /// still hold another layer's gradient.
    pub dx: Option<&'a Tensor>,
    /// The forward pass's mode.
    pub mode: Mode<'a>,
}

impl<'a> Backward<'a> {
    /// A pass from `dy` to `dx`, of a layer that has no parameters and no state and keeps nothing.
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

    /// Sets the shape of one row of the input. Needed where `x` does not have that shape, for example where it is
    /// packed bytes.
    #[must_use]
    pub fn with_input(self, input: Shape) -> Self {
        Self { input, ..self }
    }

    /// Sets the layer's parameters and the tensors for their gradients.
    #[must_use]
    pub fn with_parameters(self, parameters: &'a [Tensor], gradients: &'a [Tensor]) -> Self {
        Self {
            parameters,
            gradients,
            ..self
        }
    }

    /// Sets the layer's state.
    #[must_use]
    pub fn with_state(self, state: &'a [Tensor]) -> Self {
        Self { state, ..self }
    }

    /// Sets what the forward pass kept.
    #[must_use]
    pub fn with_kept(self, kept: &'a [Tensor]) -> Self {
        Self { kept, ..self }
    }
}

/// A layer of a network: turns rows of one shape into rows of another.
pub trait Layer: Any + Debug + Send + Sync {
    /// Name as printed, for example `Linear(50)`. A [checkpoint](crate::checkpoint) identifies the layer by it, so it
    /// includes the settings by which two layers differ.
    fn name(&self) -> String;

    /// The layer's output shape, parameters, state and other properties, for rows of this shape.
    ///
    /// # Errors
    /// [`Error::Setting`] if the layer does not accept such rows, or a setting of it is invalid.
    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error>;

    /// Whether the layer, as the first of a network on this device, accepts bytes as its input. `x` is then (rows,
    /// inputs / 4 rounded up) of `u32`, with four bytes per word, lowest first. Unused bytes are 0. A byte stands for
    /// `byte / 255`.
    fn takes_bytes(&self, gpu: &Gpu) -> bool {
        let _ = gpu;
        false
    }

    /// Records `y = layer(x)`.
    ///
    /// # Errors
    /// An error if the device lacks something that the recording needs.
    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error>;

    /// Records the gradients with respect to the parameters, and with respect to `x` if it is needed.
    ///
    /// # Errors
    /// The same as those of [`forward`](Self::forward).
    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error>;

    /// The same layer, computed with ndarray.
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
