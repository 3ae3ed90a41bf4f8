//! What a layer says about itself.

use crate::init::Init;
use crate::shape::{Shape, TensorShape};

/// A parameter of a layer, or a value of its state: name, shape, and how it starts.
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
    /// Its shape. Kernels see the first of several extents as rows: see [`TensorShape::of_parameter`].
    pub shape: Shape,
    /// Initial values.
    pub init: Init,
    /// Inputs that an output is a sum of, and outputs that an input is part of: what [`Init`] scales by.
    pub fans: [usize; 2],
    /// How it lies in a [checkpoint](crate::checkpoint).
    pub layout: Layout,
    /// Whether an optimizer's weight decay applies to it.
    pub decays: bool,
}

impl ParameterSpec {
    /// One that lies in files as here, and decays. Its fans are its length where it is a vector, and its extents where
    /// it has two, (inputs, outputs). Where it has more it is taken for the kernel of a convolution, (outputs, channels,
    /// extents that it covers): both fans count what it covers.
    #[must_use]
    pub fn new(name: &'static str, shape: impl Into<Shape>, init: Init) -> Self {
        let shape = shape.into();
        let fans = match *shape.extents() {
            [only] => [only, only],
            [inputs, outputs] => [inputs, outputs],
            // As PyTorch has a kernel of a convolution: outputs, channels, and what it covers.
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

    /// With these numbers of inputs of an output, and of outputs of an input.
    #[must_use]
    pub fn fans(mut self, inputs: usize, outputs: usize) -> Self {
        self.fans = [inputs, outputs];
        self
    }

    /// Lies transposed in files. Such a parameter has two extents.
    #[must_use]
    pub fn transposed(mut self) -> Self {
        self.layout = Layout::Transposed;
        self
    }

    /// Is left out of weight decay.
    #[must_use]
    pub fn without_decay(mut self) -> Self {
        self.decays = false;
        self
    }

    /// Its shape as a tensor's.
    #[must_use]
    pub fn tensor_shape(&self) -> TensorShape {
        TensorShape::of_parameter(&self.shape)
    }
}

/// How a parameter lies in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// In its own shape.
    AsIs,
    /// With its two extents exchanged, as PyTorch has the weight of `torch.nn.Linear`.
    Transposed,
}

/// What a layer hands on from its forward pass to its backward pass.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct KeptSpec {
    /// Name within the layer, for example `mean`.
    pub name: &'static str,
    /// Shape, of each row or of the whole minibatch.
    pub shape: Shape,
    /// Whether there is one for every row.
    pub is_per_row: bool,
}

impl KeptSpec {
    /// One for every row of the minibatch: a tensor of (rows, shape).
    #[must_use]
    pub fn per_row(name: &'static str, shape: impl Into<Shape>) -> Self {
        Self {
            name,
            shape: shape.into(),
            is_per_row: true,
        }
    }

    /// One for the whole minibatch: a tensor of (1, shape).
    #[must_use]
    pub fn per_batch(name: &'static str, shape: impl Into<Shape>) -> Self {
        Self {
            is_per_row: false,
            ..Self::per_row(name, shape)
        }
    }

    /// Its shape in a minibatch of so many rows.
    #[must_use]
    pub fn tensor_shape(&self, rows: usize) -> TensorShape {
        let rows = if self.is_per_row { rows } else { 1 };
        TensorShape::from((rows, self.shape))
    }
}

/// What a layer does to the size of its inputs: by it, the weights before it start
/// ([`Init::Auto`](crate::Init::Auto)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Response {
    /// Neither of the others.
    Any,
    /// About half of its inputs become 0, or nearly so, as with [`Relu`](crate::ops::Relu).
    Rectifies,
    /// Its inputs in another order or form: what follows it counts, as behind a [`Dropout`](crate::ops::Dropout).
    PassesOn,
}

/// Everything that a layer says about itself, of one shape of its input.
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
    /// What is trained, clipped and saved.
    pub parameters: Vec<ParameterSpec>,
    /// What is saved and never given to an optimizer, as a running mean.
    pub state: Vec<ParameterSpec>,
    /// What goes from the forward pass to the backward pass.
    pub kept: Vec<KeptSpec>,
    /// Floating-point operations of the forward pass of one row.
    pub flops: u64,
    /// What it does to the size of its inputs.
    pub response: Response,
    /// Where its input is of indices: the number that all of them are below.
    pub indices_below: Option<usize>,
}

impl LayerSpec {
    /// A layer with this output and nothing else, of one operation for each element of it.
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

    /// With one more parameter.
    #[must_use]
    pub fn parameter(mut self, parameter: ParameterSpec) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// With one more value of its state.
    #[must_use]
    pub fn state(mut self, state: ParameterSpec) -> Self {
        self.state.push(state);
        self
    }

    /// With one more value that is kept for the backward pass.
    #[must_use]
    pub fn kept(mut self, kept: KeptSpec) -> Self {
        self.kept.push(kept);
        self
    }

    /// With so many operations in the forward pass of one row.
    #[must_use]
    pub fn flops(mut self, flops: u64) -> Self {
        self.flops = flops;
        self
    }

    /// Takes integers from 0 and below `count` alone, as `f32`: indices, which have no gradient. A network lets such
    /// a layer read none but its inputs, and refuses rows of the host that have anything else there.
    #[must_use]
    pub fn indices_below(mut self, count: usize) -> Self {
        self.indices_below = Some(count);
        self
    }

    /// With this response.
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
