//! The properties that a layer declares: shapes, parameters, state and saved tensors.

use crate::init::Init;
use crate::shape::{Shape, TensorShape};

/// A parameter of a layer, or a tensor of its state: its name, shape and initial values.
///
/// ```
/// use wgrad::Init;
/// use wgrad::ops::ParameterSpec;
///
/// let weight = ParameterSpec::new("weight", [16, 3, 5, 5], Init::HeNormal).fans(3 * 25, 16 * 25);
/// let scale = ParameterSpec::new("scale", 16, Init::Ones).without_decay();
/// # let _ = (weight, scale);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ParameterSpec {
    /// Name within the layer, for example `weight`.
    pub name: &'static str,
    /// Shape. If it has several dimensions, kernels see the first one as the rows: see [`TensorShape::of_parameter`].
    pub shape: Shape,
    /// Initial values.
    pub init: Init,
    /// Fan-in and fan-out: the number of inputs that each output sums, and the number of outputs to which each input
    /// contributes. [`Init`] scales the initial values by them.
    pub fans: [usize; 2],
    /// How the parameter is stored in a [checkpoint](crate::checkpoint).
    pub layout: Layout,
    /// Whether an optimizer's weight decay applies to the parameter.
    pub decays: bool,
}

impl ParameterSpec {
    /// Creates a parameter that is stored in files in its own shape, and to which weight decay applies. The shape
    /// determines the fan-in and the fan-out. For a vector, both are its length. A matrix is (fan-in, fan-out). A shape
    /// with more dimensions is that of a convolution kernel, (outputs, channels, extents of the kernel): the fan-in is
    /// the channels and the fan-out is the outputs, each times the number of positions that the kernel covers.
    #[must_use]
    pub fn new(name: &'static str, shape: impl Into<Shape>, init: Init) -> Self {
        let shape = shape.into();
        let fans = match *shape.extents() {
            [only] => [only, only],
            [inputs, outputs] => [inputs, outputs],
            // PyTorch's layout of a convolution kernel: outputs, channels, extents of the kernel.
            [outputs, channels, ref covered @ ..] => {
                let covered = covered
                    .iter()
                    .fold(1, |all: usize, &e| all.saturating_mul(e));
                [channels, outputs].map(|fan| fan.saturating_mul(covered))
            }
            [] => [1, 1],
        };
        Self {
            name,
            shape,
            init,
            fans,
            layout: Layout::AsIs,
            decays: true,
        }
    }

    /// Sets the fan-in and the fan-out.
    #[must_use]
    pub fn fans(mut self, inputs: usize, outputs: usize) -> Self {
        self.fans = [inputs, outputs];
        self
    }

    /// Declares that files store the parameter transposed. It must be a matrix.
    #[must_use]
    pub fn transposed(mut self) -> Self {
        self.layout = Layout::Transposed;
        self
    }

    /// Excludes the parameter from weight decay.
    #[must_use]
    pub fn without_decay(mut self) -> Self {
        self.decays = false;
        self
    }

    /// Returns the parameter's shape as the shape of a tensor.
    #[must_use]
    pub fn tensor_shape(&self) -> TensorShape {
        TensorShape::of_parameter(&self.shape)
    }
}

/// How a parameter is stored in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// In its own shape.
    AsIs,
    /// Transposed, with rows and columns exchanged, like the weight of PyTorch's `torch.nn.Linear`.
    Transposed,
}

/// A tensor that a layer's forward pass saves for its backward pass.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct KeptSpec {
    /// Name within the layer, for example `mean`.
    pub name: &'static str,
    /// Shape of the elements that are saved for one row, or for the whole minibatch (see `is_per_row`).
    pub shape: Shape,
    /// Whether the tensor has elements of shape `shape` for each row. If not, it has them once for the whole minibatch.
    pub is_per_row: bool,
}

impl KeptSpec {
    /// Describes a tensor with elements of this shape for each row of the minibatch. For example, the shape (3, 8)
    /// gives the tensor (rows, 3, 8).
    #[must_use]
    pub fn per_row(name: &'static str, shape: impl Into<Shape>) -> Self {
        Self {
            name,
            shape: shape.into(),
            is_per_row: true,
        }
    }

    /// Describes a tensor with elements of this shape once for the whole minibatch. For example, the shape (3, 8)
    /// gives the tensor (1, 3, 8).
    #[must_use]
    pub fn per_batch(name: &'static str, shape: impl Into<Shape>) -> Self {
        Self {
            is_per_row: false,
            ..Self::per_row(name, shape)
        }
    }

    /// Returns the tensor's shape for a minibatch of this number of rows.
    #[must_use]
    pub fn tensor_shape(&self, rows: usize) -> TensorShape {
        let rows = if self.is_per_row { rows } else { 1 };
        TensorShape::from((rows, self.shape))
    }
}

/// How a layer changes the magnitude of its inputs. [`Init::Auto`] uses this to choose the initial
/// weights of the layer before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Response {
    /// Any change that the other variants do not describe.
    Any,
    /// About half of the layer's inputs become 0, or nearly 0, as with [`Relu`](crate::ops::Relu).
    Rectifies,
    /// Passes its inputs on in another order or form, like [`Dropout`](crate::ops::Dropout). `Init::Auto` then uses the
    /// response of the next layer.
    PassesOn,
}

/// The properties that a layer declares, for one input shape.
///
/// ```
/// use wgrad::Init;
/// use wgrad::ops::{KeptSpec, LayerSpec, ParameterSpec};
///
/// let spec = LayerSpec::new([16, 8, 8])
///     .parameter(ParameterSpec::new("scale", 16, Init::Ones))
///     .state(ParameterSpec::new("running_mean", 16, Init::Zeros))
///     .kept(KeptSpec::per_batch("mean", 16))
///     .flops(4 * 16 * 64);
/// # let _ = spec;
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LayerSpec {
    /// Shape of one row of the output.
    pub output: Shape,
    /// Parameters: an optimizer trains them, and files store them.
    pub parameters: Vec<ParameterSpec>,
    /// State, for example running means: files store it, but no optimizer changes it.
    pub state: Vec<ParameterSpec>,
    /// Tensors that the forward pass saves for the backward pass.
    pub kept: Vec<KeptSpec>,
    /// Floating-point operations of the forward pass of one row.
    pub flops: u64,
    /// How the layer changes the magnitude of its inputs.
    pub response: Response,
    /// Number of valid indices, if the input consists of indices: each index is below this number.
    pub indices_below: Option<usize>,
}

impl LayerSpec {
    /// Creates the spec of a layer with this output shape, no parameters, no state, no saved tensors, and one operation
    /// per element of the output.
    #[must_use]
    pub fn new(output: impl Into<Shape>) -> Self {
        let output = output.into();
        Self {
            flops: output.len() as u64,
            output,
            parameters: Vec::new(),
            state: Vec::new(),
            kept: Vec::new(),
            response: Response::Any,
            indices_below: None,
        }
    }

    /// Adds a parameter.
    #[must_use]
    pub fn parameter(mut self, parameter: ParameterSpec) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// Adds a tensor of the state.
    #[must_use]
    pub fn state(mut self, state: ParameterSpec) -> Self {
        self.state.push(state);
        self
    }

    /// Adds a tensor that the forward pass saves for the backward pass.
    #[must_use]
    pub fn kept(mut self, kept: KeptSpec) -> Self {
        self.kept.push(kept);
        self
    }

    /// Sets the number of floating-point operations in the forward pass of one row.
    #[must_use]
    pub fn flops(mut self, flops: u64) -> Self {
        self.flops = flops;
        self
    }

    /// Declares that the input consists of indices: integers from 0 to `count − 1`, stored as `f32`. Indices have no
    /// gradient, so a network lets such a layer read only inputs of the network. The network rejects rows from the host
    /// that contain any other value in these inputs.
    #[must_use]
    pub fn indices_below(mut self, count: usize) -> Self {
        self.indices_below = Some(count);
        self
    }

    /// Sets how the layer changes the magnitude of its inputs.
    #[must_use]
    pub fn response(mut self, response: Response) -> Self {
        self.response = response;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::ParameterSpec;
    use crate::init::Init;
    use crate::shape::Shape;

    #[test]
    fn fans_are_inputs_and_outputs_with_what_a_kernel_covers() {
        for (shape, fans) in [
            (Shape::from(7), [7, 7]),
            (Shape::from([784, 50]), [784, 50]),
            (Shape::from([16, 3, 5]), [15, 80]),
            (Shape::from([16, 3, 5, 5]), [75, 400]),
        ] {
            assert_eq!(ParameterSpec::new("weight", shape, Init::Auto).fans, fans);
        }
    }
}
