#[cfg(test)]
mod tests;

use crate::init::Init;
use crate::network::Sequential;
use crate::ops::{BatchNorm, Dropout, Layer, Linear, Relu};
use crate::shape::Shape;

/// The networks of chapter 6 of "Deep Learning from Scratch": `MultiLayerNet` and `MultiLayerNetExtend`.
///
/// A network has any number of hidden layers, each `Linear → batch normalization → activation → dropout`, and then a
/// `Linear` with one output per class. Batch normalization and dropout are present only if requested.
///
/// The defaults are the book's: `Relu`, weights drawn by [`Init::HeNormal`] in all layers including the last, and
/// biases 0. The standard deviation that the book calls Xavier's, √(1 / inputs), is [`Init::LecunNormal`] here.
///
/// Weight decay is a setting of the optimizer: `Sgd::new(0.01).weight_decay(0.1)` adds 0.1·W to the gradient of every
/// weight W and does not change the gradients of biases, like the book's `weight_decay_lambda = 0.1`. The book also
/// adds the penalty ½·0.1·ΣW² to the loss that it reports; the losses of this crate have no penalty.
///
/// ```
/// use wgrad::ops::{Sgd, Sigmoid, SoftmaxCrossEntropy};
/// use wgrad::{Init, MultiLayerNet, cpu};
///
/// let relu = MultiLayerNet::new(784, [100; 4], 10);
/// assert_eq!(relu.spec().summary()?.parameters(), 78_500 + 3 * 10_100 + 1_010);
/// let sigmoid = MultiLayerNet::new(784, [50, 100], 10)
///     .activation(Sigmoid)
///     .weight_init(Init::Normal { std: 0.01 })
///     .batch_norm()
///     .dropout(0.2);
/// let optimizer = Sgd::new(0.01).weight_decay(0.1);
/// let network = sigmoid.spec().seed(42).on_cpu()?;
/// let trainer = cpu::Trainer::online(network, SoftmaxCrossEntropy, optimizer)?;
/// # let _ = trainer;
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct MultiLayerNet<A = Relu> {
    input: Shape,
    hidden: Vec<usize>,
    classes: usize,
    activation: A,
    weight_init: Init,
    has_batch_norm: bool,
    dropout: Option<f32>,
}

impl MultiLayerNet {
    /// Creates a network for examples of shape `input`. `hidden` has the number of outputs of each hidden layer.
    #[must_use]
    pub fn new(input: impl Into<Shape>, hidden: impl Into<Vec<usize>>, classes: usize) -> Self {
        Self {
            input: input.into(),
            hidden: hidden.into(),
            classes,
            activation: Relu,
            weight_init: Init::HeNormal,
            has_batch_norm: false,
            dropout: None,
        }
    }
}

impl<A: Layer + Clone + 'static> MultiLayerNet<A> {
    /// Sets the activation of the hidden layers.
    #[must_use]
    pub fn activation<B: Layer + Clone + 'static>(self, activation: B) -> MultiLayerNet<B> {
        MultiLayerNet {
            input: self.input,
            hidden: self.hidden,
            classes: self.classes,
            activation,
            weight_init: self.weight_init,
            has_batch_norm: self.has_batch_norm,
            dropout: self.dropout,
        }
    }

    /// Sets how the weights of all layers are initialized.
    #[must_use]
    pub fn weight_init(mut self, init: Init) -> Self {
        self.weight_init = init;
        self
    }

    /// Normalizes the output of each hidden layer's `Linear` by [`BatchNorm`] with its default settings.
    #[must_use]
    pub fn batch_norm(mut self) -> Self {
        self.has_batch_norm = true;
        self
    }

    /// In training, sets each activation to 0 with probability `p`: 0 ≤ `p` < 1.
    #[must_use]
    pub fn dropout(mut self, p: f32) -> Self {
        self.dropout = Some(p);
        self
    }

    /// Describes the network, for [`Sequential::build`], the CPU or a [`Device`](crate::Device).
    #[must_use]
    pub fn spec(&self) -> Sequential {
        let linear = |outputs| Linear::new(outputs).weight_init(self.weight_init.clone());
        let mut network = Sequential::input(self.input);
        for &width in &self.hidden {
            network = network.layer(linear(width));
            if self.has_batch_norm {
                network = network.layer(BatchNorm::new());
            }
            network = network.layer(self.activation.clone());
            if let Some(p) = self.dropout {
                network = network.layer(Dropout::new(p));
            }
        }
        network.layer(linear(self.classes))
    }
}
