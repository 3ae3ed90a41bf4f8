//! The experiments of "Deep Learning from Scratch" (Saitoh), chapters 3 to 8. Each experiment repeats a training of the
//! book, draws the book's figure as an SVG file, and prints the numbers behind the figure.
//!
//! ```text
//! cargo run --release --example book -- --help
//! cargo run --release --example book -- optimizer-compare-mnist --out optimizers.svg
//! ```
//!
//! Experiments have the names of the book's programs. The defaults are the book's settings; `--steps`, `--epochs` and
//! similar options make an experiment smaller. The last line is for other programs to parse. It has `key=value` pairs
//! separated by spaces.
//! `docs/book.md` shows all figures, and lists wgrad's counterpart of each class and function of the book.

mod chart;
mod history;
mod lab;
mod picture;
mod smooth;

// Chapter 3.
mod neuralnet_mnist;
// Chapter 4.
mod train_neuralnet;
// Chapter 6.
mod batch_norm_test;
mod gradient_check;
mod hyperparameter_optimization;
mod loss_curves;
mod optimizer_compare_mnist;
mod optimizer_compare_naive;
mod overfit;
mod weight_init_activation_histogram;
mod weight_init_compare;

// Chapter 7.
mod conv;
mod filters;
mod train_convnet;
// Chapter 8.
mod half_float_network;
mod misclassified_mnist;
mod train_deepnet;

#[path = "../common/mod.rs"]
mod common;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs an experiment of "Deep Learning from Scratch": trains, draws the book's figure, prints its numbers.
#[derive(Debug, Parser)]
#[command(name = "book", version)]
struct Args {
    #[command(subcommand)]
    experiment: Experiment,
}

#[derive(Debug, Subcommand)]
enum Experiment {
    /// Chapter 3: classify the test digits with a network of two hidden sigmoid layers
    NeuralnetMnist(neuralnet_mnist::Args),
    /// Chapter 4: loss and accuracy of a two-layer network during training
    TrainNeuralnet(train_neuralnet::Args),
    /// Chapter 6: paths of four optimizers down f(x, y) = x²/20 + y²
    OptimizerCompareNaive(optimizer_compare_naive::Args),
    /// Chapter 6: losses of four optimizers on MNIST
    OptimizerCompareMnist(optimizer_compare_mnist::Args),
    /// Chapter 6: activations of five layers on random inputs, for different initial weights
    WeightInitActivationHistogram(weight_init_activation_histogram::Args),
    /// Chapter 6: losses for different initial weights
    WeightInitCompare(weight_init_compare::Args),
    /// Chapter 6: accuracy with and without batch normalization, for different initial weights
    BatchNormTest(batch_norm_test::Args),
    /// Chapters 6 and 7: gradients by backpropagation compared with central differences
    GradientCheck(gradient_check::Args),
    /// Chapter 6: overfit 300 images, with and without weight decay
    OverfitWeightDecay(overfit::WeightDecayArgs),
    /// Chapter 6: overfit 300 images, with and without dropout
    OverfitDropout(overfit::DropoutArgs),
    /// Chapter 6: random search for learning rate and weight decay
    HyperparameterOptimization(hyperparameter_optimization::Args),
    /// Chapter 7: train a network of one convolution and two fully connected layers
    TrainConvnet(train_convnet::Args),
    /// Chapter 7: filters of a network's convolution before and after training
    VisualizeFilter(filters::VisualizeArgs),
    /// Chapter 7: output of a trained network's filters for a digit
    ApplyFilter(filters::ApplyArgs),
    /// Chapter 8: train a network of six convolutions and two fully connected layers
    TrainDeepnet(train_deepnet::Args),
    /// Chapter 8: digits that the trained deep network misclassifies
    MisclassifiedMnist(misclassified_mnist::Args),
    /// Chapter 8: the trained deep network with 16-bit numbers
    HalfFloatNetwork(half_float_network::Args),
}

fn main() -> ExitCode {
    let args = Args::parse();
    common::run(|| run(&args.experiment))
}

fn run(experiment: &Experiment) -> Result<(), Box<dyn Error>> {
    match experiment {
        Experiment::NeuralnetMnist(args) => neuralnet_mnist::run(args),
        Experiment::TrainNeuralnet(args) => train_neuralnet::run(args),
        Experiment::OptimizerCompareNaive(args) => optimizer_compare_naive::run(args),
        Experiment::OptimizerCompareMnist(args) => optimizer_compare_mnist::run(args),
        Experiment::WeightInitActivationHistogram(args) => {
            weight_init_activation_histogram::run(args)
        }
        Experiment::WeightInitCompare(args) => weight_init_compare::run(args),
        Experiment::BatchNormTest(args) => batch_norm_test::run(args),
        Experiment::GradientCheck(args) => gradient_check::run(args),
        Experiment::OverfitWeightDecay(args) => overfit::weight_decay(args),
        Experiment::OverfitDropout(args) => overfit::dropout(args),
        Experiment::HyperparameterOptimization(args) => hyperparameter_optimization::run(args),
        Experiment::TrainConvnet(args) => train_convnet::run(args),
        Experiment::VisualizeFilter(args) => filters::visualize(args),
        Experiment::ApplyFilter(args) => filters::apply(args),
        Experiment::TrainDeepnet(args) => train_deepnet::run(args),
        Experiment::MisclassifiedMnist(args) => misclassified_mnist::run(args),
        Experiment::HalfFloatNetwork(args) => half_float_network::run(args),
    }
}
