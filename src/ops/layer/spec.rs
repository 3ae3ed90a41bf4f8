//! What a layer declares about itself.

use crate::init::Init;
use crate::shape::{Shape, TensorShape};

/// A parameter of a layer, or a value of its state: name, shape, and initial values.
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
    /// Shape. Kernels see the first of several extents as rows: see [`TensorShape::of_parameter`].
    pub shape: Shape,
    /// Initial values.
    pub init: Init,
    /// Fan-in and fan-out: the number of inputs that an output sums, and the number of outputs that an input
    /// contributes to. [`Init`] scales by them.
    pub fans: [usize; 2],
    /// How the parameter is stored in a [checkpoint](crate::checkpoint).
    pub layout: Layout,
    /// Whether an optimizer's weight decay applies to it.
    pub decays: bool,
}

impl ParameterSpec {
    /// A parameter that is stored in files as it is, and to which weight decay applies. The fans follow from the shape:
    /// a vector's are its length, twice; a matrix's are its extents, (inputs, outputs). A shape with more extents is
    /// taken for a convolution kernel, (outputs, channels, covered extents): its fans are channels and outputs, each
    /// times the number of positions that the kernel covers.
    #[must_use]
    pub fn new(name: &'static str, shape: impl Into<Shape>, init: Init) -> Self {
        let shape = shape.into();
        let fans = match *shape.extents() {
            [only] => [only, only],
            [inputs, outputs] => [inputs, outputs],
            // PyTorch's layout of a convolution kernel: outputs, channels, covered extents.
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

    /// Stores the parameter transposed in files. Such a parameter must have two extents.
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

    /// Its shape as the shape of a tensor.
    #[must_use]
    pub fn tensor_shape(&self) -> TensorShape {
        TensorShape::of_parameter(&self.shape)
    }
}

/// How a parameter is stored in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// In the parameter's own shape.
    AsIs,
    /// With its two extents exchanged, like the weight of PyTorch's `torch.nn.Linear`.
    Transposed,
}

/// A tensor that a layer keeps from its forward pass for its backward pass.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct KeptSpec {
    /// Name within the layer, for example `mean`.
    pub name: &'static str,
    /// Shape, per row or for the whole minibatch.
    pub shape: Shape,
    /// Whether there is one value of this shape per row.
    pub is_per_row: bool,
}

impl KeptSpec {
    /// One value per row of the minibatch: a tensor of (rows, shape).
    #[must_use]
    pub fn per_row(name: &'static str, shape: impl Into<Shape>) -> Self {
        Self {
            name,
            shape: shape.into(),
            is_per_row: true,
        }
    }

    /// One value for the whole minibatch: a tensor of (1, shape).
    #[must_use]
    pub fn per_batch(name: &'static str, shape: impl Into<Shape>) -> Self {
        Self {
            is_per_row: false,
            ..Self::per_row(name, shape)
        }
    }

    /// Its tensor's shape in a minibatch of so many rows.
    #[must_use]
    pub fn tensor_shape(&self, rows: usize) -> TensorShape {
        let rows = if self.is_per_row { rows } else { 1 };
        TensorShape::from((rows, self.shape))
    }
}

/// What a layer does to the magnitude of its inputs. [`Init::Auto`](crate::Init::Auto) chooses the initial weights of
/// the layer before it accordingly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Response {
    /// None of the other responses.
    Any,
    /// About half of its inputs become 0, or nearly 0, as with [`Relu`](crate::ops::Relu).
    Rectifies,
    /// Passes its inputs on in another order or form, like [`Dropout`](crate::ops::Dropout). The response of the next
    /// layer counts.
    PassesOn,
}

/// Everything that a layer declares about itself, for one shape of its input.
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
    /// Shape of the output of one row.
    pub output: Shape,
    /// Parameters: trained, clipped and saved.
    pub parameters: Vec<ParameterSpec>,
    /// State: saved, but never given to an optimizer, for example a running mean.
    pub state: Vec<ParameterSpec>,
    /// What the forward pass keeps for the backward pass.
    pub kept: Vec<KeptSpec>,
    /// Floating-point operations of the forward pass of one row.
    pub flops: u64,
    /// What the layer does to the magnitude of its inputs.
    pub response: Response,
    /// If the input consists of indices: the number that all of them are below.
    pub indices_below: Option<usize>,
}

impl LayerSpec {
    /// A layer with this output and nothing else, with one operation per element of the output.
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

    /// Adds a value of the state.
    #[must_use]
    pub fn state(mut self, state: ParameterSpec) -> Self {
        self.state.push(state);
        self
    }

    /// Adds a value that is kept for the backward pass.
    #[must_use]
    pub fn kept(mut self, kept: KeptSpec) -> Self {
        self.kept.push(kept);
        self
    }

    /// Sets the number of operations in the forward pass of one row.
    #[must_use]
    pub fn flops(mut self, flops: u64) -> Self {
        self.flops = flops;
        self
    }

    /// Accepts only integers from 0 to `count − 1`, as `f32`: indices, which have no gradient. A network lets such a
    /// layer read only inputs of the network, and rejects rows from the host that contain anything else there.
    #[must_use]
    pub fn indices_below(mut self, count: usize) -> Self {
        self.indices_below = Some(count);
        self
    }

    /// Sets the response.
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
