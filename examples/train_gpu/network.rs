use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use wgrad::data::Dataset;
use wgrad::ops::{Dropout, Gelu, LeakyRelu, Linear, Relu, Sigmoid, Tanh};
use wgrad::{DeepConvNet, Error, Sequential, SimpleConvNet, TwoLayerNet};

use crate::args::{number, setting, shown};

/// Number of hidden units of the book's network in chapter 5.
const BOOK_UNITS: usize = 50;

/// The network to train.
#[derive(Debug, clap::Args)]
pub(crate) struct NetworkArgs {
    /// The network of the book's chapter 5, 7 or 8; the first one can have other hidden layers. Each network has its
    /// own defaults of `--steps` and `--optimizer`, which are the book's
    #[arg(long, value_enum, default_value_t = Network::TwoLayer)]
    pub(crate) network: Network,

    /// Units of the hidden layers of `--network two-layer`, comma-separated, or `none`. The book's network, 50 units
    /// with `relu` and without dropout, starts from weights 0.01·N(0, 1) as in the book. Any other network starts from
    /// larger weights that depend on a layer's size and activation: the library's default, `Init::Auto`. Default: 50
    #[arg(long, value_name = "WIDTHS")]
    hidden: Option<Hidden>,

    /// Activation after each hidden layer of `--network two-layer`. Default: relu
    #[arg(long, value_enum)]
    activation: Option<Activation>,

    /// Probability of dropping each value after an activation of `--network two-layer` in training. Default: 0
    #[arg(long, value_name = "P", value_parser = number::<f32>)]
    dropout: Option<f32>,
}

/// The networks of the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Network {
    /// Chapter 5: 784 → 50 → 10
    TwoLayer,
    /// Chapter 7: a convolution with 30 filters of 5×5, then 100 units
    SimpleConv,
    /// Chapter 8: six convolutions of 3×3, then 50 units; with dropout
    DeepConv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Activation {
    Relu,
    LeakyRelu,
    Gelu,
    Sigmoid,
    Tanh,
}

/// Number of units of each hidden layer; empty for `none`.
#[derive(Debug, Clone)]
struct Hidden(Vec<usize>);

impl FromStr for Hidden {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        let width = |part: &str| {
            let expected = "expected whole numbers such as 50 or 100,50, or none";
            part.trim().parse().map_err(|_| expected.to_owned())
        };
        Ok(Self(text.split(',').map(width).collect::<Result<_, _>>()?))
    }
}

impl Network {
    /// The value of `--network` that selects this network.
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The number of steps that the book takes to train this network.
    pub(crate) fn steps(self) -> usize {
        match self {
            Self::TwoLayer => 10_000,
            // 20 epochs of 600 minibatches.
            Self::SimpleConv | Self::DeepConv => 12_000,
        }
    }
}

impl NetworkArgs {
    /// Checks the options of the network as far as possible without data.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.network != Network::TwoLayer {
            return self.check_convolutional();
        }
        if self.hidden().contains(&0) {
            let expected = "widths of at least 1, or none";
            return Err(setting("--hidden", expected.to_owned(), 0));
        }
        let dropout = self.dropout();
        if !(0.0..1.0).contains(&dropout) || dropout > 0.0 && self.hidden().is_empty() {
            let expected = "at least 0 and below 1, and 0 with --hidden none";
            return Err(setting("--dropout", expected.to_owned(), shown(dropout)));
        }
        Ok(())
    }

    /// Checks that the options of dense networks are left out, because the convolutional networks ignore them.
    fn check_convolutional(&self) -> Result<(), Error> {
        let activation = self.activation.and_then(|of| of.to_possible_value());
        let given = [
            ("--hidden", self.hidden.as_ref().map(Hidden::to_string)),
            (
                "--activation",
                activation.map(|of| of.get_name().to_owned()),
            ),
            ("--dropout", self.dropout.map(shown)),
        ];
        for (option, found) in given {
            if let Some(found) = found {
                let network = self.network.name();
                let expected =
                    format!("left out with --network {network}, which has the book's layers");
                return Err(setting(option, expected, found));
            }
        }
        Ok(())
    }

    fn hidden(&self) -> &[usize] {
        self.hidden
            .as_ref()
            .map_or(&[BOOK_UNITS], |hidden| &hidden.0)
    }

    fn activation(&self) -> Activation {
        self.activation.unwrap_or(Activation::Relu)
    }

    fn dropout(&self) -> f32 {
        self.dropout.unwrap_or(0.0)
    }

    /// Whether the options describe exactly the book's network of chapter 5. Only that one has the book's initial
    /// weights.
    fn is_two_layer_net(&self) -> bool {
        self.hidden() == [BOOK_UNITS]
            && self.activation() == Activation::Relu
            && self.dropout() == 0.0
    }

    /// Describes the initial weights in words.
    pub(crate) fn start(&self) -> &'static str {
        match self.network {
            Network::TwoLayer if !self.is_two_layer_net() => {
                "He initialization where a rectifier follows, LeCun initialization elsewhere"
            }
            Network::TwoLayer | Network::SimpleConv => {
                "the network of the book, weights initialized as 0.01·N(0, 1)"
            }
            Network::DeepConv => "the network of the book, He initialization",
        }
    }

    /// Returns the network, with as many inputs and outputs as the data set has features and classes.
    pub(crate) fn spec(&self, train: &Dataset, seed: u64) -> Sequential {
        let inputs = train.width();
        let classes = train.labels().classes();
        let network = match self.network {
            Network::SimpleConv => SimpleConvNet::default().classes(classes).spec(),
            Network::DeepConv => DeepConvNet::default().classes(classes).spec(),
            Network::TwoLayer if self.is_two_layer_net() => {
                TwoLayerNet::spec(inputs, BOOK_UNITS, classes)
            }
            Network::TwoLayer => self.dense(inputs, classes),
        };
        network.seed(seed)
    }

    fn dense(&self, inputs: usize, classes: usize) -> Sequential {
        let mut network = Sequential::input(inputs);
        for &width in self.hidden() {
            network = network.layer(Linear::new(width));
            network = match self.activation() {
                Activation::Relu => network.layer(Relu),
                Activation::LeakyRelu => network.layer(LeakyRelu::default()),
                Activation::Gelu => network.layer(Gelu),
                Activation::Sigmoid => network.layer(Sigmoid),
                Activation::Tanh => network.layer(Tanh),
            };
            if self.dropout() != 0.0 {
                network = network.layer(Dropout::new(self.dropout()));
            }
        }
        network.layer(Linear::new(classes))
    }
}

/// Formats the numbers of units as on the command line.
impl fmt::Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<_> = self.0.iter().map(usize::to_string).collect();
        if widths.is_empty() {
            f.write_str("none")
        } else {
            f.write_str(&widths.join(","))
        }
    }
}
