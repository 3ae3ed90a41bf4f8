#[cfg(not(target_arch = "wasm32"))]
mod functions;
#[cfg(test)]
mod tests;

use crate::error::Error;
use crate::gpu::Gpu;
use crate::init::Init;
use crate::model::Model;
use crate::network::Sequential;
use crate::ops::{Linear, Relu};

/// The standard deviation of the book's initial weights.
const STD: f32 = 0.01;

/// The network of chapter 5 of "Deep Learning from Scratch", with the book's five functions.
///
/// It is `Linear → Relu → Linear` with softmax cross-entropy, weights drawn as 0.01·N(0, 1), and biases 0.
///
/// ```no_run
/// use wgrad::{Gpu, TwoLayerNet};
/// use wgrad::data::Labels;
/// use wgrad::ndarray::Array2;
///
/// let net = TwoLayerNet::new(&Gpu::new()?, 784, 50, 10, 42)?;
/// let (x, labels) = (Array2::zeros((3, 784)), Labels::from_classes(vec![7, 2, 1], 10)?);
/// let gradients = net.gradient(x.view(), &labels)?;
/// assert_eq!(gradients["layers.0.weight"].shape(), [784, 50]);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug)]
pub struct TwoLayerNet {
    model: Model,
}

impl TwoLayerNet {
    /// Describes the network, for [`Sequential::build`] or the CPU.
    #[must_use]
    pub fn spec(inputs: usize, hidden: usize, classes: usize) -> Sequential {
        let linear = |outputs| Linear::new(outputs).weight_init(Init::Normal { std: STD });
        Sequential::input(inputs)
            .layer(linear(hidden))
            .layer(Relu)
            .layer(linear(classes))
    }

    /// Builds the network on a GPU.
    ///
    /// # Errors
    /// The errors of [`Sequential::build`].
    pub fn new(
        gpu: &Gpu,
        inputs: usize,
        hidden: usize,
        classes: usize,
        seed: u64,
    ) -> Result<Self, Error> {
        let model = Self::spec(inputs, hidden, classes).seed(seed).build(gpu)?;
        Ok(Self { model })
    }

    /// The underlying model, for example to read its parameters.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Returns the underlying model, for example to train it.
    #[must_use]
    pub fn into_model(self) -> Model {
        self.model
    }
}
