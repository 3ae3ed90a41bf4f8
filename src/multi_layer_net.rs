#[cfg(test)]
mod tests;

use crate::init::Init;
use crate::network::Sequential;
use crate::ops::{BatchNorm, Dropout, Layer, Linear, Relu};
use crate::shape::Shape;

/// The networks of chapter 6 of "Deep Learning from Scratch", `MultiLayerNet` and `MultiLayerNetExtend`: any number of
/// hidden layers, each `Linear → batch normalisation → activation → dropout`, of which the second and the last are left
/// out unless they are asked for, and a `Linear` with an output per class behind them.
///
/// With the book's defaults: `Relu`, weights as [`Init::HeNormal`] in all layers, the last one included, and biases 0.
/// What the book calls Xavier's standard deviation, √(1 / inputs), is [`Init::LecunNormal`] here.
///
/// Weight decay is the optimizer's: `Sgd::new(0.01).weight_decay(0.1)` adds 0.1·W to the gradient by every weight W and
/// leaves biases alone, as the book's `weight_decay_lambda = 0.1` does. The book reports the loss with the penalty
/// ½·0.1·ΣW² added; here a loss has no penalty.
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
    /// For examples of a shape, with hidden layers of these widths, and so many classes.
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
    /// With another activation behind each hidden layer.
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

    /// Starts the weights of all layers in another way.
    #[must_use]
    pub fn weight_init(mut self, init: Init) -> Self {
        self.weight_init = init;
        self
    }

    /// Normalises what each hidden layer's `Linear` gives by [`BatchNorm`], with its default settings.
    #[must_use]
    pub fn batch_norm(mut self) -> Self {
        self.has_batch_norm = true;
        self
    }

    /// Drops each activation with probability `p` in training: at least 0, below 1.
    #[must_use]
    pub fn dropout(mut self, p: f32) -> Self {
        self.dropout = Some(p);
        self
    }

    /// The network as a description, for [`Sequential::build`], the CPU or a [`Device`](crate::Device).
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
