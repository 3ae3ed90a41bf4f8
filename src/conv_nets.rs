//! The convolutional networks of "Deep Learning from Scratch", chapters 7 and 8, as network descriptions.

use crate::init::Init;
use crate::network::Sequential;
use crate::ops::{Conv2d, Dropout, Linear, MaxPool2d, Relu, Size2};
use crate::shape::Shape;

/// The network of chapter 7: `Conv2d → Relu → MaxPool2d(2×2) → Linear → Relu → Linear`. Weights are drawn from
/// `std`·N(0, 1); biases are 0. With the default settings, it has 433,890 parameters. The book reports an accuracy of
/// 98.96 % on MNIST's test images.
///
/// ```
/// use wgrad::SimpleConvNet;
///
/// let network = SimpleConvNet::default().spec().seed(1);
/// assert_eq!(network.summary()?.parameters(), 433_890);
/// // That of the book's gradient check.
/// let small = SimpleConvNet::default().input([1, 10, 10]).filters(10, 3).hidden(10);
/// assert_eq!(small.spec().output()?, 10.into());
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct SimpleConvNet {
    input: Shape,
    filters: usize,
    kernel: Size2,
    hidden: usize,
    classes: usize,
    std: f32,
}

impl Default for SimpleConvNet {
    fn default() -> Self {
        Self {
            input: Shape::from([1, 28, 28]),
            filters: 30,
            kernel: Size2::from(5),
            hidden: 100,
            classes: 10,
            std: 0.01,
        }
    }
}

impl SimpleConvNet {
    /// Sets the shape of an image, (channels, height, width). Default: 1×28×28.
    #[must_use]
    pub fn input(mut self, image: impl Into<Shape>) -> Self {
        self.input = image.into();
        self
    }

    /// Sets the number of filters and their size. Default: 30 filters of 5×5.
    #[must_use]
    pub fn filters(mut self, filters: usize, kernel: impl Into<Size2>) -> Self {
        self.filters = filters;
        self.kernel = kernel.into();
        self
    }

    /// Sets the number of outputs of the first `Linear`. Default: 100.
    #[must_use]
    pub fn hidden(mut self, hidden: usize) -> Self {
        self.hidden = hidden;
        self
    }

    /// Sets the number of classes. Default: 10.
    #[must_use]
    pub fn classes(mut self, classes: usize) -> Self {
        self.classes = classes;
        self
    }

    /// Sets the standard deviation of the initial weights. Default: 0.01.
    #[must_use]
    pub fn weight_std(mut self, std: f32) -> Self {
        self.std = std;
        self
    }

    /// Describes the network, for either engine.
    #[must_use]
    pub fn spec(&self) -> Sequential {
        let init = Init::Normal { std: self.std };
        let linear = |outputs| Linear::new(outputs).weight_init(init.clone());
        Sequential::input(self.input)
            .layer(Conv2d::new(self.filters, self.kernel).weight_init(init.clone()))
            .layer(Relu)
            .layer(MaxPool2d::new(2))
            .layer(linear(self.hidden))
            .layer(Relu)
            .layer(linear(self.classes))
    }
}

/// The network of chapter 8: six 3×3 convolutions and two fully connected layers; dropout follows each fully connected
/// layer. All weights have He initialization. The book reports an accuracy of 99.38 % on MNIST's test images.
///
/// ```
/// use wgrad::DeepConvNet;
///
/// let network = DeepConvNet::default().spec().seed(1);
/// assert_eq!(network.summary()?.parameters(), 123_552);
/// # Ok::<(), wgrad::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct DeepConvNet {
    input: Shape,
    hidden: usize,
    classes: usize,
    dropout: f32,
}

impl Default for DeepConvNet {
    fn default() -> Self {
        Self {
            input: Shape::from([1, 28, 28]),
            hidden: 50,
            classes: 10,
            dropout: 0.5,
        }
    }
}

impl DeepConvNet {
    /// Sets the shape of an image, (channels, height, width). Default: 1×28×28.
    #[must_use]
    pub fn input(mut self, image: impl Into<Shape>) -> Self {
        self.input = image.into();
        self
    }

    /// Sets the number of outputs of the first `Linear`. Default: 50.
    #[must_use]
    pub fn hidden(mut self, hidden: usize) -> Self {
        self.hidden = hidden;
        self
    }

    /// Sets the number of classes. Default: 10.
    #[must_use]
    pub fn classes(mut self, classes: usize) -> Self {
        self.classes = classes;
        self
    }

    /// Sets the probability that dropout drops an element. Default: 0.5.
    #[must_use]
    pub fn dropout(mut self, p: f32) -> Self {
        self.dropout = p;
        self
    }

    /// Describes the network, for either engine.
    #[must_use]
    pub fn spec(&self) -> Sequential {
        let conv = |outputs, padding| {
            let conv = Conv2d::new(outputs, 3).padding(padding);
            conv.weight_init(Init::HeNormal)
        };
        let linear = |outputs| Linear::new(outputs).weight_init(Init::HeNormal);
        let mut network = Sequential::input(self.input);
        // The fourth convolution has a padding of 2, so that 14 pixels become 16, which two poolings can halve.
        for [first, second] in [[(16, 1), (16, 1)], [(32, 1), (32, 2)], [(64, 1), (64, 1)]] {
            for (outputs, padding) in [first, second] {
                network = network.layer(conv(outputs, padding)).layer(Relu);
            }
            network = network.layer(MaxPool2d::new(2));
        }
        network
            .layer(linear(self.hidden))
            .layer(Relu)
            .layer(Dropout::new(self.dropout))
            .layer(linear(self.classes))
            .layer(Dropout::new(self.dropout))
    }
}
