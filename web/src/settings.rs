//! The settings of a training, as the page's form has them.

use wasm_bindgen::prelude::*;
use wgrad::data::{Dataset, Sampling};
use wgrad::ops::{
    AdaGrad, Adam, AdamW, Gelu, LeakyRelu, Linear, Optimizer, Relu, RmsProp, Sgd, Sigmoid,
    SoftmaxCrossEntropy, Tanh,
};
use wgrad::{Error, Fusion, Sequential, SimpleConvNet, TwoLayerNet};

use crate::engine::Training;

/// Number of hidden units in the network of the book, "Deep Learning from Scratch".
const BOOK_UNITS: u32 = 50;

/// Settings of a training. Their names and defaults are those of the options of the example `train_gpu`. By default,
/// the network is the one of "Deep Learning from Scratch", chapter 5.
#[wasm_bindgen(getter_with_clone)]
#[derive(Debug, Clone)]
pub struct Settings {
    /// `two-layer` for a dense network, or `simple-conv` for the book's convolutional network (chapter 7).
    pub network: String,
    /// Number of units of each hidden layer of a dense network.
    pub hidden: Vec<u32>,
    /// Activation after each hidden layer: `relu`, `leaky-relu`, `gelu`, `sigmoid` or `tanh`.
    pub activation: String,
    /// Optimizer: `sgd`, `momentum`, `nesterov`, `adagrad`, `rmsprop`, `adam` or `adamw`.
    pub optimizer: String,
    /// Learning rate of the optimizer.
    #[wasm_bindgen(js_name = learningRate)]
    pub learning_rate: f32,
    /// Examples per minibatch.
    pub batch: u32,
    /// Seed for the initial weights and for the choice of minibatches.
    pub seed: u32,
    /// Dispatches of a step on a GPU: `layers` (layer by layer), `fused`, or `auto` for the faster plan.
    pub plan: String,
}

#[wasm_bindgen]
impl Settings {
    /// Returns the defaults: a network 784→50→10 with `Relu`, SGD with a learning rate of 0.1, minibatches of 100
    /// examples.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new() -> Self {
        Self {
            network: "two-layer".to_owned(),
            hidden: vec![BOOK_UNITS],
            activation: "relu".to_owned(),
            optimizer: "sgd".to_owned(),
            learning_rate: 0.1,
            batch: 100,
            seed: 42,
            plan: "auto".to_owned(),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}

impl Settings {
    /// Returns the training that these settings describe. Each example of a minibatch is drawn uniformly from `train`.
    pub(crate) fn training(&self, train: &Dataset) -> Result<Training, Error> {
        let seed = self.seed.into();
        Ok(Training {
            network: self.network(train)?,
            loss: Box::new(SoftmaxCrossEntropy),
            optimizer: self.optimizer()?,
            examples: train.into(),
            batch: self.batch as usize,
            sampling: Sampling::WithReplacement { seed },
            fusion: self.fusion()?,
        })
    }

    fn network(&self, train: &Dataset) -> Result<Sequential, Error> {
        let classes = train.labels().classes();
        match self.network.as_str() {
            "two-layer" => self.dense(train.width(), classes),
            "simple-conv" => {
                let book = SimpleConvNet::default().classes(classes).spec();
                Ok(book.seed(self.seed.into()))
            }
            _ => Err(unknown(
                "network",
                "two-layer or simple-conv",
                &self.network,
            )),
        }
    }

    fn dense(&self, inputs: usize, classes: usize) -> Result<Sequential, Error> {
        let seed = self.seed.into();
        // Other networks start from the default weights of their layers, as in `train_gpu`.
        if let ([BOOK_UNITS], "relu") = (self.hidden.as_slice(), self.activation.as_str()) {
            let book = TwoLayerNet::spec(inputs, BOOK_UNITS as usize, classes);
            return Ok(book.seed(seed));
        }
        let mut network = Sequential::input(inputs).seed(seed);
        for &width in &self.hidden {
            network = network.layer(Linear::new(width as usize));
            network = match self.activation.as_str() {
                "relu" => network.layer(Relu),
                "leaky-relu" => network.layer(LeakyRelu::default()),
                "gelu" => network.layer(Gelu),
                "sigmoid" => network.layer(Sigmoid),
                "tanh" => network.layer(Tanh),
                _ => {
                    let expected = "relu, leaky-relu, gelu, sigmoid or tanh";
                    return Err(unknown("activation", expected, &self.activation));
                }
            };
        }
        Ok(network.layer(Linear::new(classes)))
    }

    fn optimizer(&self) -> Result<Box<dyn Optimizer>, Error> {
        let rate = self.learning_rate;
        let sgd = Sgd::new(rate);
        Ok(match self.optimizer.as_str() {
            "sgd" => Box::new(sgd),
            "momentum" => Box::new(sgd.momentum(0.9)),
            "nesterov" => Box::new(sgd.momentum(0.9).nesterov()),
            "adagrad" => Box::new(AdaGrad::new(rate)),
            "rmsprop" => Box::new(RmsProp::new(rate)),
            "adam" => Box::new(Adam::new(rate)),
            "adamw" => Box::new(AdamW::new(rate)),
            _ => {
                let expected = "sgd, momentum, nesterov, adagrad, rmsprop, adam or adamw";
                return Err(unknown("optimizer", expected, &self.optimizer));
            }
        })
    }

    fn fusion(&self) -> Result<Fusion, Error> {
        match self.plan.as_str() {
            "auto" => Ok(Fusion::Auto),
            "layers" => Ok(Fusion::Layers),
            "fused" => Ok(Fusion::Fused),
            _ => Err(unknown("plan", "auto, layers or fused", &self.plan)),
        }
    }
}

fn unknown(name: &str, expected: &str, found: &str) -> Error {
    Error::Setting {
        name: name.to_owned(),
        expected: expected.to_owned(),
        found: format!("`{found}`"),
    }
}
