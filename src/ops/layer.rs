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

/// The source of a layer's random numbers in a training step. The numbers depend only on the key, the step and a
/// counter within the layer, so that the backward pass and the reference can draw the same numbers again.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Draw<'a> {
    /// The layer's key, derived from the network's seed and the layer's position in the network.
    pub key: [u32; 2],
    /// Number of training steps before this one, (1, 1) of `u32`.
    pub step_count: &'a Tensor,
}

impl<'a> Draw<'a> {
    /// Creates a source of random numbers from a layer's key and the tensor with the number of steps before this one,
    /// (1, 1) of `u32`.
    #[must_use]
    pub fn new(key: [u32; 2], step_count: &'a Tensor) -> Self {
        Self { key, step_count }
    }
}

/// The purpose of a pass.
#[derive(Debug, Clone, Copy)]
pub enum Mode<'a> {
    /// Evaluation, or a gradient check: dropout is off, and no state changes.
    Evaluation,
    /// A training step, with the source of the layer's random numbers.
    Training(Draw<'a>),
}

/// The tensors that a layer's forward pass reads and writes.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Forward<'a> {
    /// The layer's input, (rows, elements per row).
    pub x: &'a Tensor,
    /// Shape of one row of the input, in elements, even if `x` holds packed bytes.
    pub input: Shape,
    /// The layer's parameters, in the order of [`LayerSpec::parameters`].
    pub parameters: &'a [Tensor],
    /// The layer's state, for example running means. Only a training step may change it.
    pub state: &'a [Tensor],
    /// Receives the values that the backward pass needs, in the order in which the [`LayerSpec`] declares them. The
    /// contents before the pass are undefined.
    pub kept: &'a [Tensor],
    /// The layer's output, (rows, elements per row). The pass must write every element.
    pub y: &'a Tensor,
    /// The purpose of the pass.
    pub mode: Mode<'a>,
}

impl<'a> Forward<'a> {
    /// Creates the forward pass of a layer that has no state and saves nothing for its backward pass.
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

    /// Sets the shape of one row of the input. This is needed if `x` does not have that shape, for example if it holds
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

    /// Sets the tensors for the values that the forward pass saves for the backward pass.
    #[must_use]
    pub fn with_kept(self, kept: &'a [Tensor]) -> Self {
        Self { kept, ..self }
    }
}

/// The tensors that a layer's backward pass reads and writes. Each gradient has the shape of the tensor that it is the
/// gradient of.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Backward<'a> {
    /// Input of the forward pass, (rows, elements per row).
    pub x: &'a Tensor,
    /// Shape of one row of the input, in elements, even if `x` holds packed bytes.
    pub input: Shape,
    /// Output of the forward pass, (rows, elements per row).
    pub y: &'a Tensor,
    /// Gradient of the loss with respect to `y`.
    pub dy: &'a Tensor,
    /// The layer's parameters.
    pub parameters: &'a [Tensor],
    /// The layer's state, after the forward pass.
    pub state: &'a [Tensor],
    /// The values that the forward pass saved.
    pub kept: &'a [Tensor],
    /// Receives the gradients with respect to the parameters. The pass must write every element.
    pub gradients: &'a [Tensor],
    /// Receives the gradient with respect to `x`; `None` if it is not needed. The pass must write every element,
    /// because the tensor may still hold another layer's gradient.
    pub dx: Option<&'a Tensor>,
    /// The purpose of the forward pass.
    pub mode: Mode<'a>,
}

impl<'a> Backward<'a> {
    /// Creates the backward pass from `dy` to `dx`, for a layer that has no parameters and no state, and saved nothing.
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

    /// Sets the shape of one row of the input. This is needed if `x` does not have that shape, for example if it holds
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

    /// Sets the values that the forward pass saved.
    #[must_use]
    pub fn with_kept(self, kept: &'a [Tensor]) -> Self {
        Self { kept, ..self }
    }
}

/// A layer of a network. It maps rows of one shape to rows of another shape.
pub trait Layer: Any + Debug + Send + Sync {
    /// Returns the layer's name as printed, for example `Linear(50)`. A [checkpoint](crate::checkpoint) identifies the
    /// layer by this name, so the name must include every setting in which two layers can differ.
    fn name(&self) -> String;

    /// Returns the layer's output shape, parameters, state and other properties, for input rows of this shape.
    ///
    /// # Errors
    /// [`Error::Setting`] if the layer does not accept such rows, or if one of its settings is invalid.
    fn spec(&self, input: &Shape) -> Result<LayerSpec, Error>;

    /// Returns whether the layer accepts packed bytes as its input, if it is the first layer of a network on this
    /// device. `x` is then (rows, inputs / 4 rounded up) of `u32`: each word holds four bytes, the first one in the
    /// lowest bits, and unused bytes are 0. A byte stands for the number `byte / 255`.
    fn takes_bytes(&self, gpu: &Gpu) -> bool {
        let _ = gpu;
        false
    }

    /// Records the kernels that compute `y = layer(x)`.
    ///
    /// # Errors
    /// An error if the device lacks something that the recording needs.
    fn forward(&self, recorder: &mut Recorder<'_>, pass: Forward<'_>) -> Result<(), Error>;

    /// Records the gradients with respect to the parameters, and with respect to `x` if it is needed.
    ///
    /// # Errors
    /// An error if the device lacks something that the recording needs.
    fn backward(&self, recorder: &mut Recorder<'_>, pass: Backward<'_>) -> Result<(), Error>;

    /// Returns the reference implementation of the layer, which computes with ndarray.
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

// For a layer that is chosen at run time.
forward_layer!(Box<dyn Layer>);
// For a layer that a network may use several times, with the same parameters.
forward_layer!(Arc<dyn Layer>);

/// Returns the layer inside any boxes and `Arc`s, so that it can be downcast to its own type.
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

/// Returns the innermost `Arc` around a layer. Two uses of the same layer have the same innermost `Arc`.
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
